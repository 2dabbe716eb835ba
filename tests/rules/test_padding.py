"""ZeroPadding2D, Cropping2D, CenterCrop: taken by the window behind, applied in whole cells, or the pair ends there."""

import numpy as np
import pytest
from keras import Input, Model, Sequential, layers
from oracle import assert_oracle, assert_portable, ends, randomise, reasons, roles, run

import octconvert

ASYMMETRIC = ((0, 1), (0, 1))


def padded(amount, window, size=(15, 16)):
    inputs = Input((*size, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = window(layers.ZeroPadding2D(amount, name="pad")(x))
    return Model(inputs, layers.Conv2D(4, 3, name="after")(x))


WINDOWS = {
    "convolution": lambda: layers.Conv2D(8, 3, strides=2),
    "stride 1": lambda: layers.Conv2D(8, 3),
    "depthwise": lambda: layers.DepthwiseConv2D(3, strides=2),
    "separable": lambda: layers.SeparableConv2D(8, 3, strides=2),
    "max": lambda: layers.MaxPooling2D(3, strides=2),
    "average": lambda: layers.AveragePooling2D(3, strides=2),
    "grouped": lambda: layers.Conv2D(8, 3, groups=2, strides=2),
}


@pytest.mark.quick("convolution-1", "depthwise-amount1", "max-amount2")
@pytest.mark.parametrize("amount", [1, ASYMMETRIC, ((1, 0), (3, 2))])
@pytest.mark.parametrize("window", WINDOWS)
def test_window_takes_the_padding(window, amount):
    model = padded(amount, WINDOWS[window]())
    result = assert_oracle(model)
    assert roles(result)["before"] == "first" and roles(result)["after"] == "last"
    assert "pad" not in ends(result) and not [layer for layer in result.model.layers if layer.name == "pad"]
    assert_portable(model, weights="fold")


@pytest.mark.parametrize("size", [(16, 16), (15, 13)])
def test_whole_cells_are_padded_where_they_are(size):
    model = padded(2, layers.Conv2D(8, 3, padding="same"), size)
    result = assert_oracle(model, converted=3)
    assert "pad" not in ends(result)
    assert_portable(model)


def test_padding_then_batch_normalization_is_merged():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="b")(x)
    x = layers.BatchNormalization()(layers.ZeroPadding2D(1, name="pad")(x))
    result = octconvert.convert(Model(inputs, layers.Conv2D(8, 3, name="c")(x)), min_size=1, calibration=False)
    assert roles(result) == {"a": "first", "b": "last", "c": "plain"}
    assert_oracle(Model(inputs, layers.Conv2D(8, 3, name="d")(x)))


def test_two_readers_of_one_padding():
    inputs = Input((12, 12, 3))
    x = layers.ZeroPadding2D(1)(layers.Conv2D(8, 3, padding="same")(inputs))
    model = Model(inputs, [layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3, strides=2)(x), layers.MaxPooling2D(3)(x)])
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_padding_twice():
    inputs = Input((12, 13, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.ZeroPadding2D(1)(layers.ZeroPadding2D(((1, 0), (0, 2)))(x))
    model = Model(inputs, layers.Conv2D(4, 5)(x))
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.quick("stride 1-2", "depthwise-amount2")
@pytest.mark.parametrize("amount", [1, 2, ((1, 0), (2, 1))])
@pytest.mark.parametrize("window", ["stride 1", "depthwise", "max"])
def test_cropping_before_a_window(window, amount):
    inputs = Input((14, 15, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = WINDOWS[window]()(layers.Cropping2D(amount)(x))
    model = Model(inputs, layers.Conv2D(4, 3, name="after")(x))
    result = assert_oracle(model)
    assert roles(result)["after"] == "last"
    assert_portable(model)


def test_centre_crop_of_a_skip_connection():
    """The U-Net of valid convolutions: whole cells join the other map, any cut goes into the window behind it."""
    inputs = Input((16, 17, 3))
    skip = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.Conv2D(8, 3)(layers.CenterCrop(13, 14)(skip))
    x = layers.Concatenate()([x, layers.CenterCrop(11, 12)(skip)])
    model = Model(inputs, layers.Conv2D(4, 3)(x))
    assert_oracle(model, converted=3)
    assert_portable(model)


@pytest.mark.parametrize(("height", "data_format"), [(20, "channels_last"), (4, "channels_first")])
def test_centre_crop_that_resizes_or_cuts_channels_ends_the_pair(height, data_format):
    inputs = Input((12, 12, 8))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layers.CenterCrop(height, 8, data_format=data_format)(x)
    plan = octconvert.plan(Model(inputs, layers.Conv2D(4, 3)(x)), min_size=1)
    assert "pads or crops something else" in reasons(plan)["before"]


@pytest.mark.quick("1-2", "cut4-pad4")
@pytest.mark.parametrize(("cut", "pad"), [(1, 1), (2, 2), (1, 2), (2, 1), (((1, 0), (1, 0)), ASYMMETRIC)])
def test_padding_after_a_cut(cut, pad):
    """NASNet's shift: zeros come where the cut took values away, so the amounts must not be added up."""
    inputs = Input((13, 14, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.ZeroPadding2D(pad)(layers.Cropping2D(cut)(x))
    x = layers.Conv2D(8, 3, strides=2)(x)
    model = Model(inputs, layers.Conv2D(4, 3)(x))
    assert_oracle(model)
    assert_portable(model)


def test_padding_before_a_shared_window_is_merged():
    inputs = Input((12, 12, 3))
    shared = layers.Conv2D(8, 3, name="shared")
    x = shared(layers.ZeroPadding2D(1)(layers.Conv2D(8, 3, padding="same", name="before")(inputs)))
    x = shared(layers.ZeroPadding2D(1)(x))
    assert_oracle(Model(inputs, layers.Conv2D(4, 3)(x)))


def test_padding_at_the_end_of_a_nested_model():
    """The reader lies in another model, where it can not take amounts that are no whole cells."""
    inner = Sequential([Input((9, 9, 3)), layers.Conv2D(8, 3, padding="same"), layers.ZeroPadding2D(1, name="pad")])
    inputs = Input((9, 9, 3))
    x = layers.Conv2D(8, 3)(inner(inputs))
    assert_oracle(Model(inputs, layers.Conv2D(4, 3)(x)))


@pytest.mark.parametrize(
    "placing",
    [
        lambda x: layers.Conv2D(8, 3, strides=2)(layers.ZeroPadding2D(ASYMMETRIC)(x)),
        lambda x: layers.Conv2D(8, 3, padding="same")(layers.ZeroPadding2D(2)(x)),
        lambda x: layers.Conv2D(8, 3, strides=2)(layers.ZeroPadding2D(2)(layers.Cropping2D(1)(x))),
        lambda x: layers.Conv2D(8, 3)(
            Sequential([Input((24, 24, 8)), layers.Activation("linear"), layers.ZeroPadding2D(1)])(x)
        ),
        lambda x: layers.DepthwiseConv2D(3)(layers.Cropping2D(((3, 0), (0, 3)))(x)),
    ],
)
def test_smooth_images_keep_their_place(placing):
    """Folded kernels of a linear model reproduce a slow gradient; a shift by half a cell would move it."""
    inputs = Input((24, 24, 1))
    x = placing(layers.Conv2D(8, 1, use_bias=False)(inputs))
    model = randomise(Model(inputs, layers.Conv2D(4, 1)(x)))
    rows, columns = np.mgrid[0:24, 0:24]
    image = (rows + 2 * columns).astype("float32")[None, :, :, None]
    converted = octconvert.convert(model, min_size=1, weights="fold", calibration=False).model
    expected, found = run(model, image)[0], run(converted, image)[0]
    inner = (slice(None), slice(4, -4), slice(4, -4))
    # Nearest upsampling alone is off by half a position along each axis: by 1.5 of a gradient of 1 and 2 a position.
    step = np.abs(np.diff(expected[inner], axis=1)).max() / 2 + np.abs(np.diff(expected[inner], axis=2)).max() / 2
    assert np.abs(np.mean(expected[inner] - found[inner], axis=(1, 2))).max() < 0.1 * step
