"""Conv2DTranspose: an octave transposed convolution, for any window."""

import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import (
    assert_oracle,
    reasons,
    roles,
)


def conv(x, filters, kernel=3, **more):
    return layers.Conv2D(filters, kernel, padding="same", activation="relu", **more)(x)


def at(*size):
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")


@pytest.mark.quick("shape0-2-2-same", "shape0-3-2-valid", "shape1-3-1-same", "shape1-5-3-valid")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 2), (4, 2), (3, 1), (5, 3), (1, 2)])
@pytest.mark.parametrize("shape", [(9, 8, 3), (None, None, 3)])
def test_transposed_convolution(kernel, stride, padding, shape):
    inputs = Input(shape)
    x = layers.Conv2DTranspose(8, kernel, strides=stride, padding=padding, activation="relu")(conv(inputs, 6))
    result = assert_oracle(Model(inputs, conv(x, 4)), converted=3, inputs=at(9, 8))
    assert result.after.macs < result.before.macs


def test_transposed_convolution_with_output_padding_and_dilation():
    inputs = Input((7, 9, 3))
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", output_padding=1)(conv(inputs, 6))
    x = layers.Conv2DTranspose(8, 3, dilation_rate=2, padding="same", use_bias=False)(x)
    assert_oracle(Model(inputs, conv(x, 4)), converted=4)


def test_transposed_convolution_has_no_portable_form():
    inputs = Input((8, 8, 3))
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up")(conv(conv(inputs, 6), 6))
    model = Model(inputs, conv(conv(x, 8), 4))
    result = assert_oracle(model, portable=True, converted=4)
    assert roles(result)["up"] == "plain"
    assert "no built-in form" in reasons(result)["up"]
