"""The command line: what it prints where, what it writes, and its exit codes."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from octconvert import cli
from octconvert.cli import app, console
from octconvert.system import environment

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


def shell(code_or_args, cwd=ROOT, **variables):
    """A fresh Python in which nothing has been imported yet."""
    kept = {name: value for name, value in os.environ.items() if name not in environment.DEFAULTS}
    env = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}
    args = ["-c", code_or_args] if isinstance(code_or_args, str) else ["-m", "octconvert", *code_or_args]
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=cwd, env=env)


def files(folder="."):
    return sorted(item.name for item in Path(folder).iterdir())


def assert_one_error_line(found, code, *said):
    assert found[0] == code and found[1] == ""
    assert found[2].startswith("octconvert: ") and found[2].count("\n") == 1
    assert [part for part in said if part not in found[2]] == []


# --- before TensorFlow starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["diff", "--help"],
        ["no-such.h5"],
        ["fixtures/fashion_cnn.h5", "--calibrate", "no-such.npz"],
        ["fixtures/fashion_cnn.h5", "--input-range", "1,-1"],
        ["fixtures/fashion_cnn.h5", "--target-macs", "60"],
    ],
)
def test_answers_without_tensorflow(argv):
    code = f"""
import sys
from octconvert import cli
try:
    cli.main({argv!r})
