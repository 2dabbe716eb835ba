"""Reductions of rows and columns are those of each map; reductions of the channels combine both maps."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import (
    assert_oracle,
    assert_portable,
    ends,
    example,
    randomise,
    roles,
    run,
)

import octconvert


def conv(x, filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


def number(x):
    return ops.cast(x, "float32")


REDUCED = {
    "mean": lambda x: ops.mean(x, axis=[1, 2]),
    "mean as a map": lambda x: ops.mean(x, axis=(-3, -2), keepdims=True),
    "max": lambda x: ops.max(x, axis=[1, 2]),
    "sum": lambda x: ops.sum(x, axis=[1, 2]),
    "amin": lambda x: ops.amin(x, axis=[1, 2]),
    "std": lambda x: ops.std(x, axis=[1, 2]),
    "var": lambda x: ops.var(x, axis=[1, 2]),
    "with new axes": lambda x: ops.mean(x, axis=[1, 2])[:, None, None, :],
    "reshaped": lambda x: ops.reshape(ops.max(x, axis=[1, 2]), (-1, 1, 1, 8)),
    "squeezed": lambda x: ops.squeeze(ops.mean(x, axis=[1, 2], keepdims=True), axis=(1, 2)),
}


def test_reductions_of_rows_and_columns():
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    outputs = [layers.Dense(3, name=f"dense{i}")(operation(x)) for i, operation in enumerate(REDUCED.values())]
    result = assert_oracle(Model(inputs, outputs))
    assert roles(result) == {"before": "first"}
    assert set(ends(result).values()) == {"reads both maps as they are"}


@pytest.mark.parametrize("size", [8, 9])
def test_means_and_sums_count_positions(size):
    """The mean and the sum of a pair are those of the map that it stands for, at odd sizes as well."""
    inputs = Input((size, size, 3))
    x = conv(inputs, name="before")
    mean, total = ops.mean(x, axis=[1, 2]), ops.sum(x, axis=[1, 2])
    model = Model(
        inputs, [layers.Dense(8, name="average")(mean), layers.Dense(8, name="total")(total), conv(x, name="map")]
    )
    randomise(model)
    for name in ("average", "total"):
        model.get_layer(name).set_weights([np.eye(8, dtype="float32"), np.zeros(8, "float32")])
    kernel = np.zeros((3, 3, 8, 8), "float32")
    kernel[1, 1] = np.eye(8)
    model.get_layer("map").set_weights([kernel, np.zeros(8, "float32")])  # the merged map
    found = run(octconvert.convert(model, min_size=1, calibration=False).model, example(model))
    np.testing.assert_allclose(found[0], found[2].mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(found[1], found[2].sum(axis=(1, 2)), atol=1e-3)


def test_an_attention_to_places_reads_both_maps():
    """Mean and maximum of the channels, as in CBAM, and the gate that is made of them."""
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    seen = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True), ops.sum(x, axis=-1, keepdims=True)]
    seen.append(number(ops.any(x > 1, axis=-1, keepdims=True)))
    seen.append(ops.expand_dims(ops.min(x, axis=-1), -1))
    gate = layers.Conv2D(1, 7, padding="same", activation="sigmoid", name="gate")(layers.Concatenate()(seen))
    model = Model(inputs, conv(x * gate, 4, name="after"))
    result = assert_oracle(model)
    assert (roles(result)["before"], roles(result)["after"]) == ("first", "last")
    assert set(ends(result).values()) == {
        "its output is an output of the model"
    }  # and not at what reduces the channels
    assert_portable(model)
