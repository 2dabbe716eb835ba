"""Arguments that are refused: one line, exit code 2, and nothing is written."""

from pathlib import Path

import keras
import pytest
from command_line import assert_one_error_line, files
from keras import layers


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "MODEL"),
        (["net.keras", "--bogus"], "--bogus"),
        (["net.keras", "other.keras"], "other.keras"),
        (["net.keras", "--alpha"], "--alpha"),
        (["net.keras", "--alpha", "much"], "--alpha"),
        (["net.keras", "--alpha", "1.5"], "--alpha must be"),
        (["net.keras", "--octave", "3"], "--octave must be a power of two"),
        (["net.keras", "--min-size", "0"], "--min-size takes a whole number from 1"),
        (["net.keras", "--weights", "copy"], "--weights"),
        (["net.keras", "--preset", "big"], "--preset"),
        (["net.keras", "--verify", "never"], "--verify"),
        (["net.keras", "--exclude", "("], "regular expression"),
        (["net.keras", "--alpha-map", "conv1"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "=0.5"], "--alpha-map takes REGEX=ALPHA"),
        (["net.keras", "--alpha-map", "conv1=2"], "--alpha-map must be"),
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
        (
            ["net.keras", "--calibration-steps", "solve,polish"],
            "--calibration-steps takes some of rotate, select, solve",
        ),
        (["net.keras", "--calibration-steps", ""], "received ''"),
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
        (["diff", "net.keras"], "B is missing"),
        (["diff", "net.keras", "missing.h5"], "missing.h5"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(net, run, argv, message):
    assert_one_error_line(run(*argv), 2, message)
    assert files() == ["net.keras"]


@pytest.mark.quick("arguments0")
@pytest.mark.parametrize(
    "arguments", [["-o", "out.keras"], ["export", "-o", "out.tflite"], ["bench", "--runtime", "tf"]]
)
def test_a_size_that_the_model_does_not_work_at(run, tmp_path, monkeypatch, arguments):
    """The error comes from the model, which knows of no file; the line names it all the same."""
    monkeypatch.chdir(tmp_path)
    image = keras.Input((None, None, 3))
    keras.Model(image, layers.Conv2D(4, 5)(layers.Conv2D(4, 5)(image))).save("open.keras")
    place = 1 if arguments[0] in ("export", "bench") else 0
    argv = [*arguments[:place], "open.keras", *arguments[place:], "--input-shape", "6,6,3"]
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
    message = f"{second.split('=')[0]} can not be combined with {first.split('=')[0]}, "
    assert_one_error_line(run("net.keras", first, second), 2, message)
    assert files() == ["net.keras"]


def test_json_is_not_written_over_the_data(net, run):
    for option in ("--calibrate", "--evaluate"):
        Path("data.npz").write_bytes(b"PK precious")
        assert_one_error_line(
            run("net.keras", option, "data.npz", "--json=data.npz", "--force"), 2, "is a file that is"
        )
        assert Path("data.npz").read_bytes() == b"PK precious"


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


def test_a_name_too_long_for_the_file_system(net, run):
    long = "n" * 245 + ".keras"
    net.rename(long)
    assert_one_error_line(run(long), 2, "-o")


def test_a_directory_as_the_output_is_refused_with_and_without_force(net, run):
    Path("folder").mkdir()
    for more in ((), ("--force",)):
        assert_one_error_line(run("net.keras", "-o", "folder", *more), 2, "octconvert: folder: is a directory")
