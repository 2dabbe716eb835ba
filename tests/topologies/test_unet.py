"""U-Nets: upsampling, skip connections, odd sizes and crops."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable


def conv(x, filters):
    return layers.Conv2D(filters, 3, padding="same", activation="relu")(x)


@pytest.mark.quick("size1-bilinear")
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(16, 16), (20, 12)])
def test_unet(size, interpolation):
    inputs = Input((*size, 3))
    skip = conv(inputs, 8)
    low = conv(layers.MaxPooling2D()(skip), 12)
    bottom = conv(layers.MaxPooling2D()(low), 16)
    x = layers.UpSampling2D(interpolation=interpolation)(bottom)
    x = conv(layers.Concatenate()([x, low]), 12)
    x = layers.UpSampling2D(interpolation=interpolation)(x)
    x = conv(layers.Concatenate()([skip, x]), 8)
    model = Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(x))
    assert_oracle(model, converted=6)
    assert_portable(model)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(15, 17), (13, 14)])
def test_odd_sizes_with_crops(size):
    inputs = Input((*size, 3))
    skip = conv(inputs, 8)
    x = conv(layers.MaxPooling2D(padding="same")(skip), 8)
    x = layers.UpSampling2D()(x)
    x = layers.Cropping2D(((0, size[0] % 2), (0, size[1] % 2)))(x)
    model = Model(inputs, conv(layers.Concatenate()([skip, x]), 4))
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_valid_convolutions_and_centred_crop():
    inputs = Input((20, 20, 3))
    skip = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.Conv2D(8, 3, activation="relu")(layers.MaxPooling2D()(skip))
    x = layers.UpSampling2D()(x)
    skip = layers.Cropping2D(2)(skip)
    model = Model(inputs, conv(layers.Concatenate()([skip, x]), 4))
    assert_oracle(model, converted=3)
    assert_portable(model)