except SystemExit as ended:
    print("exit", ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    found = shell(code)
    assert found.stdout.splitlines()[-1] == f"exit {0 if argv[-1].startswith('--') else 2} False"


def test_help_names_every_option(run):
    code, out, err = run("--help")
    options = "output alpha alpha-map include exclude min-size preset stride-mode weights portable octave elementwise"
    others = "input-shape plan dry-run json verify unsafe custom-objects force quiet verbose debug"
    accuracy = "calibrate no-calibration preprocess input-range target-macs max-drop evaluate seed"
    more = "calibration-samples calibration-budget calibration-steps"
    assert code == 0 and err == ""
    assert [name for name in f"{options} {others} {accuracy} {more}".split() if f"--{name} " not in out] == []
    titles = ["How it is converted", "Keeping the accuracy", "Output"]
    assert sorted(titles, key=out.index) == titles
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
        (["net.keras", "--min-size", "0"], "--min-size takes a whole number from 1"),
        (["net.keras", "--weights", "copy"], "--weights"),
        (["net.keras", "--preset", "big"], "--preset"),
        (["net.keras", "--verify", "never"], "--verify"),
        (["net.keras", "--exclude", "("], "regular expression"),
        (["net.keras", "--alpha-map", "conv1"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "=0.5"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "conv1=2"], "alpha_map must be"),
        (["net.keras", "--input-shape", "32,32"], "--input-shape"),
        (["net.keras", "--input-shape", "32,-1,3"], "--input-shape"),
        (["net.keras", "--calibrate"], "--calibrate"),
        (["net.keras", "--calibrate", "photos"], "photos: there is no such file or directory (--calibrate)"),
        (["net.keras", "--evaluate", "test.npz"], "test.npz: there is no such file or directory (--evaluate)"),
        (["net.keras", "--dry-run", "--calibrate", "photos"], "photos"),
        (["net.keras", "--preprocess", ""], "--preprocess takes"),
        (["net.keras", "--preprocess", "1/255,x"], "--preprocess takes"),
        (["net.keras", "--preprocess", "1,2,3"], "--preprocess takes"),
        (["net.keras", "--preprocess", "0,1"], "--preprocess takes"),
        (["net.keras", "--preprocess", "-1,nan"], "--preprocess takes"),
        (["net.keras", "--input-range", "1"], "--input-range takes"),
        (["net.keras", "--input-range", "0,1,2"], "--input-range takes"),
        (["net.keras", "--input-range", "1,-1"], "--input-range takes"),
        (["net.keras", "--input-range", "0,inf"], "--input-range takes"),
        (["net.keras", "--input-range", "--force"], "--input-range takes"),
        (["net.keras", "--calibration-samples", "2.5"], "--calibration-samples takes a whole number"),
        (["net.keras", "--calibration-samples", "1"], "--calibration-samples takes a whole number from 2"),
        (["net.keras", "--calibration-budget", "0"], "--calibration-budget"),
        (["net.keras", "--calibration-budget", "inf"], "--calibration-budget"),
        (["net.keras", "--calibration-budget", "long"], "--calibration-budget"),
        (["net.keras", "--calibration-steps", "solve,polish"], "no step 'polish'; there are rotate, select, solve"),
        (["net.keras", "--calibration-steps", ""], "--calibration-steps has no step ''"),
        (["net.keras", "--target-macs", "1"], "--target-macs takes a share above 0 and below 1, received 1"),
        (["net.keras", "--target-macs", "nan"], "--target-macs takes a share"),
        (["net.keras", "--target-macs", "60%"], "--target-macs"),
        (["net.keras", "--max-drop", "0"], "--max-drop takes a share"),
        (["net.keras", "--seed", "-1"], "--seed takes a whole number from 0"),
        (["net.keras", "--seed", "4294967296"], "--seed takes a whole number"),
        (["net.keras", "--seed", "x"], "--seed takes a whole number"),
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


@pytest.mark.parametrize("command", [["-o", "out.keras"], ["export", "-o", "out.tflite"], ["bench", "--runtime", "tf"]])
def test_a_size_that_the_model_does_not_work_at(run, tmp_path, monkeypatch, command):
    """The error comes from the model, which knows of no file; the line names it all the same."""
    monkeypatch.chdir(tmp_path)
    image = keras.Input((None, None, 3))
    keras.Model(image, layers.Conv2D(4, 5)(layers.Conv2D(4, 5)(image))).save("open.keras")
    place = 1 if command[0] in ("export", "bench") else 0
    argv = [*command[:place], "open.keras", *command[place:], "--input-shape", "6,6,3"]
    assert_one_error_line(run(*argv), 2, "octconvert: open.keras: ", "does not work at input_shape (6, 6, 3): Computed")
    assert files() == ["open.keras"]


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


@pytest.mark.parametrize(
    "first, second",
    [
        ("--no-calibration", "--calibrate=net.keras"),
        ("--no-calibration", "--input-range=0,1"),
        ("--no-calibration", "--calibration-samples=8"),
        ("--no-calibration", "--calibration-budget=8"),
        ("--no-calibration", "--calibration-steps=solve"),
        ("--no-calibration", "--target-macs=0.5"),
        ("--no-calibration", "--max-drop=0.5"),
        ("--calibrate=net.keras", "--input-range=0,1"),
        ("--target-macs=0.5", "--alpha=0"),
        ("--target-macs=0.5", "--alpha-map=a=0.5"),
        ("--target-macs=0.5", "--plan=p.json"),
        ("--max-drop=0.5", "--alpha=0.5"),
        ("--max-drop=0.5", "--alpha-map=a=0.5"),
        ("--max-drop=0.5", "--plan=p.json"),
        ("--max-drop=0.5", "--target-macs=0.5"),
    ],
)
def test_options_of_the_accuracy_that_contradict_each_other(net, run, first, second):
    said = f"{second.split('=')[0]} can not be given together with {first.split('=')[0]}, "
    assert_one_error_line(run("net.keras", first, second), 2, said)
    assert files() == ["net.keras"]


def test_json_is_not_written_over_the_data(net, run):
    for option in ("--calibrate", "--evaluate"):
        Path("data.npz").write_bytes(b"precious")
        assert_one_error_line(
            run("net.keras", option, "data.npz", "--json=data.npz", "--force"), 2, "is a file that is"
        )
        assert Path("data.npz").read_bytes() == b"precious"


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


# --- options on their way -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(net, run, monkeypatch):
    """Run the command line: (function of `octconvert.api`, what it was given of the options for the accuracy)."""
    from octconvert import api

    names = "calibration preprocess input_range calibration_samples calibration_budget calibration_steps target_macs"
    names = {*names.split(), "max_drop", "evaluate", "seed"}
    found = []

    def instead(function, model, **given):
        found.append((function, {name: value for name, value in given.items() if name in names}))
        raise api.InputError("enough")

    monkeypatch.setattr(api, "convert", lambda model, **given: instead("convert", model, **given))
    monkeypatch.setattr(api, "plan", lambda model, **given: instead("plan", model, **given))
    Path("data.npz").touch()
    Path("photos").mkdir()

    def call(*argv):
        assert_one_error_line(run("net.keras", *argv), 2, "enough")
        return found.pop()

    return call


@pytest.mark.parametrize(
    "argv, given",
    [
        ([], {}),
        (["--calibrate", "data.npz"], {"calibration": "data.npz"}),
        (["--calibrate", "photos"], {"calibration": "photos"}),
        (["--no-calibration"], {"calibration": False}),
        (["--preprocess", "resnet50"], {"preprocess": "resnet50"}),
        (["--preprocess", "1/127.5,-1"], {"preprocess": "1/127.5,-1"}),
        (["--preprocess", "-1,1"], {"preprocess": "-1,1"}),
        (["--preprocess", "1/255"], {"preprocess": "1/255"}),
        (["--preprocess", "own.py:f"], {"preprocess": "own.py:f"}),
        (["--input-range", "-1,1"], {"input_range": (-1.0, 1.0)}),
        (["--calibration-samples", "64"], {"calibration_samples": 64}),
        (["--calibration-budget", "90"], {"calibration_budget": 90.0}),
        (["--calibration-steps", "solve, renormalize,solve"], {"calibration_steps": ("solve", "renormalize")}),
        (["--target-macs", "0.6"], {"target_macs": 0.6}),
        (["--max-drop", "0.01"], {"max_drop": 0.01}),
        (["--seed", "0"], {"seed": 0}),
        (
            ["--no-calibration", "--seed", "1", "--preprocess", "vgg16"],
            {"calibration": False, "seed": 1, "preprocess": "vgg16"},
        ),
        (["--calibrate", "photos", "--max-drop", "0.01"], {"calibration": "photos", "max_drop": 0.01}),
    ],
)
def test_what_was_given_about_the_accuracy_is_passed_on_and_no_more(asked, argv, given):
    assert asked(*argv) == ("convert", given)
    assert asked(*argv, "--dry-run") == ("plan", given)


def test_only_a_conversion_is_evaluated(asked):
    assert asked("--evaluate", "data.npz") == ("convert", {"evaluate": "data.npz"})
    assert asked("--evaluate", "data.npz", "--dry-run") == ("plan", {})


def test_calibration_goes_with_a_plan(asked, monkeypatch):
    monkeypatch.setattr(app, "_read_plan", lambda path: path)
    assert asked("--plan", "p.json", "--calibrate", "data.npz") == ("convert", {"calibration": "data.npz"})


# --- progress -------------------------------------------------------------------------------------------------------


def test_progress_forgets_the_stage_before(monkeypatch):
    """A bar that is full already, or the count of another stage, would tell nonsense."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    screen.isatty = lambda: True
    with console.progress_bar("starting TensorFlow", screen) as show:
        shown = []
        for stage, done, total in [("read", 0, 1), ("calibrate: refine", 400, 400), ("check", 0, 0), ("save", 0, 1)]:
            screen.truncate(0)
            show(stage, done, total)  # a stage that begins is drawn at once
            lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\0", "").split("\r")
            shown.append(lines[-1])
    assert [line.split()[0] for line in shown] == ["read", "calibrate:", "check", "save"]
    assert [re.findall(r"\d+/\d+", line) for line in shown] == [["0/1"], ["400/400"], [], ["0/1"]]
    assert len({line.index("━") for line in shown}) == 1 and max(map(len, shown)) <= 80


# --- converting -----------------------------------------------------------------------------------------------------


def test_converts_to_the_default_name_and_reports(net, run):
    code, out, err = run("net.keras", "--no-calibration")
    assert (code, err) == (0, "")
    assert files() == ["net-octave.keras", "net.keras"]
    assert "3 of 3 convolutions converted" in out and "net.keras -> net-octave.keras" in out
    assert keras.saving.load_model("net-octave.keras").output_shape == (None, 4)


def test_default_name_is_beside_the_input_and_drops_one_ending(net, run):
    Path("folder").mkdir()
    net.rename("folder/net.v2.keras")
    assert run("folder/net.v2.keras", "-q", "--no-calibration") == (0, "", "")
    assert files("folder") == ["net.v2-octave.keras", "net.v2.keras"]


def test_force_overwrites_and_h5_is_chosen_by_its_ending(net, run):
    Path("out.h5").write_text("old")
    assert run("net.keras", "-o", "out.h5", "--force", "-q", "--no-calibration") == (0, "", "")
    assert Path("out.h5").read_bytes().startswith(b"\x89HDF")


def test_text_file_as_model(net, run):
    Path("text.h5").write_text("not a model\n")
    assert_one_error_line(run("text.h5"), 2, "text.h5")
    assert files() == ["net.keras", "text.h5"]


def test_nothing_to_convert_ends_with_3_and_writes_nothing(net, run):
    assert_one_error_line(run("net.keras", "--exclude", "conv"), 3, "net.keras")
    assert files() == ["net.keras"]


def test_json_alone_is_alone_on_stdout(net, run):
    code, out, err = run("net.keras", "--json", "--verify", "deep", "--alpha", "0.25", "--no-calibration")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["passed"] and found["convolutions_converted"] == 3
    assert {row["alpha_out"] for row in found["convolutions"][:2]} == {0.25}
    assert Path("net-octave.keras").exists()


def test_json_file_comes_beside_the_printed_report(net, run):
    code, out, _ = run("--json", "report.json", "net.keras", "--no-calibration")
    assert code == 0 and "3 of 3 convolutions converted" in out
    assert json.loads(Path("report.json").read_text())["target"] == "net-octave.keras"
    assert files() == ["net-octave.keras", "net.keras", "report.json"]


def test_options_reach_the_conversion(net, run):
    code, out, _ = run(
        "net.keras", "--json", "--alpha-map", "conv1=0.25", "--exclude", "conv3", "--portable", "--no-calibration"
    )
    rows = {row["name"]: row for row in json.loads(out)["convolutions"]}
    assert code == 0 and rows["conv1"]["alpha_out"] == 0.25 and rows["conv3"]["role"] == "plain"
    names = {type(layer).__module__.split(".")[0] for layer in keras.saving.load_model("net-octave.keras").layers}
    assert names == {"keras"}


def test_elementwise_layers_by_name(net, run):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Softmax(name="attention")(keras.layers.Conv2D(8, 3)(inputs))
    keras.Model(inputs, keras.layers.Conv2D(4, 3)(x)).save("named.keras")
    options = ["--min-size=1", "--elementwise", "attention", "--elementwise", "other", "--no-calibration"]
    code, out, _ = run("named.keras", "--json", *options)
    report = json.loads(out)
    assert code == 0 and [row["role"] for row in report["convolutions"]] == ["first", "last"]
    assert "elementwise 'other' is no layer, class or activation of the model" in report["notes"]
    assert_one_error_line(run("named.keras", "--force", "--elementwise", ""), 2, "elementwise")
    run("named.keras", "-q", "--dry-run", "--json", "plan.json", "--min-size=1", "--elementwise", "Softmax")
    code, out, _ = run("named.keras", "--force", "--json", "--plan", "plan.json", "--no-calibration")
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
    code, out, _ = run("net.keras", "--plan", "plan.json", "--json", "--no-calibration")
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
        ("alpha", "x", '"alpha" must be a number'),
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
    run("net.keras", "-q", "--no-calibration")
    code, out, err = run("diff", "net.keras", "net-octave.keras")
    assert (code, err) == (0, "") and "3 of 3 convolutions converted" in out
    code, out, _ = run("diff", "--json", "net.keras", "net-octave.keras")
    assert json.loads(out)["before"]["macs"] > json.loads(out)["after"]["macs"]


# --- keeping the accuracy -------------------------------------------------------------------------------------------

DATA = ROOT / "fixtures" / "fashion_test_200.npz"
QUICKLY = ["--calibration-steps", "solve", "--calibration-samples", "24", "--seed", "1"]


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A trained classifier alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.h5").write_bytes((ROOT / "fixtures" / "fashion_cnn.h5").read_bytes())


@pytest.fixture
def images(net):
    """Coarse random images beside the small model."""
    x = np.random.default_rng(0).standard_normal((32, 8, 8, 3)).astype("float32")
    np.save("images.npy", x.repeat(4, axis=1).repeat(4, axis=2))
    return "images.npy"


def test_calibrates_on_data_and_evaluates(fashion, run):
    """A trained classifier and raw images of its own kind."""
    steps = ["--calibration-steps", "select,renormalize", "--calibration-samples", "48"]
    code, out, err = run("net.h5", "--calibrate", DATA, "--evaluate", DATA, "--json", *steps)
    found = json.loads(out)
    calibration, evaluation = found["calibration"], found["evaluation"]
    assert (code, err) == (0, "") and not calibration["synthetic"] and DATA.name in calibration["data"]
    assert calibration["samples"] + calibration["held_out"] == 48 and calibration["measures"]
    assert evaluation["samples"] == 200 and evaluation["before"] > 0.9 and DATA.name in evaluation["data"]
    assert any(row["error"] is not None for row in found["convolutions"])


def test_calibrates_on_synthetic_images_without_any_data(net, run):
    code, out, err = run("net.keras", "--input-range", "0,255", *QUICKLY)
    assert (code, err) == (0, "") and "on synthetic images" in out and "Accuracy not measured" in out
    assert "0..255, as given" in out and "--calibrate DATA" in out
    assert max(map(len, out.splitlines())) <= 80 and files() == ["net-octave.keras", "net.keras"]


def test_accuracy_is_printed_where_it_was_measured(fashion, run):
    code, out, _ = run("net.h5", "--no-calibration", "--evaluate", DATA)
    assert code == 0 and "Accuracy 9" in out.split("before     after")[0] and "Calibration" not in out


def test_no_calibration_leaves_the_weights_as_they_are(fashion, run):
    code, out, _ = run("net.h5", "--no-calibration", "--json")
    found = json.loads(out)
    assert code == 0 and found["calibration"] is None and found["evaluation"] is None
    assert {row["error"] for row in found["convolutions"]} == {None}


def test_the_same_seed_gives_the_same_weights(net, run, images):
    for name in ("a.keras", "b.keras"):
        assert run("net.keras", "-q", "-o", name, "--calibrate", images, *QUICKLY) == (0, "", "")
    pairs = zip(*(keras.saving.load_model(name).get_weights() for name in ("a.keras", "b.keras")), strict=True)
    assert all((first == second).all() for first, second in pairs)


def test_alpha_is_chosen_for_a_share_of_the_macs(net, run):
    code, out, _ = run("net.keras", "--target-macs", "0.8", "--json", *QUICKLY)
    found = json.loads(out)
    assert code == 0 and 0.6 < found["after"]["macs"] / found["before"]["macs"] <= 0.8
    code, out, _ = run("net.keras", "--target-macs", "0.8", "--json", "--dry-run", *QUICKLY)
    alphas = {row["name"]: row["alpha_out"] for row in found["convolutions"]}
    assert code == 0 and {row["name"]: row["alpha_out"] for row in json.loads(out)["convolutions"]} == alphas


@pytest.mark.zoo
def test_alpha_is_chosen_for_a_drop(net, run, images):
    code, out, _ = run("net.keras", "--max-drop", "0.5", "--calibrate", images, "--json", *QUICKLY)
    assert code == 0 and json.loads(out)["after"]["macs"] < json.loads(out)["before"]["macs"]


@pytest.mark.parametrize("option", ["--calibrate", "--evaluate"])
def test_data_that_can_not_be_read(fashion, run, option):
    Path("data.npz").write_text("no archive")
    assert_one_error_line(run("net.h5", option, "data.npz"), 2, "data.npz")
    Path("empty").mkdir()
    assert_one_error_line(run("net.h5", option, "empty"), 2, "empty")
    assert files() == ["data.npz", "empty", "net.h5"]


def test_preprocess_that_is_unknown(fashion, run):
    assert_one_error_line(run("net.h5", "--calibrate", DATA, "--preprocess", "resnet5000"), 2, "resnet5000")
    assert files() == ["net.h5"]


# --- what must never reach the user raw -----------------------------------------------------------------------------


def test_unexpected_exception_is_one_line_naming_exception_and_file(net, run, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("three\nlines\nlong")

    monkeypatch.setattr(app, "_check_output", broken)
    assert_one_error_line(run("net.keras"), 1, "net.keras", "ZeroDivisionError", "--debug")
    code, _, err = run("net.keras", "--debug")
    assert code == 1 and "Traceback" in err and "in broken" in err


def test_debug_shows_the_traceback_of_an_expected_error_too(run):
    code, _, err = run("missing.h5", "--debug")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("octconvert: missing.h5")


def test_interrupt_is_one_line(net, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "_check_output", interrupted)
    assert run("net.keras") == (130, "", "octconvert: interrupted\n")


def test_a_fresh_process_prints_nothing_but_the_result(net):
    """Descriptors 1 and 2 of a real process: TensorFlow logs from C++, which capturing in Python would not see."""
    found = shell(["net.keras", "-o", "out.h5", "--json", "--no-calibration"], cwd=net.parent)
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["convolutions_converted"] == 3


def test_channels_first_runs_on_every_processor(tmp_path):
    """TensorFlow's own kernels for the CPU lack it; those of oneDNN have to be asked for without AVX-512."""
    model = ROOT / "fixtures" / "legacy" / "keras1_channels_first.h5"
    arguments = [model, "-o", tmp_path / "out.keras", "--min-size", "1", "--no-calibration"]
    assert shell([str(each) for each in arguments]).returncode == 0
    code = f"import octconvert; octconvert.convert({str(model)!r}, min_size=1, calibration=False)"
    told = shell(code, TF_ENABLE_ONEDNN_OPTS="0").stderr.splitlines()[-1]
    assert "InputError: TensorFlow can not run layer 'convolution2d_3' here" in told and "NHWC" in told
    assert told.endswith("TF_ENABLE_ONEDNN_OPTS=1 in the environment brings more operations")


def test_a_reader_that_goes_away_is_no_crash(net):
    command = [sys.executable, "-m", "octconvert", "net.keras", "--dry-run"]
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=net.parent, env=env)
    os.close(write)
    assert found.returncode == 141 and "Traceback" not in found.stderr and "BrokenPipe" not in found.stderr


def test_a_directory_as_the_output_is_refused_with_and_without_force(net, run):
    Path("folder").mkdir()
    for more in ((), ("--force",)):
        assert_one_error_line(run("net.keras", "-o", "folder", *more), 2, "octconvert: folder: is a directory")
