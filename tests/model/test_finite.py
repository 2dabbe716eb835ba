"""Sources and data with numbers that are not finite: refused, or said; never called checked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import randomise

import octconvert
from octconvert.calibration.evidence import ModelOutputs
from octconvert.errors import CheckError, InputError
from octconvert.evaluation import Evaluator
from octconvert.model import examples
from octconvert.model.finite import unusable_weights
from octconvert.model.graph_reader import build_graph
from octconvert.results.report import Check
from octconvert.samples import Samples
from octconvert.training.distillation import distill
from octconvert.verification import checks


def net(head="softmax", dtype=None) -> keras.Model:
    inputs = keras.Input((16, 16, 3), dtype=dtype)
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return randomise(keras.Model(inputs, layers.Dense(5, activation=head, name="classes")(x), name="net"))


def spoil(model: keras.Model, layer: str, name: str, value: float, count: int = 1) -> keras.Model:
    variable = next(each for each in model.get_layer(layer).variables if each.name == name)
    array = ops.convert_to_numpy(variable).copy()
    array.reshape(-1)[1 : 1 + count] = value
    variable.assign(array)
    return model


BROKEN = [
    ("conv1", "kernel", np.nan, "'conv1' kernel (2 of 216 nan or infinity)"),
    ("conv2", "bias", np.inf, "'conv2' bias (2 of 16 nan or infinity)"),
    ("norm", "moving_variance", -1.0, "'norm' moving_variance (2 of 8 negative)"),
    ("norm", "moving_mean", np.nan, "'norm' moving_mean (2 of 8 nan or infinity)"),
    ("classes", "kernel", np.inf, "'classes' kernel (2 of 80 nan or infinity)"),
]


@pytest.mark.quick(
    "conv1-kernel-nan-'conv1' kernel (2 of 216 nan or infinity)",
    "norm-moving_variance--1.0-'norm' moving_variance (2 of 8 negative)",
)
@pytest.mark.parametrize("layer, name, value, told", BROKEN)
def test_a_source_without_finite_outputs_is_refused(layer, name, value, told, tmp_path):
    model, stages = spoil(net(), layer, name, value, 2), []
    target = tmp_path / "octave.keras"
    for source in (model, str(tmp_path / "net.keras")):
        model.save(tmp_path / "net.keras")
        with pytest.raises(InputError) as error:
            octconvert.convert(source, output=target, min_size=1, progress=lambda stage, *_: stages.append(stage))
        message = str(error.value)
        assert told in message and "\n" not in message and message.startswith(getattr(source, "name", source))
    assert set(stages) == {"read", "plan"} and not target.exists(), "before any long work"
    with pytest.raises(InputError) as error:
        octconvert.export(model, tmp_path / "net.tflite")
    assert told in str(error.value) and not (tmp_path / "net.tflite").exists()


def test_all_that_is_broken_is_counted():
    model = net()
    for layer, name, value, _ in BROKEN:
        spoil(model, layer, name, value, 2)
    with pytest.raises(InputError, match=r"'conv1' kernel .* and 2 more variables"):
        octconvert.convert(model, calibration=False, min_size=1)


@pytest.mark.parametrize("value", [np.inf, -0.0005])
def test_unusable_weights_without_effect_are_told(value):
    model = spoil(net(), "norm", "moving_variance", value)
    result = octconvert.convert(model, calibration=False, min_size=1)
    told = [note for note in result.report.notes if "'norm' moving_variance (1 of 8" in note]
    assert len(told) == (1 if np.isinf(value) else 0), "epsilon makes up for a variance just below zero"
    assert all(np.isfinite(examples.example(result.model).outputs[0]).ravel())


def test_weights_are_named_once_where_a_layer_is_shared():
    inputs = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    assert [str(each) for each in unusable_weights(spoil(model, "shared", "bias", np.nan))] == [
        "'shared' bias (1 of 3 nan or infinity)"
    ]


def test_an_operation_that_makes_them_is_named():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3)(ops.log(0 * inputs - 1))
    with pytest.raises(InputError, match=r"not finite \(first after layer 'log"):
        octconvert.convert(keras.Model(inputs, layers.Conv2D(8, 3)(x)), calibration=False, min_size=1)


def test_other_inputs_are_tried():
    """A logarithm is at home above 1 here."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3)(ops.log(inputs - 1))
    model = randomise(keras.Model(inputs, layers.Conv2D(8, 3)(x)))
    result = octconvert.convert(model, calibration=False, min_size=1, verify="deep", runtime="tf")
    assert all(check.passed for check in result.report.checks)


def test_infinite_outputs_of_a_sound_model_are_compared():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Conv2D(8, 3, padding="same")(inputs))
    model = randomise(keras.Model(inputs, ops.log(layers.Conv2D(4, 3, activation="relu")(x))))
    assert np.isneginf(examples.example(model).outputs[0]).any()
    result = octconvert.convert(model, calibration=False, min_size=1)
    assert Check("finite outputs", True, "infinite on a random input, as the source's are") in result.report.checks


def test_nothing_is_compared_with_nan():
    model, sound = spoil(net(), "conv1", "kernel", np.nan), net()
    samples = examples.example(sound).samples
    for broken in (checks.check_inference(model, model), checks.check_exported(model, samples, [np.zeros((1, 5))])):
        assert not broken.passed and "nothing to compare" in broken.detail
    assert not checks.check_finite(examples.example(model), model).passed
    assert not checks.check_finite(examples.example(sound), model).passed


def test_nan_agrees_with_nothing():
    sound, broken = np.eye(4, dtype="float32"), np.eye(4, dtype="float32")
    broken[:2] = np.nan
    assert ModelOutputs((sound,)).agreement(ModelOutputs((sound,))) == 1.0
    assert ModelOutputs((broken,)).agreement(ModelOutputs((broken,))) == 0.5
    assert ModelOutputs((sound,)).agreement(ModelOutputs((broken,))) == 0.5
    maps = np.full((2, 3, 3, 1), np.nan, "float32")
    assert not ModelOutputs((maps,)).decibels(ModelOutputs((maps,))) > 0


@pytest.mark.parametrize("classes", [1, 5])
def test_nan_is_no_right_answer(classes):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(classes)(inputs))
    x = np.ones((6, 3), "float32")
    samples = Samples((x,), np.zeros(6, "int64"), "test")
    model.layers[-1].set_weights([np.zeros((3, classes)), -np.ones(classes)])
    evaluator = Evaluator.of(build_graph(model), samples)
    assert evaluator.measure(model) == (1.0,)
    model.layers[-1].set_weights([np.full((3, classes), np.nan), np.zeros(classes)])
    assert evaluator.measure(model) == (0.0,)


@pytest.mark.long
def test_distillation_needs_finite_outputs():
    source, x = net(), np.random.default_rng(0).random((32, 16, 16, 3)).astype("float32")
    converted = octconvert.convert(source, calibration=False, min_size=1).model
    start = converted.get_weights()
    with pytest.raises(InputError, match="the source's outputs on the first batch"):
        distill(spoil(net(), "conv1", "kernel", np.nan), converted, x, 1, verbose=0)
    with pytest.raises(CheckError, match="the loss is not finite"):
        distill(source, converted, np.concatenate([x] * 4 + [np.nan * x[:1]]), 1, batch_size=43, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(start, converted.get_weights(), strict=True))
    with pytest.raises(InputError, match="the converted model's outputs on the first batch"):
        converted.set_weights([np.nan * weight for weight in start])
        distill(source, converted, x, 1, verbose=0)
