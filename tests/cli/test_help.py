"""What the command line answers before TensorFlow is started."""

import io
import re
import shlex

import pytest
from command_line import ROOT, shell
from rich.console import Console

from octconvert import errors
from octconvert.cli.app import app
from octconvert.cli.exit_codes import EXIT_CODES
from octconvert.cli.help import PAGES
from octconvert.cli.supervision.signals import STOPPING, exit_code


def test_answers_without_tensorflow():
    """One process for all of them: none has imported it, so the next one begins without it."""
    answers = [
        (["--help"], 0),
        (["help", "bench"], 0),
        (["--version"], 0),
        (["diff", "--help"], 0),
        (["show", "--help"], 0),
        (["show", "fixtures/fashion_cnn.h5", "--image", "no-such.jpg"], 2),
        (["show", "fixtures/fashion_cnn.h5", "--image", "README.md", "-o", "maps.jpg"], 2),
        (["no-such.h5"], 2),
        (["fixtures/fashion_cnn.h5", "--calibrate", "no-such.npz"], 2),
        (["fixtures/fashion_cnn.h5", "--input-range", "1,-1"], 2),
        (["fixtures/fashion_cnn.h5", "--target-macs", "60"], 2),
        (["fixtures/fashion_cnn.h5", "--evaluate", "fixtures/legacy"], 2),
        (["fixtures/fashion_cnn.h5", "--evaluate", "fixtures/fashion_test_200.npz", "--metric", "f1"], 2),
    ]
    code = f"""
import sys
from octconvert import cli
for argv in {[argv for argv, _ in answers]!r}:
    try:
        cli.main(argv)
    except SystemExit as ended:
        print("exit", ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    exits = [line for line in shell(code).stdout.splitlines() if line.startswith("exit")]
    assert exits == [f"exit {code} False" for _, code in answers]


WIDTH = 80


def page(run, *argv):
    code, out, err = run(*argv)
    assert (code, err) == (0, "")
    return out


def wide(name):
    screen = io.StringIO()
    app.help_print([name], console=Console(file=screen, width=500))
    return screen.getvalue()


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def test_help_names_every_option(run):
    out = page(run, "--help")
    options = "output alpha alpha-map include exclude min-size preset stride-mode weights portable octave elementwise"
    others = "input-shape plan dry-run json verify unsafe custom-objects force quiet verbose debug"
    accuracy = "calibrate no-calibration preprocess input-range target-macs max-drop evaluate metric seed"
    more = "calibration-samples calibration-budget calibration-steps"
    names = f"{options} {others} {accuracy} {more}".split()
    assert [name for name in names if not re.search(rf"--{name}\s", out)] == []
    titles = ["How it is converted", "Keeping the accuracy", "Output"]
    assert sorted(titles, key=out.index) == titles


def test_the_first_page_begins_with_an_overview(run):
    out = page(run, "help")
    assert out == page(run, "--help") == page(run, "-h")
    begin = out[: out.index("--alpha")]
    assert "Commands:" in begin and "Documentation: https://" in begin and begin.count("  octconvert ") >= 3
    assert [name for name in PAGES if f"\n  {name} " not in begin] == []


@pytest.mark.parametrize("name", PAGES)
def test_each_command_has_a_page_with_examples_and_exit_codes(run, name):
    out = page(run, "help", name)
    assert out == page(run, name, "--help") == page(run, name, "-h")
    assert out.startswith(f"Usage: octconvert {name} ") and "Examples:\n  octconvert" in out
    assert "Exit codes:\n  0" in out and ("nothing to convert" in out) == (name == "convert")


def test_a_long_summary_goes_on_below_its_column(run):
    lines = run("help")[1].splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("  show MODEL"))
    column = lines[place].index("draw")
    assert lines[place + 1][:column].isspace() and lines[place + 1][column:] == "source"


def test_every_command_of_the_program_has_a_page():
    flags = {"--help", "-h", "--version"}
    assert set(app) - flags == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_are_understood(name):
    for example in PAGES[name].examples:
        words = [word for word in shlex.split(example) if not word.endswith(".json")]
        tokens = [f"{word}=-" if word == "--json" else word for word in words]
        chosen = app.parse_args(tokens, exit_on_error=False, print_error=False)[0]
        assert chosen.__name__.removeprefix("show_") == name


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_the_terminal_without_broken_words(run, name):
    shown = page(run, "help", name)
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert sorted(shown.split()) == sorted(wide(name).split())


@pytest.mark.parametrize("name", PAGES)
def test_values_have_types_and_defaults(name):
    lines = [line for line in wide(name).splitlines() if line.startswith("  -")]
    flags = ("[PATH|-]", "H,W,C", "LO,HI", "HOW", "NAME", "REGEX", "MODULE.PY:NAME", "STEP,...")
    for line in lines:
        _, value, *_ = [*re.sub(r"^-\w, ", "", line.strip().split("  ")[0]).split(), "", ""]
        assert not value or re.match(r"INT|FLOAT|PATH|CHOICE|REGEX=FLOAT", value) or value in (*flags, "")
        assert not value or re.search(r"[Dd]efault: |Required", line), line


def test_exit_codes_are_those_of_the_errors_and_of_the_documentation():
    listed = {getattr(errors, name).exit_code for name in dir(errors) if name in ("CheckError", "NothingToConvert")}
    assert listed | {errors.OctconvertError.exit_code} <= set(EXIT_CODES)
    assert {exit_code(number) for number in STOPPING} <= set(EXIT_CODES)
    table = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8").split("## Exit codes")[1].split("##")[0]
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", table, re.MULTILINE))
    assert {int(code): text.replace("`", "").replace("\\|", "|") for code, text in rows.items()} == EXIT_CODES


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\S*|unknown \(not installed\)", out.strip())
