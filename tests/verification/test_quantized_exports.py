"""Exports whose numbers are rounded run, are compared with the model, and their report says how close they are."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from deployables import converted, installed
from keras import layers

import octconvert
from octconvert.calibration.evidence import ModelOutputs
from octconvert.errors import InputError, UsageError
from octconvert.model.execution import run
from octconvert.pipeline.quantizing import _check
from octconvert.runtimes import RUNTIMES

TARGETS = {"litert": "net.tflite", "onnx": "net.onnx", "openvino": "net.xml"}
KINDS = [(name, precision) for name in TARGETS for precision in RUNTIMES[name].quantizes_with]


@pytest.fixture(scope="module")
def net():
    return converted()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def images(count, seed=0):
    return np.random.default_rng(seed).random((count, 16, 16, 3), "float32")


def installed_for(name, precision):
    installed(name)
    for module in RUNTIMES[name].quantizes_with[precision]:
        pytest.importorskip(module)


@pytest.mark.quick("litert-int8")
@pytest.mark.parametrize("name, precision", KINDS, ids=lambda value: value)
def test_a_rounded_file_predicts_nearly_what_the_model_predicts(net, name, precision):
    installed_for(name, precision)
    data = images(64)
    result = octconvert.export(net, TARGETS[name], quantize=precision, calibration=data)
    rounded = result.quantization
    assert result.check.passed and (rounded.precision, rounded.held_out) == (precision, 8)
    assert bool(rounded.data) == (precision == "int8")
    image = images(1, seed=5)
    outputs = RUNTIMES[name].open(Path(TARGETS[name]))({"image": image})
    expected = run(net, [image])
    error = np.abs(outputs[0] - expected[0]).max() / np.abs(expected[0]).max()
    assert 0 < error < 0.1
    stated = {each.name: each.value for each in rounded.closeness}
    assert set(stated) == {"top-1 agreement", "relative error"} and 0 < stated["relative error"] < 0.05


@pytest.mark.long
def test_int8_is_a_quarter_of_the_size(net):
    installed("litert")
    image = keras.Input((8, 8, 64), name="image")
    wide = keras.Model(image, layers.Conv2D(64, 3, padding="same")(layers.Conv2D(64, 3, padding="same")(image)))
    sizes = [octconvert.export(wide, f"{q}.tflite", quantize=q).bytes for q in (None, "float16", "int8")]
    assert sizes[1] < 0.6 * sizes[0] and sizes[2] < 0.35 * sizes[0]


@pytest.mark.long
def test_integers_at_both_ends(net):
    installed("litert")
    result = octconvert.export(net, "net.tflite", quantize="int8", integer_io=True, calibration=images(32))
    assert result.inputs[0].dtype == "int8"
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter("net.tflite")
    ends = (*interpreter.get_input_details(), *interpreter.get_output_details())
    assert {end["dtype"] for end in ends} == {np.int8}


@pytest.mark.long
def test_images_of_bytes(net):
    """None can be generated; only int8 needs any."""
    installed("litert")
    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    x = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    assert octconvert.export(model, "half.tflite", quantize="float16").check.passed
    with pytest.raises(UsageError, match="no samples can be generated for these inputs; give some as `calibration`"):
        octconvert.export(model, "net.tflite", quantize="int8")
    data = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype="uint8")
    assert octconvert.export(model, "net.tflite", quantize="int8", calibration=data).check.passed


@pytest.mark.long
def test_accuracy_before_and_after(net, command):
    installed("litert")
    net.save("net.keras")
    data = images(40)
    labels = run(net, [data])[0].argmax(axis=1)
    np.savez("test.npz", x=data, y=labels)
    argv = ["export", "net.keras", "-o", "net.tflite", "--quantize", "int8", "--evaluate", "test.npz"]
    code, out, err = command(*argv)
    assert (code, err) == (0, "") and "Accuracy 100.0% -> " in out and "synthetic images" in out
    code, out, _ = command(*argv, "--force", "--json")
    report = json.loads(out)["quantization"]
    assert report["evaluation"]["before"] == 1.0 and report["evaluation"]["after"] > 0.9


@pytest.mark.long
def test_an_evaluation_that_fails_takes_no_file_away(net):
    installed("litert")
    written = []

    def metric(labels, outputs):
        written.append(Path("net.tflite").exists())
        return 1.0 if len(written) == 1 else {}["later"]

    data = (images(10), np.arange(10) % 4)
    result = octconvert.export(net, "net.tflite", quantize="float16", evaluate=data, metric=metric)
    assert written == [False, True] and Path("net.tflite").exists()
    assert np.isnan(result.quantization.evaluation.after) and "of the rounded file could not be" in result.notes[-1]
    with pytest.raises(InputError, match="the labels are from 7 to 16"):
        octconvert.export(net, "other.tflite", quantize="float16", evaluate=(data[0], np.arange(10) + 7))
    assert not Path("other.tflite").exists()


@pytest.mark.parametrize(
    "argv, message",
    [
        (["-o", "net", "--format", "tf", "--quantize", "int8"], "tf can not be exported with --quantize int8"),
        (
            ["-o", "net.xml", "--quantize", "dynamic"],
            "openvino can not be exported with --quantize dynamic",
        ),
        (["-o", "net.tflite", "--calibrate", "x.npz"], "--calibrate is for an export that is quantized"),
        (["-o", "net.tflite", "--quantize", "float16", "--integer-io"], "--integer-io needs --quantize int8"),
        (["-o", "net.onnx", "--quantize", "int8", "--integer-io"], "--integer-io is for LiteRT"),
        (["-o", "net.tflite", "--quantize", "int8", "--calibrate", "none.npz"], "none.npz: there is no such file"),
        (["-o", "net.tflite", "--quantize", "int8", "--calibration-samples", "1"], "--calibration-samples takes"),
        (["-o", "net.tflite", "--opset", "17"], "--opset is for ONNX; litert has none"),
        (["-o", "net.onnx", "--opset", "5"], "--opset takes a whole number from 13 to 18"),
        (["-o", "net.onnx", "--batch", "any"], "--batch takes a whole number"),
        (
            ["-o", "net.onnx", "--quantize", "int8", "--metric", "auc"],
            "--metric is measured on labelled data",
        ),
    ],
)
def test_bad_usage_is_one_line(command, argv, message):
    Path("net.keras").touch()
    code, out, err = command("export", "net.keras", *argv)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_rounded_file_that_predicts_something_else_fails():
    rng = np.random.default_rng(0)
    expected = ModelOutputs((rng.standard_normal((16, 4)),))
    noise = rng.standard_normal((16, 4))
    assert _check(expected, ModelOutputs((expected.arrays[0] + 0.1 * noise,)), 16).passed
    failed = _check(expected, ModelOutputs((noise,)), 16)
    assert not failed.passed and "predicts something else" in failed.detail
    assert not _check(expected, ModelOutputs((noise * np.nan,)), 16).passed


@pytest.mark.quick("onnx")
@pytest.mark.parametrize("name", [*TARGETS, "tf"])
def test_an_open_batch(net, name):
    installed(name)
    target = TARGETS.get(name, "net")
    result = octconvert.export(net, target, format=name, batch="dynamic")
    assert result.inputs[0].shape == (None, 16, 16, 3)
    if name == "litert":
        return  # its session runs the size that the file says, which is 1
    data = images(3)
    outputs = RUNTIMES[name].open(Path(target))({"image": data})
    assert np.abs(outputs[0] - run(net, [data])[0]).max() < 1e-5


def test_a_fixed_batch_can_not_be_left_open():
    image = keras.Input(batch_shape=(2, 8, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 3)(image), name="fixed")
    with pytest.raises(UsageError, match="has a fixed batch size of 2, which can not be left open"):
        octconvert.export(model, "net.onnx", batch="dynamic")


@pytest.mark.long
def test_an_onnx_file_says_what_it_is(net):
    installed("onnx")
    import onnx

    octconvert.export(net, "net.onnx", opset=17, batch=2)
    file = onnx.load("net.onnx")
    facts = {each.key: each.value for each in file.metadata_props}
    assert facts["octconvert_source"] == "small" and "batch=2" in facts["octconvert_options"]
    assert [each.name for each in file.graph.output] == ["output_0"]
    assert {each.version for each in file.opset_import if not each.domain} == {17}


@pytest.mark.long
def test_folders_of_a_saved_model_are_created(net):
    octconvert.export(net, "served/small/1", format="tf")
    assert Path("served/small/1/saved_model.pb").exists()


@pytest.mark.long
@pytest.mark.parametrize("size", [24, 22])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_in_int8_a_conversion_runs_in_as_many_pieces_as_its_source(alpha, size):
    installed("litert")
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    for _ in range(2):
        y = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Conv2D(8, 1, activation="relu")(x))
        x = layers.ReLU()(layers.Add()([x, layers.Conv2D(8, 1)(y)]))
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(x)
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    octave = octconvert.convert(model, alpha, min_size=1, calibration=False).model
    data = np.random.default_rng(0).random((16, size, size, 3), "float32")
    pieces = [
        octconvert.export(each, f"{number}.tflite", quantize="int8", calibration=data).partitions
        for number, each in enumerate((model, octave))
    ]
    assert pieces[1] == pieces[0]
