"""`octconvert export`: what it writes, how it is checked, and that nothing is lost where it fails."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from deployables import converted, installed, source, unsupported
from keras import layers

import octconvert
from octconvert.errors import CheckError, UsageError
from octconvert.model.execution import run
from octconvert.results.report import Check
from octconvert.runtimes import RUNTIMES
from octconvert.system.installation import install_command
from octconvert.verification import checks
from octconvert.verification.exporting import FORMATS, format_of

TARGETS = {"litert": "net.tflite", "onnx": "net.onnx", "openvino": "net.xml", "tf": "net"}
LEFT = {"openvino": ["net.bin", "net.keras", "net.xml"]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "net.keras"
    converted().save(path)
    return path


@pytest.fixture
def net(saved, tmp_path, monkeypatch):
    """A converted model alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.keras").write_bytes(saved.read_bytes())
    return tmp_path / "net.keras"


def files(folder="."):
    return sorted(item.name for item in Path(folder).iterdir())


def options(name):
    return ["-o", TARGETS[name], *(["--format", "tf"] if name == "tf" else [])]


def predicted(name, path="."):
    """What the file gives, and what the Keras model gives, for one random image."""
    image = np.random.default_rng(1).random((1, 16, 16, 3), "float32")
    found = RUNTIMES[name].open(Path(path) / TARGETS[name])({"image": image})
    return found, run(keras.saving.load_model("net.keras"), [image])


@pytest.mark.quick("onnx")
@pytest.mark.parametrize("name", FORMATS)
def test_writes_a_file_that_gives_what_the_model_gives(net, command, name):
    installed(name)
    code, out, err = command("export", "net.keras", *options(name))
    assert (code, err) == (0, "") and f"net.keras -> {TARGETS[name]}" in out and "1x16x16x3 float32" in out
    assert max(map(len, out.splitlines())) <= 80
    assert files() == LEFT.get(name, sorted(["net.keras", TARGETS[name]]))
    assert checks.largest_difference(*reversed(predicted(name))) < 1e-5


