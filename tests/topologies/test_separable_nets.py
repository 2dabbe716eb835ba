"""Depthwise and separable convolutions: MobileNet, MobileNetV2, Xception blocks."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable


def normed(x):
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


@pytest.mark.quick("size0-2")
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
