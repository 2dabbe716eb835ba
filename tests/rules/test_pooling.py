"""Pooling by windows: each map is pooled, the low one aligned. Global pooling: a pair of vectors."""

import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import (
    assert_oracle,
    assert_portable,
    ends,
    largest_difference,
    reasons,
    roles,
    run,
)

import octconvert


@pytest.mark.quick("MaxPooling2D-2-2-valid-size0", "MaxPooling2D-3-2-same-size0", "AveragePooling2D-3-1-same-size0")
@pytest.mark.parametrize("size", [(13, 16)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("pool", "strides"), [(2, 2), (3, 2), (3, 1), (2, 1), (3, 3), ((1, 2), None)])
@pytest.mark.parametrize("layer", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling(layer, pool, strides, padding, size):
    inputs = Input((*size, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layer(pool, strides=strides, padding=padding)(x)
    model = Model(inputs, layers.Conv2D(4, 1)(x))
    assert_oracle(model, converted=2)
    assert_portable(model)


def test_pooling_of_the_whole_map_reads_only_what_is_there():
    """The one low cell of a 1x1 result stands for one position: constants stay constants, maxima maxima."""
    for kind in (layers.AveragePooling2D, layers.MaxPooling2D):
        inputs = Input((9, 8, 2))
        x = layers.Conv2D(4, 1, kernel_initializer="ones", name="a")(inputs)
        model = Model(inputs, layers.Flatten()(kind((9, 8))(x)))
        result = octconvert.convert(model, min_size=1, calibration=False)
        assert roles(result) == {"a": "first"}
        rows = np.broadcast_to(np.arange(8) // 2 * 2, (1, 9, 8))[..., None].repeat(2, -1).astype("float32")
        assert largest_difference(run(model, rows), run(result.model, rows)) <= 1e-6


def test_global_pooling_is_a_pair_of_vectors():
    """One model for both kinds, as vectors and as 1x1 maps: nothing is merged."""
    inputs = Input((9, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    outputs = []
    for kind in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D):
        outputs += [layers.Dense(3)(kind()(x)), layers.Dense(3)(kind(keepdims=True)(x))]
    model = Model(inputs, outputs)
    result = assert_oracle(model, converted=1)
    assert not [layer.name for layer in result.model.layers if "merge" in layer.name]
    assert set(ends(result).values()) == {"reads both maps as they are"}
    assert_portable(model)


def test_pooling_in_the_other_data_format_ends_the_pair():
    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layers.MaxPooling2D(data_format="channels_first")(x)
    plan = octconvert.plan(Model(inputs, layers.Conv2D(4, 3)(x)), min_size=1)
    assert "pools in another data format" in reasons(plan)["before"]
