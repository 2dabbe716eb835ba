"""Inception blocks: flat kernels, pooling branches, 'valid' windows on odd maps."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable


def conv(x, filters, kernel, strides=1, padding="same"):
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(scale=False)(x))


@pytest.mark.long
@pytest.mark.parametrize("size", [(12, 17)])
def test_factorised_block(size):
    inputs = Input((*size, 3))
    x = conv(inputs, 8, 3)
    a = conv(x, 6, 1)
    b = conv(conv(conv(x, 4, 1), 4, (1, 7)), 6, (7, 1))
    c = conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), 4, 1)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Concatenate()([a, b, c]))))
    assert_oracle(model, converted=6)
    assert_portable(model)


@pytest.mark.long
@pytest.mark.parametrize("size", [(17, 17), (18, 15)])
def test_reduction_block_with_valid_windows(size):
    inputs = Input((*size, 3))
    x = conv(inputs, 8, 3, padding="valid")
    a = conv(x, 8, 3, 2, "valid")
    b = conv(conv(x, 4, 1), 8, 3, 2, "valid")
    c = layers.MaxPooling2D(3, strides=2)(x)
    model = Model(inputs, conv(layers.Concatenate()([a, b, c]), 4, 1))
    assert_oracle(model, converted=5)
    assert_portable(model, weights="fold")


@pytest.mark.long
def test_split_kernels_side_by_side():
    inputs = Input((9, 9, 3))
    x = conv(inputs, 8, 3)
    model = Model(inputs, conv(layers.Concatenate()([conv(x, 4, (1, 3)), conv(x, 4, (3, 1))]), 6, 1))
    assert_oracle(model, converted=4)
    assert_portable(model)
