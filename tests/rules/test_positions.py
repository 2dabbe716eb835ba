"""Flips, depth_to_space and space_to_depth: each map is moved by itself, in whole low cells."""

import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, ends, example, run

import octconvert


def conv(x, filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


CARRIED = [
    lambda x: ops.flip(x, axis=-1),
    lambda x: ops.flip(x, axis=[3]),
    lambda x: ops.flip(ops.image.resize(x, (8, 12)), axis=[1, 2]),
    lambda x: ops.depth_to_space(x, 2),
    lambda x: ops.space_to_depth(ops.image.resize(x, (8, 12)), 2),
]
STOPPED = [
    (lambda x: ops.flip(x, axis=1), "flips 9 rows or columns, not a multiple of 2"),
    (lambda x: ops.flip(x, axis=0), "flips the batch axis"),
    (lambda x: ops.space_to_depth(ops.image.resize(x, (10, 10)), 2), "divides 10 rows or columns, not a multiple of 4"),
]


def test_carried_or_stopped_with_the_reason():
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    carried = [conv(operation(x), 4, name=f"after{i}") for i, operation in enumerate(CARRIED)]
    result = assert_oracle(Model(inputs, [*carried, *(operation(x) for operation, _ in STOPPED)]), converted=6)
    for _, reason in STOPPED:
        assert any(reason in end for end in ends(result).values()), reason


@pytest.mark.parametrize("operation", ["flip", "space_to_depth"])
def test_open_sizes_are_the_reason_where_they_are(operation):
    inputs = Input((None, None, 3))
    x = conv(inputs)
    y = ops.flip(x, axis=1) if operation == "flip" else ops.space_to_depth(x, 2)
    found = ends(octconvert.plan(Model(inputs, [conv(x), conv(y)]))).values()
    assert any("rows or columns whose number is not known" in one for one in found), found


@pytest.mark.parametrize("operation", [lambda x: ops.depth_to_space(x, 2), lambda x: ops.repeat(x, 2, axis=1)])
def test_upsampling_at_any_size(operation):
    inputs = Input((None, None, 3))
    model = Model(inputs, conv(operation(conv(inputs)), 4))
    result = assert_oracle(model, converted=2)
    for size in (7, 10):
        sample = example(model, size=size)
        assert run(result.model, sample)[0].shape == run(model, sample)[0].shape
