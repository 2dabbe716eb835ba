"""BatchNormalization and Normalization: their vectors are cut with the channels."""

import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, ends


def conv(filters=8):
    return layers.Conv2D(filters, 3, padding="same")


@pytest.mark.quick("options0", "options4")
@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"center": False, "scale": False}, {"axis": 3}]
)
def test_batch_normalization(options):
    inputs = Input((9, 10, 3))
    model = Model(inputs, conv(4)(layers.BatchNormalization(epsilon=1e-2, **options)(conv()(inputs))))
    result = assert_oracle(model, converted=2)
    assert result.model.count_params() == model.count_params()
    assert_portable(model)


def test_batch_normalization_of_a_vector():
    inputs = Input((9, 10, 3))
    x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(conv()(inputs)))
    assert_oracle(Model(inputs, layers.Dense(2)(x)), converted=1)


def test_batch_normalization_over_a_concatenation():
    inputs = Input((9, 10, 3))
    x = layers.Concatenate()([conv(4)(inputs), inputs, conv(6)(inputs)])
    assert_oracle(Model(inputs, conv(4)(layers.BatchNormalization()(x))), converted=3)


@pytest.mark.parametrize(
    "options", [{}, {"axis": None}, {"mean": [0.1] * 8, "variance": [2.0] * 8}, {"mean": 0.3, "variance": 2.0}]
)
def test_normalization_in_the_middle(options):
    inputs = Input((8, 8, 3))
    layer = layers.Normalization(**options)
    x = conv()(inputs)
    if "mean" not in options:
        layer.adapt(np.random.default_rng(0).normal(0.2, 2.0, (16, 8, 8, 8)).astype("float32"))
    model = Model(inputs, conv(4)(layer(x)))
    assert_oracle(model, converted=2)
    assert_portable(model)


def test_normalization_and_rescaling_first():
    inputs = Input((8, 8, 3))
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 3)).astype("float32"))
    x = conv()(layer(layers.Rescaling(2.0)(inputs)))
    assert_oracle(Model(inputs, conv(4)(x)), converted=2)


def test_inverted_normalization_ends_the_pair():
    inputs = Input((8, 8, 3))
    x = conv()(inputs)
    y = layers.Normalization(mean=0.5, variance=2.0, invert=True, name="invert")(x)
    result = assert_oracle(Model(inputs, [conv(4)(x), y]), converted=2)
    assert "invert" in ends(result)
