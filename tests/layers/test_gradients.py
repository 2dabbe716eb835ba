"""Gradients of strided 1x1 convolutions: right, and without the operation that writes past its memory."""

from __future__ import annotations

import calibration_nets as nets
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from oracle import randomise
from processes import run_as_program
from tensorflow.python.framework.ops import get_gradient_function

import octconvert
from octconvert.calibration.data.supply import Supply
from octconvert.calibration.effort import Pace
from octconvert.calibration.refinement import TrainingPlan, refine
from octconvert.errors import InputError
from octconvert.layers import OctaveConv2D, OctaveConv2DTranspose
from octconvert.layers.gradients import safe_gradients
from octconvert.training.augmentation import flip_and_shift
from octconvert.training.distillation import distill

STEPS = 20
"""One step may spoil memory that nobody reads."""


def numbers(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), "float32")


def gradients_of(layer, inputs: list):
    """Outputs' shapes, and the gradients of a weighted sum of the outputs by inputs and weights, from a graph."""

    def weighted(outputs):
        parts = enumerate(keras.tree.flatten(outputs))
        return tf.add_n([tf.reduce_sum(numbers(*y.shape, seed=90 + i) * tf.cast(y, "float32")) for i, y in parts])

    value = lambda inputs: weighted(layer(inputs if len(inputs) > 1 else inputs[0]))  # noqa: E731

    @tf.function(autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = value(inputs)
        return tape.gradient(total, [*inputs, *(weight.value for weight in layer.trainable_weights)])

    return value, step


def check(layer, inputs: list, tolerance=2e-4):
    """What is linear in inputs, and in weights, tells its own derivative along any of them; returns the traced step."""
    value, step = gradients_of(layer, inputs)
    value(inputs)  # builds the layer
    for number, weight in enumerate(layer.weights):
        weight.assign(numbers(*weight.shape, seed=10 + number))
    for _ in range(STEPS):
        found = [np.array(each, "float64") for each in step(inputs)]
    by_inputs, by_weights = found[: len(inputs)], found[len(inputs) :]
    for seed in (1, 2):
        along = [numbers(*x.shape, seed=30 + 9 * i + seed) for i, x in enumerate(inputs)]
        without_bias = float(value(along)) - float(value([0 * x for x in along]))
        assert close(total(by_inputs, along), without_bias, by_inputs, tolerance)
        kept = layer.get_weights()
        along = [numbers(*weight.shape, seed=60 + 9 * i + seed) for i, weight in enumerate(layer.weights)]
        layer.set_weights(along)
        assert close(total(by_weights, along), float(value(inputs)), by_weights, tolerance)
        layer.set_weights(kept)
    return step


def total(gradients, along) -> float:
    return sum(float((gradient * np.array(other)).sum()) for gradient, other in zip(gradients, along, strict=True))


def close(found: float, expected: float, gradients, tolerance: float) -> bool:
    scale = sum(float(np.square(gradient).sum()) for gradient in gradients) ** 0.5
    return abs(found - expected) <= tolerance * scale


def strided_filters(step, inputs: list) -> list[str]:
    """Operations of the traced gradient that are the faulty one: strided, of a 1x1 kernel."""
    operations = step.get_concrete_function(inputs).graph.get_operations()
    filters = [each for each in operations if each.type == "Conv2DBackpropFilter"]
    return [each.name for each in filters if max(each.get_attr("strides")) > 1]


@pytest.mark.quick("30-arguments0", "13-arguments3")
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"strides": 3, "padding": "valid"},
        {"strides": (1, 2)},
        {"padding": ((1, 0), (0, 1))},
        {"octave": 4, "ratio_out": 0.25},
        {"groups": 2},
        {"ratio_out": 0.0},
    ],
)
@pytest.mark.parametrize("size", [30, 13])
def test_octave_convolution(arguments, size):
    arguments = {"strides": 2, "octave": 2, **arguments}
    layer, low = OctaveConv2D(8, 1, **arguments), -(-size // arguments["octave"])
    inputs = [numbers(3, size, size, 4), numbers(3, low, low, 6, seed=1)]
    assert not strided_filters(check(layer, inputs), inputs)
    check(OctaveConv2D(8, 1, **{**arguments, "ratio_out": 0.5}), inputs[:1])


@pytest.mark.quick("arguments0")
@pytest.mark.parametrize("arguments", [{}, {"strides": 3, "padding": "valid"}, {"output_padding": 0}])
def test_octave_transposed_convolution(arguments):
    layer = OctaveConv2DTranspose(8, 1, **{"strides": 2, **arguments})
    inputs = [numbers(3, 14, 14, 4), numbers(3, 7, 7, 6, seed=1)]
    assert not strided_filters(check(layer, inputs), inputs)


def test_outputs_and_wide_layers_have_the_strided_operation():
    """A slice in front would cost time where nobody takes a gradient."""
    for channels in (4, 40):
        layer, x = OctaveConv2D(8, 1, strides=2, ratio_out=0.0), numbers(1, 12, 12, channels)
        layer(x)
        operations = tf.function(layer).get_concrete_function(x).graph.get_operations()
        strides = [max(each.get_attr("strides")) for each in operations if each.type == "Conv2D"]
        assert strides == [2] and not any(each.type == "StridedSlice" for each in operations)


def test_mixed_precision():
    layer = OctaveConv2D(8, 1, strides=2, dtype="mixed_bfloat16")
    check(layer, [numbers(3, 30, 30, 4), numbers(3, 15, 15, 6, seed=1)], tolerance=3e-2)


def nested():
    inner = keras.Sequential([keras.Input((30, 30, 3)), layers.Conv2D(4, 1, strides=2, use_bias=False)])
    return keras.Sequential([keras.Input((30, 30, 3)), inner, layers.Conv2D(8, 1, strides=3, use_bias=False)])


class OwnKernel(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, 2.0 * kernel)


class OwnOperation(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, 1, shape[-1], 4))

    def call(self, x):
        return tf.nn.conv2d(x, self.kernel, 2, "VALID")


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: layers.Conv2D(8, 1, strides=2, padding="same"), (3, 30, 30, 8)),
        (lambda: layers.Conv2D(8, 1, strides=(3, 1), padding="valid"), (3, 31, 30, 1)),
        (lambda: layers.Conv2D(8, 1, strides=2, groups=4), (3, 30, 30, 8)),
        (lambda: layers.Conv2D(33, 1, strides=2), (3, 30, 30, 15)),
        (lambda: layers.Conv2D(8, 1, strides=2), (3, 30, 30, 64)),
        (lambda: layers.Conv1D(8, 1, strides=2), (3, 60, 3)),
        (lambda: layers.Conv2DTranspose(8, 1, strides=2), (3, 15, 15, 20)),
        (lambda: layers.TimeDistributed(layers.Conv2D(8, 1, strides=2)), (2, 3, 30, 30, 3)),
        (nested, (3, 30, 30, 3)),
        (lambda: OwnKernel(8, 1, strides=2), (3, 30, 30, 3)),
        (OwnOperation, (3, 30, 30, 3)),
    ],
)
def test_layers_of_keras_and_of_the_user(make, shape):
    layer, inputs = make(), [numbers(*shape)]
    if isinstance(layer, keras.Sequential):  # not linear in two kernels at once
        layer.layers[0].trainable = False
    layer(inputs[0])
    with safe_gradients():
        is_linear = not isinstance(layer, keras.Sequential)
        step = check(layer, inputs) if is_linear else gradients_of(layer, inputs)[1]
        assert not strided_filters(step, inputs)