def test_json_alone_on_stdout(net, command):
    installed("litert")
    code, out, err = command("export", "net.keras", "-o", "net.tflite", "--batch", "2", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and found["format"] == "octconvert-export/1" and found["runtime"] == "litert"
    assert found["inputs"] == [{"name": "image", "shape": [2, 16, 16, 3], "dtype": "float32"}]
    assert found["check"]["passed"] and found["for_inference"] and found["bytes"] == os.path.getsize("net.tflite")


@pytest.mark.long
def test_a_model_is_written_as_it_is_where_that_is_asked_for(net, command):
    installed("onnx")
    code, out, _ = command("export", "net.keras", "-o", "net.onnx", "--no-for-inference", "--json")
    assert code == 0 and not json.loads(out)["for_inference"]
    assert checks.largest_difference(*reversed(predicted("onnx"))) < 1e-5


@pytest.mark.long
def test_quiet_prints_nothing(net, command):
    assert command("export", "net.keras", "-o", "sm", "--format", "tf", "-q") == (0, "", "")


@pytest.mark.parametrize(
    "argv, said",
    [
        (["net.keras"], "name what to write with -o"),
        (["net.keras", "-o", "net.bin"], "unknown ending '.bin'; name it .tflite, .onnx or .xml"),
        (["net.keras", "-o", "net"], "net: no ending; name it .tflite, .onnx or .xml, or give --format openvino or tf"),
        (["net.keras", "-o", "net.onnx", "--format", "litert"], "litert is written to a name ending in .tflite"),
        (["net.keras", "-o", "net", "--format", "onnx"], "onnx is written to a name ending in .onnx"),
        (["net.keras", "-o", "net.xml", "--format", "tf"], "tf is written to a directory"),
        (["net.keras", "-o", "net", "--format", "xla"], "--format"),
        (["net.keras", "-o", "net", "--format", "tf", "--batch", "0"], "--batch takes a whole number"),
        (["net.keras", "-o", "net.keras/such/net", "--format", "tf"], "there is no directory net.keras/such"),
        (["net.keras", "-o", "net.keras", "--format", "tf", "--force"], "is the model to convert"),
        (["net.keras", "-o", "taken", "--format", "tf"], "taken: exists already"),
        (["net.keras", "-o", "full", "--format", "tf", "--force"], "holds more than an export"),
        (["net.keras", "-o", "taken", "--format", "tf", "--force"], "is a file; name a directory"),
        (["none.keras", "-o", "net", "--format", "tf"], "none.keras: there is no such file"),
        (["net.keras", "-o", "x" * 300, "--format", "tf"], "can not be written"),
    ],
)
def test_bad_usage_is_one_line_and_changes_nothing(net, command, argv, said):
    Path("taken").write_text("precious")
    Path("full").mkdir()
    Path("full/thesis").write_text("precious")
    code, out, err = command("export", *argv)
    assert (code, out) == (2, "") and said in err and err.startswith("octconvert: ") and err.count("\n") == 1
    assert files() == ["full", "net.keras", "taken"] and Path("full/thesis").exists()


def test_a_missing_runtime_is_told_before_anything_is_done(net, command, monkeypatch):
    monkeypatch.setattr(type(RUNTIMES["litert"]), "runs_with", ("no_such_package",))
    code, _, err = command("export", "net.keras", "-o", "net.tflite")
    assert code == 2 and f"litert needs no_such_package: {install_command('export')}" in err


@pytest.mark.long
@pytest.mark.parametrize("name, written", [("openvino", ["net.bin", "net.xml"]), ("tf", ["net"])])
def test_what_exists_is_replaced_by_force_alone(net, command, name, written):
    installed(name)
    assert command("export", "net.keras", *options(name), "-q")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    code, _, err = command("export", "net.keras", *options(name), "-q")
    assert code == 2 and "exists already" in err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert command("export", "net.keras", *options(name), "-q", "--force") == (0, "", "")
    assert checks.largest_difference(*reversed(predicted(name))) < 1e-5
    assert files() == sorted([*written, "net.keras"])


def test_a_stray_weights_file_is_not_overwritten(net, command):
    installed("openvino")
    Path("net.bin").write_text("precious")
    code, _, err = command("export", "net.keras", "-o", "net.xml")
    assert code == 2 and "net.bin: exists already" in err and files() == ["net.bin", "net.keras"]


@pytest.mark.long
def test_an_export_that_gives_something_else_leaves_all_as_it_was(net, command, monkeypatch):
    Path("net").mkdir()
    Path("net/saved_model.pb").write_text("precious")
    failing = Check("export", False, "the exported file predicts something else")
    monkeypatch.setattr(checks, "check_exported", lambda *_: failing)
    code, out, err = command("export", "net.keras", *options("tf"), "--force")
    assert (code, out) == (1, "") and "check 'export' failed, nothing was written" in err and err.count("\n") == 1
    assert files() == ["net", "net.keras"] and Path("net/saved_model.pb").read_text() == "precious"


@pytest.mark.quick("onnx")
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_an_operation_that_the_runtime_has_not_is_one_line(net, command, name):
    installed(name)
    unsupported().save("rare.keras")
    code, out, err = command("export", "rare.keras", *options(name))
    assert code in (1, 2) and out == "" and "it does not support Erfinv" in err and err.count("\n") == 1
    assert files() == ["net.keras", "rare.keras"]


@pytest.mark.quick("onnx")
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_exact_gelu(tmp_path, name):
    """tf2onnx has no Erfc, which TensorFlow's is made of."""
    installed(name)
    image = keras.Input((8, 8, 3))
    x = keras.ops.gelu(layers.Conv2D(4, 3, activation="gelu")(image), approximate=False)
    made = octconvert.export(keras.Model(image, layers.Dense(2)(x)), tmp_path / TARGETS[name])
    assert made.check.passed and not made.notes


def test_open_sizes_are_given(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 3, padding="same")(inputs), name="open")
    with pytest.raises(UsageError, match="input_shape"):
        octconvert.export(model, tmp_path / "net", format="tf")
    made = octconvert.export(model, tmp_path / "net", format="tf", input_shape=(12, 8, 3))
    assert made.inputs[0].shape == (1, 12, 8, 3)


def test_a_model_in_memory_is_exported_and_shows_itself(tmp_path):
    model = source()
    weights = model.get_weights()
    made = octconvert.export(model, tmp_path / "net", format="tf")
    assert made.check.passed and made.source == "small" and made.runtime == "tf"
    assert "image" in str(made) and "in its form for inference" in made._repr_mimebundle_((), ())["text/html"]
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))


def test_a_file_that_can_not_be_run_is_refused(tmp_path, monkeypatch):
    def broken(self, model, signature, path, settings):
        path.mkdir()

    monkeypatch.setattr(type(RUNTIMES["tf"]), "_write", broken)
    with pytest.raises(CheckError, match="tf can not run the exported file"):
        octconvert.export(source(), tmp_path / "net", format="tf")
    assert files(tmp_path) == []


def test_formats_go_by_ending():
    assert [format_of(Path(f"a.b{RUNTIMES[name].suffix.upper()}")).name for name in FORMATS[:3]] == list(FORMATS[:3])
    assert format_of(Path("directory"), "openvino").name == "openvino"
