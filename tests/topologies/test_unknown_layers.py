"""Layers the rewriter knows nothing of: the pair is merged before them, and the report says which and why."""

import keras
import pytest
import tensorflow as tf
from keras import Input, Model, Sequential, layers
from oracle import assert_oracle, ends, reasons, roles

import octconvert


@keras.saving.register_keras_serializable(package="tests")
class Scale(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), name="factor")

    def call(self, x):
        return tf.multiply(x, self.factor)  # which does not run on Keras tensors


class Unregistered(layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


@keras.saving.register_keras_serializable(package="tests")
class CleverConv(layers.Conv2D):
    """A subclass with a call of its own is another layer."""

    def call(self, x):
        return super().call(x) + 1.0


class PlainSubclass(layers.Conv2D):
    """A subclass that keeps the call is the same layer."""


def by_offset(offset):
    return lambda x: tf.add(x, offset)


def conv(x, name=None, filters=8):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


def attention(x):
    rows, columns, channels = x.shape[1:]
    flat = layers.Reshape((rows * columns, channels), name="flat")(x)
    flat = layers.MultiHeadAttention(2, 4)(flat, flat)
    return layers.Reshape((rows, columns, channels))(flat)


def around(operation):
    """Two convolutions before and behind, so that both sides have something to convert."""
    inputs = Input((8, 9, 3))
    x = operation(conv(conv(inputs, "a"), "b"))
    return Model(inputs, conv(conv(x, "c"), "d", 4))


UNKNOWN = {
    "LayerNormalization of maps": (lambda x: layers.LayerNormalization(axis=(1, 2, 3))(x), "normalises axes [1, 2, 3]"),
    "UnitNormalization of rows": (lambda x: layers.UnitNormalization(axis=1)(x), "normalises axes [1]"),
    "Softmax": (lambda x: layers.Softmax()(x), "no rule for Softmax"),
    "Lambda": (lambda x: layers.Lambda(lambda t: tf.add(t, 1.0))(x), "no rule for Lambda"),
    "Lambda with a closure": (lambda x: layers.Lambda(by_offset(3.0))(x), "no rule for Lambda"),
    "custom": (lambda x: Scale()(x), "no rule for Scale"),
    "subclass with its own call": (lambda x: CleverConv(8, 3)(x), "no rule for CleverConv"),
    "MultiHeadAttention": (attention, "Reshape mixes positions and channels"),
    "Permute": (lambda x: layers.Permute((2, 1, 3))(x), "no rule for Permute"),
    "RandomFlip": (lambda x: layers.RandomFlip()(x), "no rule for RandomFlip"),
    "Resizing that cuts": (lambda x: layers.Resizing(8, 8, crop_to_aspect_ratio=True)(x), "keeps the aspect ratio"),
    "Activation softmax": (lambda x: layers.Activation("softmax")(x), "joins channels"),
    "Activation unknown": (lambda x: layers.Activation(by_offset(1.0))(x), "not known to be element-wise"),
}


@pytest.mark.quick("Softmax", "custom", "MultiHeadAttention")
@pytest.mark.parametrize("name", UNKNOWN)
def test_pair_ends_with_the_reason(name):
    operation, reason = UNKNOWN[name]
    result = assert_oracle(around(operation), converted=4)
    assert roles(result) == {"a": "first", "b": "last", "c": "first", "d": "last"}
    assert reason in reasons(result)["b"]
    inputs = Input((8, 9, 3))
    x = conv(inputs, "a")
    both = octconvert.plan(Model(inputs, [operation(x), conv(x, "b")]), min_size=1)
    assert any(reason in text for text in ends(both).values()), ends(both)


def test_flatten_of_a_map():
    inputs = Input((8, 8, 3))
    x = conv(inputs, "a")
    plan = octconvert.plan(Model(inputs, [layers.Dense(2)(layers.Flatten(name="flat")(x)), conv(x, "b")]), min_size=1)
    assert ends(plan)["flat"] == "Flatten mixes positions and channels"


def test_subclass_that_keeps_the_call():
    inputs = Input((8, 8, 3))
    x = PlainSubclass(8, 3, name="mine")(inputs)
    assert roles(assert_oracle(Model(inputs, conv(x, "last")), converted=2)) == {"mine": "first", "last": "last"}


def test_activation_function_that_nobody_registered():
    def relu(x):
        return keras.ops.maximum(x, 0.3 * x)

    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation=relu, name="a")(conv(inputs, "b"))
    x = layers.Dense(3, activation=relu)(layers.GlobalAveragePooling2D()(x))
    result = assert_oracle(Model(inputs, x), converted=2)
    assert roles(result) == {"b": "first", "a": "last"}


def test_layer_that_can_not_be_copied_is_named():
    inputs = Input((8, 8, 3))
    x = Unregistered(by_offset(1.0), name="mine")(conv(inputs))
    with pytest.raises(octconvert.OctconvertError, match="'mine'"):
        octconvert.convert(Model(inputs, x), calibration=False)


def test_sequential_without_input_shape_is_refused():
    with pytest.raises(octconvert.InputError, match="input shape"):
        octconvert.convert(Sequential([layers.Conv2D(4, 3)]), calibration=False)


def test_not_a_model():
    with pytest.raises(octconvert.InputError):
        octconvert.convert(layers.Conv2D(4, 3), calibration=False)


@pytest.mark.parametrize("strict", [False, True])
def test_model_without_convolution(strict):
    inputs = Input((5,))
    model = Model(inputs, layers.Dense(2)(layers.Dense(8, activation="relu")(inputs)))
    if strict:
        with pytest.raises(octconvert.NothingToConvert, match="no convolution"):
            octconvert.convert(model, strict=True, calibration=False)
    else:
        assert assert_oracle(model, converted=0).plan.convolutions == ()
