"""Depthwise and separable convolutions: MobileNet, MobileNetV2, Xception blocks."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, reasons, roles


def normed(x):
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "same"), (1, "valid"), (2, "valid")])
def test_depthwise_then_pointwise(strides, padding, multiplier):
    inputs = Input((15, 14, 3))
    x = normed(layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs))
    x = normed(layers.DepthwiseConv2D(3, strides, padding, multiplier, name="depthwise")(x))
    x = layers.Conv2D(10, 1, name="pointwise")(x)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    result = assert_oracle(model, converted=3)
    assert roles(result)["depthwise"] == "intermediate"
    assert_portable(model, weights="fold")


def test_depthwise_of_a_plain_tensor_stays_plain():
    inputs = Input((10, 10, 4))
    x = layers.Conv2D(8, 1, name="pointwise")(layers.DepthwiseConv2D(3, name="depthwise")(inputs))
    result = assert_oracle(Model(inputs, layers.Conv2D(4, 3, name="last")(x)), converted=2)
    assert roles(result) == {"depthwise": "plain", "pointwise": "first", "last": "last"}
    assert "its input is plain" in reasons(result)["depthwise"]


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"strides": 2, "padding": "valid"}, {"dilation_rate": 2}])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_separable(options, multiplier):
    inputs = Input((17, 15, 3))
    options = {"padding": "same", "depth_multiplier": multiplier, **options}
    x = layers.SeparableConv2D(8, 3, activation="relu", name="first", **options)(inputs)
    x = normed(layers.SeparableConv2D(8, 3, use_bias=False, name="middle", **options)(x))
    x = layers.SeparableConv2D(5, 3, name="last", **{**options, "strides": 1, "padding": "same"})(x)
    model = Model(inputs, x)
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"first": "first", "middle": "intermediate", "last": "last"}
    assert_portable(model)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(16, 13)])
def test_inverted_residual(size, strides):
    inputs = Input((*size, 3))
    x = normed(layers.Conv2D(8, 3, padding="same")(inputs))
    for stride in (1, strides):
        y = normed(layers.Conv2D(16, 1, use_bias=False)(x))
        y = normed(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y))
        y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if stride == 1 else y
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert_oracle(model, converted=7)
    assert_portable(model)


def test_xception_block():
    inputs = Input((13, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    shortcut = layers.Conv2D(12, 1, strides=2, padding="same")(x)
    y = layers.SeparableConv2D(12, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    y = layers.SeparableConv2D(12, 3, padding="same", use_bias=False)(layers.ReLU()(y))
    y = layers.MaxPooling2D(3, strides=2, padding="same")(y)
    model = Model(inputs, layers.GlobalAveragePooling2D()(layers.Add()([shortcut, y])))
    assert_oracle(model, converted=4)
    assert_portable(model)


def test_small_map_before_depthwise_keeps_the_pair_until_there():
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.DepthwiseConv2D(3, 2, "same", name="b")(x)
    result = assert_oracle(Model(inputs, layers.Conv2D(8, 1, name="c")(x)), converted=1, min_size=9)
    assert roles(result) == {"a": "first", "b": "plain", "c": "plain"}
    assert "min_size" in reasons(result)["b"]
