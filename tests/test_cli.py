"""The command line: what it prints where, what it writes, and its exit codes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from keras import layers

from octconvert import cli

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small model on disk."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv3")(x)
    outputs = layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x))
    path = tmp_path_factory.mktemp("source") / "net.keras"
    keras.Model(inputs, outputs).save(path)
    return path


@pytest.fixture
def net(source, tmp_path, monkeypatch):
    """A copy of it alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.keras").write_bytes(source.read_bytes())
    return tmp_path / "net.keras"


@pytest.fixture
def run(capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def call(*argv):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(item) for item in argv])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


def shell(code_or_args, cwd=ROOT, **environment):
    """A fresh Python in which nothing has been imported yet."""
    kept = {key: value for key, value in os.environ.items() if key != cli.LOG_LEVEL}
    env = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    args = ["-c", code_or_args] if isinstance(code_or_args, str) else ["-m", "octconvert.cli", *code_or_args]
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=cwd, env=env)


def files(folder="."):
    return sorted(item.name for item in Path(folder).iterdir())


def assert_one_error_line(found, code, *said):
    assert found[0] == code and found[1] == ""
    assert found[2].startswith("octconvert: ") and found[2].count("\n") == 1
    assert [part for part in said if part not in found[2]] == []


# --- before TensorFlow starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["diff", "--help"], ["no-such.h5"]])
def test_answers_without_tensorflow(argv):
    code = f"""
import sys
from octconvert import cli
try:
    cli.main({argv!r})
except SystemExit as ended:
    print("exit", ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    started = time.perf_counter()
    found = shell(code)
    assert time.perf_counter() - started < 1
    assert found.stdout.splitlines()[-1] == f"exit {2 if argv == ['no-such.h5'] else 0} False"


def test_help_names_every_option(run):
    code, out, err = run("--help")
    options = "output alpha alpha-map include exclude min-size preset stride-mode weights portable octave elementwise"
    others = "input-shape plan dry-run json verify unsafe custom-objects force quiet verbose debug"
    assert code == 0 and err == ""
    assert [name for name in f"{options} {others}".split() if f"--{name} " not in out] == []
    assert "octconvert diff A B" in out and max(map(len, out.splitlines())) <= 80


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\S*|unknown \(not installed\)", out.strip())


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "MODEL"),
        (["net.keras", "--bogus"], "--bogus"),
        (["net.keras", "other.keras"], "other.keras"),
        (["net.keras", "--alpha"], "--alpha"),
        (["net.keras", "--alpha", "much"], "--alpha"),
        (["net.keras", "--alpha", "1.5"], "alpha must be"),
        (["net.keras", "--octave", "3"], "octave must be a power of two"),
        (["net.keras", "--min-size", "0"], "min_size"),
        (["net.keras", "--weights", "copy"], "--weights"),
        (["net.keras", "--preset", "big"], "--preset"),
        (["net.keras", "--verify", "never"], "--verify"),
        (["net.keras", "--exclude", "("], "regular expression"),
        (["net.keras", "--alpha-map", "conv1"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "=0.5"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "conv1=2"], "alpha_map must be"),
        (["net.keras", "--input-shape", "32,32"], "--input-shape"),
        (["net.keras", "--input-shape", "32,-1,3"], "--input-shape"),
        (["net.keras", "-q", "-v"], "--quiet"),
        (["net.keras", "--json=no/such/folder.json"], "no/such/folder.json"),
        (["net.keras", "--plan", "p.json"], "p.json"),
        (["missing.h5"], "missing.h5"),
        (["diff", "net.keras"], "B requires"),
        (["diff", "net.keras", "missing.h5"], "missing.h5"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(net, run, argv, said):
    assert_one_error_line(run(*argv), 2, said)
    assert files() == ["net.keras"]


@pytest.mark.parametrize(
    "option",
    [
        "--alpha=0.25",
        "--octave=2",
        "--alpha-map=a=0.5",
        "--include=a",
        "--exclude=a",
        "--min-size=8",
        "--preset=paper",
        "--stride-mode=keep",
        "--weights=fold",
        "--portable",
        "--elementwise=Scale",
    ],
)
def test_plan_contradicts_the_options_it_fixes(net, run, option):
    assert_one_error_line(run("net.keras", "--plan", "p.json", option), 2, option.split("=")[0], "--plan")


def test_json_never_takes_the_model_for_its_value(net, run):
    """Read as --json=net.keras the report would be written over the model."""
    before = net.read_bytes()
    assert_one_error_line(run("--json", "net.keras", "--json=net.keras"), 2, "--json")
    assert_one_error_line(run("net.keras", "--json=net.keras"), 2, "net.keras: is a file that is read")
    assert net.read_bytes() == before


def test_existing_output_is_refused_before_anything_is_done(net, run):
    Path("net-octave.keras").write_text("precious")
    assert_one_error_line(run("net.keras"), 2, "net-octave.keras", "--force")
    assert Path("net-octave.keras").read_text() == "precious"


def test_output_over_the_input_is_refused_even_by_force(net, run):
    before = net.read_bytes()
    assert_one_error_line(run("net.keras", "-o", "./net.keras", "--force"), 2, "is the model to convert")
    assert net.read_bytes() == before


@pytest.mark.parametrize("target", ["net.onnx", "no/such/folder/net.keras"])
def test_output_that_can_not_be_written(net, run, target):
    assert_one_error_line(run("net.keras", "-o", target), 2, target)
    assert files() == ["net.keras"]


# --- converting -----------------------------------------------------------------------------------------------------


def test_converts_to_the_default_name_and_reports(net, run):
    code, out, err = run("net.keras")
    assert (code, err) == (0, "")
    assert files() == ["net-octave.keras", "net.keras"]
    assert "3 of 3 convolutions converted" in out and "net.keras -> net-octave.keras" in out
    assert keras.saving.load_model("net-octave.keras").output_shape == (None, 4)


def test_default_name_is_beside_the_input_and_drops_one_ending(net, run):
    Path("folder").mkdir()
    net.rename("folder/net.v2.keras")
    assert run("folder/net.v2.keras", "-q") == (0, "", "")
    assert files("folder") == ["net.v2-octave.keras", "net.v2.keras"]


def test_force_overwrites_and_h5_is_chosen_by_its_ending(net, run):
    Path("out.h5").write_text("old")
    assert run("net.keras", "-o", "out.h5", "--force", "-q") == (0, "", "")
    assert Path("out.h5").read_bytes().startswith(b"\x89HDF")


def test_text_file_as_model(net, run):
    Path("text.h5").write_text("not a model\n")
    assert_one_error_line(run("text.h5"), 2, "text.h5")
    assert files() == ["net.keras", "text.h5"]


def test_nothing_to_convert_ends_with_3_and_writes_nothing(net, run):
    assert_one_error_line(run("net.keras", "--exclude", "conv"), 3, "net.keras")
    assert files() == ["net.keras"]


def test_json_alone_is_alone_on_stdout(net, run):
    code, out, err = run("net.keras", "--json", "--verify", "deep", "--alpha", "0.25")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["passed"] and found["convolutions_converted"] == 3
    assert {row["alpha_out"] for row in found["convolutions"][:2]} == {0.25}
    assert Path("net-octave.keras").exists()


def test_json_file_comes_beside_the_printed_report(net, run):
    code, out, _ = run("--json", "report.json", "net.keras")
    assert code == 0 and "3 of 3 convolutions converted" in out
    assert json.loads(Path("report.json").read_text())["target"] == "net-octave.keras"
    assert files() == ["net-octave.keras", "net.keras", "report.json"]


def test_options_reach_the_conversion(net, run):
    code, out, _ = run("net.keras", "--json", "--alpha-map", "conv1=0.25", "--exclude", "conv3", "--portable")
    rows = {row["name"]: row for row in json.loads(out)["convolutions"]}
    assert code == 0 and rows["conv1"]["alpha_out"] == 0.25 and rows["conv3"]["role"] == "plain"
    names = {type(layer).__module__.split(".")[0] for layer in keras.saving.load_model("net-octave.keras").layers}
    assert names == {"keras"}


def test_elementwise_layers_by_name(net, run):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Softmax(name="attention")(keras.layers.Conv2D(8, 3)(inputs))
    keras.Model(inputs, keras.layers.Conv2D(4, 3)(x)).save("named.keras")
    code, out, _ = run("named.keras", "--json", "--min-size=1", "--elementwise", "attention", "--elementwise", "other")
    report = json.loads(out)
    assert code == 0 and [row["role"] for row in report["convolutions"]] == ["first", "last"]
    assert "elementwise 'other' is no layer, class or activation of the model" in report["notes"]
    assert_one_error_line(run("named.keras", "--force", "--elementwise", ""), 2, "elementwise")
    run("named.keras", "-q", "--dry-run", "--json", "plan.json", "--min-size=1", "--elementwise", "Softmax")
    code, out, _ = run("named.keras", "--force", "--json", "--plan", "plan.json")
    assert code == 0 and json.loads(out)["convolutions_converted"] == 2


def test_dry_run_prints_the_plan_and_writes_nothing(net, run):
    Path("net-octave.keras").write_text("an older result is no obstacle")
    code, out, err = run("net.keras", "--dry-run")
    assert (code, err) == (0, "") and "3 of 3 convolutions would become octave layers" in out
    assert files() == ["net-octave.keras", "net.keras"]


def test_dry_run_tells_when_nothing_can_be_converted(net, run):
    code, out, err = run("net.keras", "--dry-run", "--min-size", "64")
    assert code == 3 and "all 3 convolutions stay plain" in out and err.count("\n") == 1


def test_plan_is_written_edited_and_followed(net, run):
    code, out, _ = run("net.keras", "--dry-run", "--json", "plan.json")
    assert code == 0 and "would become" in out
    plan = json.loads(Path("plan.json").read_text())
    next(row for row in plan["convolutions"] if row["name"] == "conv3")["frozen"] = True
    Path("plan.json").write_text(json.dumps(plan))
    code, out, _ = run("net.keras", "--plan", "plan.json", "--json")
    roles = {row["name"]: row["role"] for row in json.loads(out)["convolutions"]}
    assert code == 0 and roles["conv3"] == "plain" and roles["conv1"] == "first"
    code, out, _ = run("net.keras", "--plan", "plan.json", "--dry-run", "--json")
    assert code == 0 and {row["name"]: row["role"] for row in json.loads(out)["convolutions"]} == roles


def test_dry_run_json_on_stdout_is_the_plan(net, run):
    code, out, err = run("net.keras", "--dry-run", "--json", "-")
    assert (code, err) == (0, "") and json.loads(out)["format"] == "octconvert-plan/1"


def test_json_files_are_not_overwritten(net, run):
    """A hand-edited plan is work that must not get lost."""
    run("net.keras", "--dry-run", "--json", "plan.json", "-q")
    before = Path("plan.json").read_bytes()
    assert_one_error_line(run("net.keras", "--dry-run", "--json", "plan.json"), 2, "plan.json", "--force")
    over_itself = ["--plan", "plan.json", "--json=plan.json", "--force"]
    assert_one_error_line(run("net.keras", *over_itself), 2, "plan.json", "read")
    assert_one_error_line(run("diff", "net.keras", "net.keras", "--json", "plan.json"), 2, "plan.json", "--force")
    assert Path("plan.json").read_bytes() == before
    assert run("net.keras", "--dry-run", "--json", "plan.json", "-q", "--force")[0] == 0


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("alpha", 1.5, "below 1"),
        ("alpha", "x", "below 1"),
        ("selection", [[0, 999]], "different indices"),
        ("selection", [[0, 0]], "different indices"),
        ("selection", [[0], [1]], "one entry for each producer"),
        ("producers", 5, "producers"),
    ],
)
def test_a_plan_edited_wrongly_is_refused(net, run, key, value, said):
    run("net.keras", "--dry-run", "--json", "plan.json", "-q")
    plan = json.loads(Path("plan.json").read_text())
    plan["groups"][0][key] = value
    Path("plan.json").write_text(json.dumps(plan))
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "plan.json", "groups[0]", said)


def test_a_name_too_long_for_the_file_system(net, run):
    long = "n" * 245 + ".keras"
    net.rename(long)
    assert_one_error_line(run(long), 2, "-o")


@pytest.mark.parametrize("content", ["{}", "no json", '{"format": "octconvert-plan/1"}'])
def test_broken_plan(net, run, content):
    Path("plan.json").write_text(content)
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "plan.json")


def test_plan_of_another_model_is_refused(net, run):
    run("net.keras", "--dry-run", "--json", "plan.json")
    Path("plan.json").write_text(Path("plan.json").read_text().replace("conv2", "elsewhere"))
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "elsewhere")
    assert files() == ["net.keras", "plan.json"]


def test_custom_objects_are_found_and_their_prints_stay_off_stdout(net, run, capsys):
    Path("own.py").write_text(
        "import keras\nprint('imported')\n\n@keras.saving.register_keras_serializable('own')\n"
        "class Scale(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    namespace = {}
    exec(Path("own.py").read_text(), namespace)
    model = keras.saving.load_model("net.keras")
    keras.Model(model.inputs, namespace["Scale"](name="scale")(model.outputs[0])).save("scaled.keras")
    del keras.saving.get_custom_objects()["own>Scale"]
    capsys.readouterr()
    assert_one_error_line(run("scaled.keras", "--dry-run"), 2, "Scale")
    code, out, _ = run("scaled.keras", "--dry-run", "--json", "--custom-objects", "own.py:Scale")
    assert code == 0 and json.loads(out)["format"] == "octconvert-plan/1"


def test_diff_of_source_and_result(net, run):
    run("net.keras", "-q")
    code, out, err = run("diff", "net.keras", "net-octave.keras")
    assert (code, err) == (0, "") and "3 of 3 convolutions converted" in out
    code, out, _ = run("diff", "--json", "net.keras", "net-octave.keras")
    assert json.loads(out)["before"]["macs"] > json.loads(out)["after"]["macs"]


# --- what must never reach the user raw -----------------------------------------------------------------------------


def test_unexpected_exception_is_one_line_naming_exception_and_file(net, run, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("three\nlines\nlong")

    monkeypatch.setattr(cli, "_check_output", broken)
    assert_one_error_line(run("net.keras"), 1, "net.keras", "ZeroDivisionError", "--debug")
    code, _, err = run("net.keras", "--debug")
    assert code == 1 and "Traceback" in err and "in broken" in err


def test_debug_shows_the_traceback_of_an_expected_error_too(run):
    code, _, err = run("missing.h5", "--debug")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("octconvert: missing.h5")


def test_interrupt_is_quiet(net, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check_output", interrupted)
    assert run("net.keras") == (130, "", "")


def test_a_fresh_process_prints_nothing_but_the_result(net):
    """Descriptors 1 and 2 of a real process: TensorFlow logs from C++, which capturing in Python would not see."""
    found = shell(["net.keras", "-o", "out.h5", "--json"], cwd=net.parent)
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["convolutions_converted"] == 3


def test_a_reader_that_goes_away_is_no_crash(net):
    command = [sys.executable, "-m", "octconvert.cli", "net.keras", "--dry-run"]
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=net.parent, env=env)
    os.close(write)
    assert found.returncode == 141 and "Traceback" not in found.stderr and "BrokenPipe" not in found.stderr
