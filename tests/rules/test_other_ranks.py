"""The rules at other ranks than two: every kind of convolution between octave layers; models of several ranks."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, example, reasons, roles

import octconvert


def test_beside_images_other_ranks_stay_plain():
    image, signal, volume = Input((8, 8, 3)), Input((16, 3)), Input((6, 6, 6, 2))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="c2")(layers.Conv2D(4, 3)(image)))
    y = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(signal))
    z = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3)(volume))
    result = assert_oracle(Model([image, signal, volume], layers.Concatenate()([x, y, z])), converted=2)
    assert set(reasons(result).values()) == {
        f"Conv{n}D: the 2-D convolutions of this model are converted" for n in (1, 3)
    }


def test_without_images_the_most_are_converted():
    signal, volume = Input((16, 3)), Input((6, 6, 6, 2))
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(layers.Conv1D(4, 3)(signal)))
    y = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3)(volume))
    result = assert_oracle(Model([signal, volume], layers.Concatenate()([x, y])), converted=2)
    assert list(reasons(result).values()) == ["Conv3D: the 1-D convolutions of this model are converted"]


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
