"""Raw keras.ops calls between layers: carried where they are element-wise, else the pair ends with a reason."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, roles


def conv(x, filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


def between(operation):
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    return Model(inputs, [conv(operation(x), 4, name="after"), conv(x, 4, name="other")])


CARRIED = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.1),
    "hard_swish": ops.hard_silu,
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "swish by hand": lambda x: x * ops.sigmoid(x),
    "mish by hand": lambda x: x * ops.tanh(ops.softplus(x)),
    "arithmetic": lambda x: (x * 2 + 1) / 3 - 0.5,
    "from the right": lambda x: 2 * (1 - x) + 1,
    "negative": lambda x: -x,
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "square": ops.square,
    "abs": abs,
    "maximum with a number": lambda x: ops.maximum(x, 0.2),
    "concatenate": lambda x: ops.concatenate([x, ops.exp(-x)], axis=-1),
    "subtract": lambda x: x - ops.sqrt(ops.absolute(x)),
    "resize": lambda x: ops.image.resize(x, (8, 7)),
    "slice of channels": lambda x: ops.concatenate([x[..., :4], ops.relu(x[..., 4:])], axis=-1),
    "slice in the middle": lambda x: x[..., 1:6],
    "split in parts": lambda x: ops.concatenate(ops.split(x, 2, axis=-1)[::-1], axis=-1),
    "split at places": lambda x: ops.concatenate([ops.split(x, [3, 6], axis=3)[1], x], axis=-1),
    "sum of halves": lambda x: ops.add(*ops.split(x, 2, axis=-1)),
    "pad of a cell": lambda x: ops.pad(x, [[0, 0], [2, 2], [2, 0], [0, 0]]),
}
STOPPED = {
    "pad with ones": lambda x: ops.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], constant_values=1.0),
    "pad of channels": lambda x: ops.pad(x, [[0, 0], [0, 0], [0, 0], [2, 2]]),
    "softmax": ops.softmax,
    "mean": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "slice with a step": lambda x: x[..., ::2],
    "slice of rows": lambda x: x[:, 1:],
    "power": lambda x: x**2,
    "clip by channel": lambda x: ops.clip(x, -np.ones(8, "float32"), np.linspace(0, 1, 8, dtype="float32")),
    "stack": lambda x: ops.reshape(ops.stack([x, x], axis=-1), (-1, 9, 10, 16)),
}


@pytest.mark.parametrize("operation", CARRIED)
def test_carried(operation):
    assert_oracle(between(CARRIED[operation]), converted=3)


@pytest.mark.parametrize("operation", STOPPED)
def test_stopped(operation):
    result = assert_oracle(between(STOPPED[operation]), converted=2)
    assert [reason for reason in ends(result).values() if "output of the model" not in reason]


def test_padding_is_taken_by_a_valid_window():
    """As with ZeroPadding2D: half a low cell can be padded only where a window behind it takes the amounts."""
    inputs = Input((9, 10, 3))

    def model(padding):
        x = ops.pad(conv(inputs, name="before"), [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = layers.Conv2D(8, 3, strides=2, padding=padding, name="middle")(x)
        return Model(inputs, conv(x, 4, name="after"))

    assert roles(assert_oracle(model("valid")))["middle"] == "intermediate"
    assert roles(assert_oracle(model("same")))["before"] == "plain"
    assert_portable(model("valid"))
