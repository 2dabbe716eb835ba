"""Runs of channels of a pair: one run of the high and one of the low channels."""

from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends


def conv(x, filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


CARRIED = [
    lambda x: ops.concatenate([x[..., :4], ops.relu(x[..., 4:])], axis=-1),
    lambda x: x[..., 1:6],
    lambda x: ops.concatenate(ops.split(x, 2, axis=-1)[::-1], axis=-1),
    lambda x: ops.concatenate([ops.split(x, [3, 6], axis=3)[1], x], axis=-1),
    lambda x: ops.add(*ops.split(x, 2, axis=-1)),
]
STOPPED = [lambda x: x[..., ::2], lambda x: x[:, 1:], lambda x: ops.split(x, 3, axis=1)[0]]


def test_runs_are_carried_and_all_else_stops():
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    carried = [conv(operation(x), 4, name=f"after{i}") for i, operation in enumerate(CARRIED)]
    model = Model(inputs, [*carried, *(operation(x) for operation in STOPPED)])
    result = assert_oracle(model, converted=6)
    stopped = [end for end in ends(result).values() if "takes something else than a run of channels" in end]
    assert len(stopped) == len(STOPPED)
    assert_portable(model)
