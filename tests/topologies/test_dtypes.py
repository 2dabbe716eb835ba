"""Mixed precision: every layer keeps the source's policy, whatever the global one is."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import all_layers, assert_oracle, assert_portable

import octconvert

# 8 bits of mantissa in bfloat16, 11 in float16; sums come in another order. Differences are relative to the largest.
TOLERANCE = {"mixed_float16": 4e-3, "mixed_bfloat16": 3e-2, "float64": 1e-5}


def network(policy):
    inputs = Input((14, 13, 3))
    options = {"dtype": policy}
    x = layers.Conv2D(8, 3, padding="same", name="a", **options)(inputs)
    x = layers.ReLU(**options)(layers.BatchNormalization(**options)(x))
    x = layers.Conv2D(8, 3, strides=2, name="b", **options)(layers.ZeroPadding2D(1, **options)(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="c", **options)(layers.MaxPooling2D(3, 1, "same", **options)(x))
    g = layers.Conv2D(8, 1, activation="sigmoid", **options)(layers.GlobalAveragePooling2D(keepdims=True, **options)(y))
    x = layers.Concatenate(**options)([x, layers.Multiply(**options)([y, g])])
    x = layers.Conv2D(6, 1, name="d", **options)(x)
    z = layers.Dense(3, dtype="float32")(layers.Flatten(**options)(x))
    return Model(inputs, [x, y, z])


@pytest.mark.quick("mixed_float16")
@pytest.mark.parametrize("policy", TOLERANCE)
def test_policy_of_the_layers(policy):
    model = network(policy)
    result = assert_oracle(model, converted=4, tolerance=TOLERANCE[policy])
    assert [tensor.dtype for tensor in result.model.outputs] == [tensor.dtype for tensor in model.outputs]
    assert result.model.get_layer("a").dtype_policy.name == policy
    assert_portable(model, tolerance=TOLERANCE[policy])


@pytest.mark.quick("True")
@pytest.mark.parametrize("portable", [False, True])
def test_global_policy_does_not_reach_the_copy(portable):
    model = network("float32")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        result = assert_oracle(model, converted=4, portable=portable)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in all_layers(result.model) if layer.weights} == {"float32"}
    assert {tensor.dtype for tensor in result.model.outputs} == {"float32"}


def test_global_policy_of_source_and_copy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = Input((12, 12, 3))
        x = layers.Conv2D(4, 3)(layers.Conv2D(8, 3, padding="same")(inputs))
        assert_oracle(Model(inputs, x), converted=2, tolerance=TOLERANCE["mixed_bfloat16"])
    finally:
        keras.config.set_dtype_policy("float32")


def test_weights_stay_float32_under_mixed_precision():
    converted = octconvert.convert(network("mixed_float16"), min_size=1, calibration=False).model
    assert {np.dtype(weight.dtype) for weight in converted.weights} == {np.dtype("float32")}
