"""Decoders: transposed convolutions, resizing, pyramids, pooled branches."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, largest_difference, reasons, run

import octconvert


def conv(x, filters, kernel=3, **more):
    return layers.Conv2D(filters, kernel, padding="same", activation="relu", **more)(x)


def at(*size):
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")


def unet(shape, crop=False):
    inputs = Input(shape)
    skips, x = [], inputs
    for filters in (8, 12):
        x = conv(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D(padding="same")(x)
    x = conv(x, 16)
    for filters in (12, 8):
        skip = skips.pop()
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        if crop:
            x = layers.Cropping2D(tuple((0, x.shape[a] - skip.shape[a]) for a in (1, 2)))(x)
        x = conv(layers.Concatenate()([skip, x]), filters)
    return Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))


@pytest.mark.long
def test_unet():
    assert_oracle(unet((16, 20, 3)), converted=8)
    assert_oracle(unet((13, 18, 3), crop=True), converted=8)


@pytest.mark.long
def test_unet_at_other_sizes():
    model = unet((None, None, 3))
    assert_oracle(model, converted=8, inputs=at(16, 12))
    twin = octconvert.convert(model, octave=1, min_size=1, calibration=False).model
    halved = octconvert.convert(model, min_size=1, calibration=False).model
    for size in ((8, 24), (20, 12)):
        expected = run(model, at(*size))
        assert largest_difference(expected, run(twin, at(*size))) <= 1e-5
        assert [o.shape for o in run(halved, at(*size))] == [o.shape for o in expected]


@pytest.mark.long
def test_nested_skips():
    """U-Net++: every node joins all earlier ones of its scale."""
    inputs = Input((16, 16, 3))
    a0 = conv(inputs, 8)
    b0 = conv(layers.MaxPooling2D()(a0), 8)
    c0 = conv(layers.MaxPooling2D()(b0), 8)
    a1 = conv(layers.Concatenate()([a0, layers.UpSampling2D()(b0)]), 8)
    b1 = conv(layers.Concatenate()([b0, layers.UpSampling2D()(c0)]), 8)
    a2 = conv(layers.Concatenate()([a0, a1, layers.UpSampling2D()(b1)]), 8)
    model = Model(inputs, [layers.Conv2D(2, 1)(a1), layers.Conv2D(2, 1)(a2)])
    assert_oracle(model, converted=8)
    assert_portable(model)


def test_skips_that_are_added():
    """LinkNet."""
    inputs = Input((16, 12, 3))
    skip = conv(inputs, 8)
    x = conv(skip, 12, strides=2)
    x = layers.Conv2DTranspose(4, 4, strides=2, padding="same", use_bias=False)(conv(x, 4, 1))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    assert_oracle(Model(inputs, conv(layers.Add()([conv(x, 8, 1), skip]), 2)), converted=6)


@pytest.mark.long
def test_feature_pyramid():
    inputs = Input((32, 24, 3))
    levels, x = [], inputs
    for filters in (8, 12, 16):
        x = conv(x, filters, strides=2)
        levels.append(x)
    top = layers.Conv2D(8, 1)(levels[-1])
    outputs = [conv(top, 8)]
    for level in reversed(levels[:-1]):
        top = layers.Add()([layers.UpSampling2D()(top), layers.Conv2D(8, 1)(level)])
        outputs.append(conv(top, 8))
    model = Model(inputs, outputs)
    assert_oracle(model, converted=9)
    assert_portable(model)


@pytest.mark.quick("shape0")
@pytest.mark.parametrize("shape", [(32, 32, 3), (37, 29, 3)])
def test_dilated_branches(shape):
    """DeepLab: dilated branches and one of the whole image, joined with an early map."""
    inputs = Input(shape)
    early = conv(inputs, 8, strides=2)
    x = conv(early, 12, strides=2)
    image = conv(layers.GlobalAveragePooling2D(keepdims=True)(x), 8, 1)
    image = layers.UpSampling2D(x.shape[1:3], interpolation="bilinear")(image)
    branches = [conv(x, 8, 3, dilation_rate=rate) for rate in (1, 2, 4)]
    x = conv(layers.Concatenate()([*branches, image]), 8, 1)
    x = layers.Resizing(*early.shape[1:3])(x)
    x = layers.SeparableConv2D(8, 3, padding="same")(layers.Concatenate()([x, conv(early, 4, 1)]))
    model = Model(inputs, layers.Resizing(*shape[:2])(layers.Conv2D(3, 1)(x)))
    result = assert_oracle(model)
    assert set(reasons(result).values()) == {"1x1 map, nothing to halve", "its output is an output of the model"}
    assert_portable(model)


@pytest.mark.long
def test_decoder_layers_load_again(tmp_path):
    inputs = Input((16, 16, 3))
    x = layers.LayerNormalization()(conv(inputs, 8))
    x = layers.GroupNormalization(2)(layers.Dense(8)(x))
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", kernel_regularizer="l2")(x)
    model = Model(inputs, conv(layers.Resizing(20, 20)(layers.UnitNormalization()(x)), 4))
    result = assert_oracle(model)
    for ending in (".keras", ".h5"):
        path = tmp_path / f"decoder{ending}"
        result.save(path)
        loaded = keras.saving.load_model(path)
        assert largest_difference(run(result.model, at(16, 16)), run(loaded, at(16, 16))) <= 1e-6
        assert len(loaded.losses) == len(result.model.losses) == 4
