"""SeparableConv2D: a depthwise convolution of each map, then a 1x1 octave convolution."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, roles


def normed(x):
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


@pytest.mark.quick("1-options0", "2-options3")
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
