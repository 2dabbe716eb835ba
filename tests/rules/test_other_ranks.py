"""The rules at other ranks than two: every kind of convolution between octave layers; models of several ranks."""

import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, ends, example, roles

import octconvert

SIZES = {1: (13,), 3: (5, 6, 7)}


def of(rank, name):
    return getattr(layers, f"{name}{rank}D")


def between(rank, layer, size=None):
    """A layer between octave convolutions."""
    inputs = Input((*(SIZES[rank] if size is None else size), 3))
    x = of(rank, "Conv")(8, 3, padding="same", activation="relu", name="a")(inputs)
    x = layers.ReLU()(layer(x))
    x = of(rank, "Conv")(4, 3, padding="same", name="b")(x)
    return Model(inputs, layers.Dense(3)(of(rank, "GlobalAveragePooling")()(x)))


CASES = {
    "separable": (1, lambda **more: layers.SeparableConv1D(6, 3, **more)),
    "separable-strided": (1, lambda **more: layers.SeparableConv1D(6, 3, 2, "same", depth_multiplier=2, **more)),
    "depthwise": (1, lambda **more: layers.DepthwiseConv1D(3, depth_multiplier=2, **more)),
    "depthwise-strided": (1, lambda **more: layers.DepthwiseConv1D(3, 2, "same", **more)),
    "grouped": (1, lambda **more: layers.Conv1D(8, 3, groups=2, padding="same", **more)),
    "a group a channel": (1, lambda **more: layers.Conv1D(8, 3, groups=8, dilation_rate=2, **more)),
    "transposed": (1, lambda **more: layers.Conv1DTranspose(6, 4, 2, "same", **more)),
    "transposed-valid": (1, lambda **more: layers.Conv1DTranspose(6, 3, dilation_rate=2, **more)),
    "grouped volumes": (3, lambda **more: layers.Conv3D(8, 3, groups=2, padding="same", **more)),
    "a group a channel of volumes": (3, lambda **more: layers.Conv3D(16, 3, 2, "same", groups=8, **more)),
    "transposed volumes": (3, lambda **more: layers.Conv3DTranspose(6, 2, 2, **more)),
    "transposed-same volumes": (3, lambda **more: layers.Conv3DTranspose(6, 3, 2, "same", output_padding=1, **more)),
}


@pytest.mark.quick("separable", "transposed volumes")
@pytest.mark.parametrize("case", CASES)
def test_convolutions_between_octave_layers(case):
    rank, make = CASES[case]
    model = between(rank, make(name="between"))
    result = assert_oracle(model, converted=3)
    assert roles(result)["between"] == "intermediate" and result.after.macs < result.before.macs
    assert_oracle(between(rank, make(), (None,) * rank), converted=3, inputs=example(model))


@pytest.mark.parametrize("kind", ["SeparableConv", "ConvTranspose"])
def test_other_convolutions_of_a_plain_tensor(kind):
    layer = layers.SeparableConv1D if kind == "SeparableConv" else layers.Conv1DTranspose
    inputs = Input((14, 3))
    x = layer(6, 3, strides=2, padding="same", name="first")(inputs)
    x = layer(1, 3, padding="same", name="last")(layers.ReLU()(x))
    result = assert_oracle(Model(inputs, x), converted=2)
    assert roles(result) == {"first": "first", "last": "last"}


def test_a_separable_signal_in_channels_first():
    inputs = Input((3, 12))
    options = {"padding": "same", "data_format": "channels_first"}
    x = layers.SeparableConv1D(6, 3, **options)(layers.Conv1D(8, 3, **options)(inputs))
    x = layers.DepthwiseConv1D(3, **options)(x)
    assert_oracle(Model(inputs, layers.Conv1D(4, 1, **options)(x)), converted=4)


@pytest.mark.parametrize("rank", [1, 3])
def test_strides_become_pooling(rank):
    inputs = Input((*(8,) * rank, 3))
    x = of(rank, "Conv")(6, 3, strides=2, padding="same")(of(rank, "Conv")(6, 3, padding="same")(inputs))
    model = Model(inputs, of(rank, "Conv")(4, 3, padding="same")(x))
    pooled = octconvert.convert(model, min_size=1, calibration=False, stride_mode="pool").model
    assert pooled.output_shape == model.output_shape
    assert {type(layer).__name__ for layer in pooled.layers} >= {f"AveragePooling{rank}D"}


def gate(x, rank, by_operation=False):
    """Squeeze and excite."""
    channels = x.shape[-1]
    if by_operation:
        y = ops.mean(x, axis=tuple(range(1, rank + 1)), keepdims=True)
    else:
        y = layers.Reshape((*(1,) * rank, channels))(of(rank, "GlobalAveragePooling")()(x))
    y = layers.Dense(4, activation="relu")(y) if by_operation else of(rank, "Conv")(4, 1, activation="relu")(y)
    return layers.Multiply()([x, layers.Dense(channels, activation="sigmoid")(y)])


