"""Which convolutions of a model with several ranks are converted, and those that are counted and stay plain."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, reasons, roles


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


@pytest.mark.parametrize(
    ("layer", "size", "reason"),
    [
        (layers.Conv1D(4, 3, padding="causal"), (16,), "causal: a low cell covers the next position as well"),
        (layers.Conv1D(4, 3, groups=2), (16,), "grouped 1-D convolution"),
        (layers.SeparableConv1D(4, 3), (16,), "SeparableConv1D: only its 2-D form is converted"),
        (layers.DepthwiseConv1D(3), (16,), "DepthwiseConv1D: only its 2-D form is converted"),
        (layers.Conv1DTranspose(4, 3), (16,), "Conv1DTranspose: only its 2-D form is converted"),
        (layers.Conv3DTranspose(4, 3), (6, 6, 6), "Conv3DTranspose: only its 2-D form is converted"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_stays_plain_between_octave_layers(layer, size, reason):
    conv = layers.Conv1D if len(size) == 1 else layers.Conv3D
    pool = layers.GlobalAveragePooling1D if len(size) == 1 else layers.GlobalAveragePooling3D
    inputs = Input((*size, 2))
    x = conv(4, 3, padding="same", name="b")(conv(4, 3, padding="same", name="a")(inputs))
    x = layer.from_config(layer.get_config())(x)
    x = pool()(conv(4, 3, padding="same", name="d")(conv(4, 3, padding="same", name="c")(x)))
    result = assert_oracle(Model(inputs, layers.Dense(3)(x)), converted=4)
    assert roles(result)[layer.name] == "plain" and reasons(result)[layer.name] == reason
