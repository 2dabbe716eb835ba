"""Raw keras.ops calls between layers: carried by the rule of the same layer, else the pair ends with a reason."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, example, roles, run

import octconvert
from octconvert import loading
from octconvert.verification import keras_files


def conv(x, filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)


CHANNELS = np.linspace(-1, 1, 8, dtype="float32")
UNARY = """absolute arccosh arcsin arcsinh arctan arctanh cbrt ceil copy cos cosh deg2rad exp2 fabs floor i0 log10 log1p
log2 nan_to_num ones_like rad2deg reciprocal round sign sin sinc sinh sqrt tan trunc zeros_like erf erfc erfinv rsqrt
stop_gradient"""
TRUTHS = "isfinite isinf isnan isneginf isposinf signbit"
BINARY = "arctan2 divide_no_nan fmax fmin fmod logaddexp logaddexp2 maximum mod power true_divide"
COMPARED = "equal greater greater_equal isclose less less_equal not_equal"
JOINED = "logical_and logical_or logical_xor"


def functions(names):
    return [getattr(ops, name) for name in names.split()]


def number(x):
    return ops.cast(x, "float32")


GROUPS = {
    "activations": [
        ops.relu,
        ops.relu6,
        lambda x: ops.leaky_relu(x, 0.1),
        ops.hard_silu,
        lambda x: ops.gelu(x, approximate=False),
        lambda x: x * ops.sigmoid(x),
        lambda x: x * ops.tanh(ops.softplus(x)),
    ],
    "arithmetic": [
        lambda x: (x * 2 + 1) / 3 - 0.5,
        lambda x: 2 * (1 - x) + 1,
        lambda x: -x,
        lambda x: ops.clip(x, -0.5, 0.5),
        ops.square,
        abs,
        lambda x: ops.maximum(x, 0.2),
        lambda x: x - ops.sqrt(ops.absolute(x)),
    ],
    "layers": [
        lambda x: ops.concatenate([x, ops.exp(-x)], axis=-1),
        lambda x: ops.image.resize(x, (8, 7)),
        lambda x: ops.pad(x, [[0, 0], [2, 2], [2, 0], [0, 0]]),
        lambda x: ops.repeat(ops.repeat(x, 3, axis=1), 2, axis=-2),
        lambda x: ops.max_pool(x, 2, 2, "same"),
        lambda x: ops.average_pool(x, 3, 2, "valid"),
        lambda x: ops.normalize(x, axis=-1),
    ],
    "unary": [lambda x, f=f: f(ops.sigmoid(x) + (f is ops.arccosh)) for f in functions(UNARY)],
    "truths": [lambda x, f=f: number(f(x)) for f in functions(TRUTHS)],
    "binary": [lambda x, f=f: f(ops.sigmoid(x), 0.5 + ops.square(x)) for f in [*functions(BINARY), ops.hypot]],
    "with a number": [lambda x, f=f: f(ops.exp(x), 0.7) for f in functions(BINARY)],
    "comparisons": [lambda x, f=f: number(f(ops.round(x), ops.round(2 * x))) for f in functions(COMPARED)],
    "logic": [lambda x, f=f: number(f(x > 0, x < 0.5)) for f in functions(JOINED)],
    "choices": [
        lambda x: ops.where(x > 0, x, 0.1 * x),
        lambda x: ops.where(ops.logical_not(x > 0), 0.5, x),
        lambda x: ops.where(ops.isnan(x), ops.zeros_like(x), x),
        lambda x: number(x > 0.1) * x,
        lambda x: ops.full_like(x, 2.0) + x,
        lambda x: x**2,
        lambda x: 2.0 ** ops.tanh(x),
        lambda x: x // 0.5,
    ],
    "constants for each channel": [
        lambda x: x * CHANNELS,
        lambda x: ops.add(CHANNELS, x),
        lambda x: x + CHANNELS.reshape(1, 1, 1, 8),
        lambda x: ops.where(CHANNELS > 0, x, -x),
        lambda x: ops.maximum(x, np.float32([0.3])),
        lambda x: layers.Rescaling(CHANNELS.tolist(), 0.5)(x),
        lambda x: ops.batch_normalization(x, CHANNELS, CHANNELS**2 + 1, -1, CHANNELS, 2 * CHANNELS),
    ],
}


def test_constants_are_saved(tmp_path):
    inputs = Input((8, 8, 3))
    x = conv(inputs, name="before")
    model = Model(inputs, [conv(operation(x), 4) for operation in GROUPS["constants for each channel"]])
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    keras_files.save(converted, tmp_path / "model.keras")
    sample = example(model)
    for found, right in zip(run(loading.load(tmp_path / "model.keras"), sample), run(converted, sample), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-6)


@pytest.mark.quick("activations", "arithmetic")
@pytest.mark.parametrize("group", GROUPS)
def test_no_chain_ends_at_operations_that_have_a_rule(group):
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    branches = [conv(operation(x), 4, name=f"after{i}") for i, operation in enumerate(GROUPS[group])]
    result = assert_oracle(Model(inputs, branches))
    assert set(roles(result).values()) == {"first", "last"}
    assert set(ends(result).values()) == {"its output is an output of the model"}
    assert {role for name, role in roles(result).items() if name != "before"} == {"last"}


REASONS = {
    "softmax": (ops.softmax, "no rule for Softmax"),
    "transpose": (lambda x: ops.transpose(x, (0, 2, 1, 3)), "no rule for Transpose"),
    "roll": (lambda x: ops.roll(x, 1, axis=1), "no rule for Roll"),
    "cumulated": (lambda x: ops.cumsum(x, axis=1), "no rule for Cumsum"),
    "stack": (lambda x: ops.reshape(ops.stack([x, x], axis=-1), (-1, 9, 10, 16)), "no rule for Stack"),
    "pad with ones": (lambda x: ops.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], constant_values=1.0), "pads or crops"),
    "pad of channels": (lambda x: ops.pad(x, [[0, 0], [0, 0], [0, 0], [2, 2]]), "pads or crops"),
    "clip by channel": (lambda x: ops.clip(x, -(CHANNELS**2), CHANNELS**2), "its limits are arrays"),
    "repeated channels": (lambda x: ops.repeat(x, 2, axis=-1), "repeats another axis than rows or columns"),
    "unequal repeats": (lambda x: ops.repeat(x, np.arange(9), axis=1), "different numbers of times"),
    "constant map": (lambda x: x * np.ones((9, 10, 1), "float32"), "more axes than that of the channels"),
    "norm of order 1": (lambda x: ops.normalize(x, axis=-1, order=1), "norm of order 1"),
}


def test_reasons_of_operations_that_end_a_pair():
    """All of them in one model: each reads the pair merged, and the report has the reason of each."""
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    outputs = [operation(x) for operation, _ in REASONS.values()]
    result = assert_oracle(Model(inputs, [conv(x, 4, name="other"), *outputs]), converted=2)
    for _, reason in REASONS.values():
        assert any(reason in end for end in ends(result).values()), reason


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