def test_gradients_without_a_graph():
    x, kernel, upstream = numbers(7, 30, 30, 8), numbers(1, 1, 8, 4, seed=1), numbers(7, 15, 15, 4, seed=2)
    for _ in range(STEPS):
        with safe_gradients(), tf.GradientTape() as tape:
            tape.watch(kernel)
            y = tf.nn.conv2d(x, kernel, 2, "SAME")
            found = tape.gradient(y, kernel, upstream)
    expected = np.einsum("bhwi,bhwo->io", *(np.array(each, "float64") for each in (x[:, ::2, ::2], upstream)))
    assert np.allclose(found[0, 0], expected, atol=1e-3)


@pytest.mark.parametrize("kernel, strides", [(3, 2), (1, 1), ((1, 3), 2)])
def test_other_windows_keep_their_gradient(kernel, strides):
    layer, inputs = layers.Conv2D(8, kernel, strides=strides, padding="same"), [numbers(3, 12, 12, 3)]
    layer(inputs[0])
    with safe_gradients():
        assert bool(strided_filters(check(layer, inputs), inputs)) == (strides > 1)


def test_what_was_before_comes_back():
    graph = tf.Graph()
    with graph.as_default():
        operation = tf.nn.conv2d(tf.zeros((1, 4, 4, 1)), tf.zeros((1, 1, 1, 1)), 2, "VALID").op
    before = get_gradient_function(operation)
    with pytest.raises(InputError), safe_gradients():
        with safe_gradients():
            assert get_gradient_function(operation) is not before
        assert get_gradient_function(operation) is not before
        raise InputError("on the way")
    assert get_gradient_function(operation) is before


def mini_xception() -> keras.Model:
    """A residual shortcut that is a strided 1x1 convolution on 8 channels."""
    inputs = keras.Input((36, 36, 1))
    x = nets.conv_bn(inputs, 8)
    shortcut = layers.Conv2D(16, 1, strides=2, padding="same", use_bias=False, name="shortcut")(x)
    y = layers.ReLU()(layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(x))
    x = layers.Add()([layers.MaxPooling2D(3, strides=2, padding="same")(y), layers.BatchNormalization()(shortcut)])
    return randomise(keras.Model(inputs, nets.head(layers.Conv2D(16, 3)(x), 7)))


def train() -> None:
    """Refine with the strided convolution left plain; distill, with an augmentation, where it is converted."""
    source, x = mini_xception(), nets.images(65, 36, 1)
    supply = Supply(nets.samples(x), nets.samples(x), "test", "", len(x), images=True)
    alignment = nets.alignment_of(source, nets.planned(source, exclude=("shortcut",)).layout)
    assert isinstance(alignment.model.get_layer("shortcut"), layers.Conv2D)
    assert refine(alignment, supply, TrainingPlan(STEPS), 0.03, Pace(), 0).steps == STEPS
    converted = octconvert.convert(source, calibration=False, min_size=1).model
    distill(source, converted, x, 4, augment=flip_and_shift, batch_size=13, verbose=0)
    assert all(np.isfinite(weight).all() for weight in converted.get_weights())


@pytest.mark.long
def test_a_mini_xception_is_trained_in_a_process_that_lives_on():
    run_as_program(__file__)


if __name__ == "__main__":
    train()
