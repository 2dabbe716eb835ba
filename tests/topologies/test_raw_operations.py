"""Raw keras.ops calls between layers: carried where they are element-wise, else the pair ends with a reason."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, example, randomise, roles, run

import octconvert
from octconvert import loading
from octconvert.verification import keras_files


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
    "transpose": lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "slice with a step": lambda x: x[..., ::2],
    "slice of rows": lambda x: x[:, 1:],
    "clip by channel": lambda x: ops.clip(x, -np.ones(8, "float32"), np.linspace(0, 1, 8, dtype="float32")),
    "stack": lambda x: ops.reshape(ops.stack([x, x], axis=-1), (-1, 9, 10, 16)),
}


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
    "places": [
        lambda x: ops.flip(x, axis=-1),
        lambda x: ops.flip(x, axis=[3]),
        lambda x: ops.depth_to_space(x, 2),
        lambda x: ops.repeat(ops.repeat(x, 3, axis=1), 2, axis=-2),
        lambda x: ops.space_to_depth(ops.image.resize(x, (8, 12)), 2),
        lambda x: ops.flip(ops.image.resize(x, (8, 12)), axis=[1, 2]),
        lambda x: ops.max_pool(x, 2, 2, "same"),
        lambda x: ops.average_pool(x, 3, 2, "valid"),
        lambda x: ops.normalize(x, axis=-1),
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


@pytest.mark.parametrize("group", GROUPS)
def test_no_chain_ends_at_operations_that_have_a_rule(group):
    inputs = Input((9, 10, 3))
    x = conv(inputs, name="before")
    branches = [conv(operation(x), 4, name=f"after{i}") for i, operation in enumerate(GROUPS[group])]
    result = assert_oracle(Model(inputs, branches))
    assert set(roles(result).values()) == {"first", "last"}
    assert set(ends(result).values()) == {"its output is an output of the model"}
    assert {role for name, role in roles(result).items() if name != "before"} == {"last"}


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


REASONS = {
    "softmax": (ops.softmax, "no rule for Softmax"),
    "mean of rows": (lambda x: ops.mean(x, axis=1, keepdims=True) + x, "reduces axes [1]"),
    "mean of all": (lambda x: ops.mean(x, axis=[1, 2, 3], keepdims=True) + x, "reduces axes [1, 2, 3]"),
    "std of channels": (lambda x: ops.std(x, axis=-1, keepdims=True) + x, "can not be combined"),
    "flip of odd rows": (lambda x: ops.flip(x, axis=1), "not a multiple of 2"),
    "odd space to depth": (lambda x: ops.space_to_depth(ops.image.resize(x, (10, 10)), 2), "10 rows or columns, not"),
    "repeated channels": (lambda x: ops.repeat(x, 2, axis=-1), "repeats another axis than rows or columns"),
    "unequal repeats": (lambda x: ops.repeat(x, np.arange(9), axis=1), "different numbers of times"),
    "constant map": (lambda x: x * np.ones((9, 10, 1), "float32"), "more axes than that of the channels"),
    "norm of order 1": (lambda x: ops.normalize(x, axis=-1, order=1), "norm of order 1"),
    "roll": (lambda x: ops.roll(x, 1, axis=1), "no rule for Roll"),
    "cumulated": (lambda x: ops.cumsum(x, axis=1), "no rule for Cumsum"),
}


@pytest.mark.parametrize("operation", REASONS)
def test_the_reason_is_the_true_one(operation):
    make, reason = REASONS[operation]
    found = ends(octconvert.plan(between(make), min_size=1)).values()
    assert any(reason in one for one in found), found


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
