"""Chains of convolutions: first, intermediate and last layers, with everything that usually stands between them."""

import keras
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, roles


def chain(*between, size=(16, 16), head=(), filters=8, **options):
    x = inputs = Input((*size, 3))
    for number in range(3):
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}", **options)(x)
        if number < 2:
            for make in between:
                x = make()(x)
    for make in head:
        x = make()(x)
    return Model(inputs, x)


THREE = {"conv0": "first", "conv1": "intermediate", "conv2": "last"}


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_batch_normalization_and_relu(size):
    model = chain(layers.BatchNormalization, layers.ReLU, size=size)
    result = assert_oracle(model, converted=3)
    assert roles(result) == THREE
    assert [type(result.model.get_layer(name)).__name__ for name in THREE] == ["OctaveConv2D"] * 3
    assert_portable(model)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (17, 15)])
def test_pooling_flatten_dense(size):
    head = (layers.Flatten, lambda: layers.Dense(5, activation="softmax"))
    model = chain(layers.BatchNormalization, layers.ReLU, layers.MaxPooling2D, size=size, head=head)
    result = assert_oracle(model, converted=3)
    assert roles(result) == THREE
    assert_portable(model)


@pytest.mark.quick("GlobalAveragePooling2D-False", "GlobalMaxPooling2D-True")
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("pooling", [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D])
def test_global_pooling_reads_the_pair(pooling, keepdims):
    head = (lambda: pooling(keepdims=keepdims), lambda: layers.Dense(4))
    result = assert_oracle(chain(layers.ReLU, head=head), converted=3)
    assert roles(result) == {**THREE, "conv2": "intermediate"}
    assert not [layer for layer in result.model.layers if "merge" in layer.name]


def test_global_pooling_without_dense():
    result = assert_oracle(chain(layers.ReLU, head=(layers.GlobalAveragePooling2D,)), converted=3)
    assert roles(result) == {**THREE, "conv2": "intermediate"}


def test_one_convolution_before_global_pooling():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    result = assert_oracle(Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x))), converted=1)
    assert roles(result) == {"conv": "first"}


def test_sequential():
    model = keras.Sequential(
        [
            Input((14, 14, 3)),
            layers.Conv2D(8, 3, activation="relu", name="conv0"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu", name="conv1"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    assert roles(assert_oracle(model, converted=2)) == {"conv0": "first", "conv1": "last"}
    assert_portable(model)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "swish", "leaky_relu"])
def test_fused_activation(activation):
    model = chain(activation=activation)
    assert roles(assert_oracle(model, converted=3)) == THREE


def test_without_bias():
    model = chain(layers.BatchNormalization, use_bias=False)
    result = assert_oracle(model, converted=3)
    assert not result.model.get_layer("conv1").use_bias
    assert_portable(model)


def test_softmax_activation_joins_channels():
    inputs = Input((10, 10, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv0")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="conv1", activation="softmax")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    result = assert_oracle(Model(inputs, x), converted=2)
    assert roles(result) == {"conv0": "first", "conv1": "last", "conv2": "plain"}
    assert "softmax" in result.plan.convolutions[1].reason


@pytest.mark.parametrize("alpha", [0.125, 0.375, 0.9])
def test_alpha(alpha):
    model = chain(layers.BatchNormalization, layers.ReLU, head=(layers.GlobalAveragePooling2D,))
    result = assert_oracle(model, converted=3, alpha=alpha)
    assert result.plan.convolutions[0].alpha_out == int(alpha * 8) / 8


def test_alpha_that_leaves_no_low_channel():
    result = assert_oracle(chain(filters=4), converted=0, alpha=0.2)
    assert "no low channel" in result.plan.convolutions[0].reason