def normalization(mean=(0.1,) * 8, variance=(2.0,) * 8):
    return layers.Normalization(axis=-1, mean=mean, variance=variance)


def einsum_dense(rank):
    source = "bcd" if rank == 1 else "bcdef"
    equation = f"{source},{source[-1]}z->{source[:-1]}z"
    return layers.EinsumDense(equation, (*[None] * rank, 8), bias_axes="z")


STEPS = {
    "LayerNormalization": lambda x, rank: layers.LayerNormalization()(x),
    "RMSNormalization": lambda x, rank: layers.RMSNormalization()(x),
    "UnitNormalization": lambda x, rank: layers.UnitNormalization()(x),
    "GroupNormalization": lambda x, rank: layers.GroupNormalization(4)(x),
    "one group": lambda x, rank: layers.GroupNormalization(1)(x),
    "instances": lambda x, rank: layers.GroupNormalization(-1)(x),
    "Normalization": lambda x, rank: normalization()(x),
    "Rescaling": lambda x, rank: layers.Rescaling(0.5, 0.1)(x),
    "Dense": lambda x, rank: layers.Dense(8, activation="relu")(x),
    "EinsumDense": lambda x, rank: einsum_dense(rank)(x),
    "gate": lambda x, rank: gate(x, rank),
    "gate by operation": lambda x, rank: gate(x, rank, by_operation=True),
    "attention": lambda x, rank: x * ops.sigmoid(ops.mean(x, axis=-1, keepdims=True)),
    "sum over positions": lambda x, rank: x * ops.tanh(ops.sum(x, axis=tuple(range(1, rank + 1)), keepdims=True)),
    "run of channels": lambda x, rank: x[..., 2:6],
    "halves": lambda x, rank: ops.multiply(*ops.split(x, 2, axis=-1)),
    "raw pooling": lambda x, rank: ops.average_pool(ops.max_pool(x, 2, 1, padding="same"), 2, padding="same"),
    "repeat": lambda x, rank: ops.repeat(x, 2, axis=1),
    "flip": lambda x, rank: ops.flip(x, axis=-1),
    "normalize": lambda x, rank: ops.normalize(x, axis=-1),
    "SpatialDropout": lambda x, rank: of(rank, "SpatialDropout")(0.1)(x),
}
NEED_SIZES = {"attention", "sum over positions"}


@pytest.mark.quick("1-LayerNormalization", "3-gate", "1-halves")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("rank", [1, 3])
def test_steps_between_octave_layers(rank, step):
    def model(size):
        inputs = Input((*size, 3))
        x = of(rank, "Conv")(8, 3, padding="same", activation="relu", name="a")(inputs)
        x = of(rank, "Conv")(4, 3, padding="same", name="b")(STEPS[step](x, rank))
        return Model(inputs, layers.Dense(3)(of(rank, "GlobalAveragePooling")()(x)))

    result = assert_oracle(model(SIZES[rank]))
    assert roles(result)["a"] == "first" and roles(result)["b"] == "intermediate"
    assert {role for name, role in roles(result).items() if "gate" not in step} <= {"first", "intermediate"}
    if step not in NEED_SIZES:
        opened = model((None,) * rank)
        result = assert_oracle(opened, inputs=example(opened, 13 if rank == 1 else 6))
        assert roles(result)["b"] == "intermediate"


@pytest.mark.parametrize(
    ("rank", "key"), [(1, (slice(None), -1)), (1, (slice(None), 5)), (3, (slice(None), 2, -1, -2))]
)
def test_one_position_of_a_pair(rank, key):
    inputs = Input((*SIZES[rank], 3))
    x = of(rank, "Conv")(8, 3, padding="same", name="a")(inputs)
    x = of(rank, "Conv")(8, 3, padding="same", name="b")(x)
    result = assert_oracle(Model(inputs, layers.Dense(3)(x[key])), converted=2)
    assert roles(result)["b"] == "intermediate"


def test_the_last_step_of_an_open_signal():
    inputs = Input((None, 3))
    x = layers.Conv1D(8, 3, padding="causal")(layers.Conv1D(8, 3, padding="causal")(inputs))
    model = Model(inputs, layers.Dense(3)(x[:, -1]))
    assert_oracle(model, converted=2, inputs=example(model, 13))
    other = Model(inputs, layers.Dense(3)(x[:, -3]))
    assert "depends on the open size" in repr(ends(assert_oracle(other, inputs=example(model, 13))))
