"""Models that leave rows and columns open: any size must work, also ones the conversion never saw."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, largest_difference, randomise, roles, run

import octconvert

SIZES = [(17, 23), (32, 32), (16, 15), (21, 20)]


def conv(filters=8, kernel=3, **options):
    return layers.Conv2D(filters, kernel, **{"padding": "same", **options})


def image(size, channels=3):
    return np.random.default_rng(size[0]).standard_normal((2, *size, channels)).astype("float32")


MIDDLES = {
    "stride 2": lambda x: conv(strides=2)(x),
    "stride 3": lambda x: conv(strides=3)(x),
    "strided 1x1": lambda x: conv(kernel=1, strides=2)(x),
    "valid": lambda x: conv(padding="valid", strides=2)(x),
    "even kernel": lambda x: conv(kernel=4)(conv(kernel=2)(x)),
    "dilation": lambda x: conv(dilation_rate=2)(x),
    "grouped": lambda x: conv(groups=2, strides=2)(x),
    "max 2": lambda x: layers.MaxPooling2D(2)(x),
    "max 3/2 same": lambda x: layers.MaxPooling2D(3, 2, "same")(x),
    "max 3/2 valid": lambda x: layers.MaxPooling2D(3, 2)(x),
    "average 2 same": lambda x: layers.AveragePooling2D(2, padding="same")(x),
    "average 3/1 same": lambda x: layers.AveragePooling2D(3, 1, "same")(x),
    "average 3/2 valid": lambda x: layers.AveragePooling2D(3, 2)(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "strided depthwise": lambda x: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)(x),
    "separable": lambda x: layers.SeparableConv2D(8, 3, 2, "same")(x),
    "upsampling": lambda x: layers.UpSampling2D(3, interpolation="bilinear")(layers.UpSampling2D()(x)),
    "padding before convolution": lambda x: conv(padding="valid", strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x)),
    "padding before depthwise": lambda x: layers.DepthwiseConv2D(3, 2)(layers.ZeroPadding2D(1)(x)),
    "padding before pooling": lambda x: layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x)),
    "padding that ends the pair": lambda x: layers.BatchNormalization()(layers.ZeroPadding2D(2)(conv()(x))),
    "cropping": lambda x: conv(padding="valid")(layers.Cropping2D(1)(x)),
    "gate": lambda x: layers.Multiply()([x, conv(kernel=1)(layers.GlobalAveragePooling2D(keepdims=True)(x))]),
    "one channel": lambda x: layers.Multiply()([x, conv(1, 1)(x)]),
}


@pytest.mark.quick("stride 2", "max 3/2 valid", "padding before convolution")
@pytest.mark.parametrize("middle", MIDDLES)
def test_any_size(middle):
    inputs = Input((None, None, 3))
    x = MIDDLES[middle](layers.BatchNormalization()(conv()(inputs)))
    model = randomise(Model(inputs, conv(4)(layers.ReLU()(x))))
    twin = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    result = octconvert.convert(model, min_size=1, calibration=False)
    assert result.plan.converted
    for size in SIZES:
        expected = run(model, image(size))
        assert largest_difference(expected, run(twin.model, image(size))) < 1e-5, size
        found = run(result.model, image(size))
        assert found[0].shape == expected[0].shape and np.isfinite(found[0]).all(), size


@pytest.mark.quick("size0-stride 2", "size1-upsampling")
@pytest.mark.parametrize(
    "middle", ["stride 2", "strided 1x1", "max 3/2 same", "average 3/1 same", "depthwise", "upsampling"]
)
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_open_sizes_compute_what_known_sizes_compute(middle, size):
    inputs = Input((None, None, 3))
    model = randomise(Model(inputs, conv(4)(MIDDLES[middle](conv()(inputs)))))
    found = octconvert.convert(model, min_size=1, calibration=False).model
    known = octconvert.convert(model, min_size=1, input_shape=(*size, 3), calibration=False).model
    assert largest_difference(run(known, image(size)), run(found, image(size))) < 1e-5


def test_unet_of_open_size():
    inputs = Input((None, None, 3))
    skip = conv()(inputs)
    x = layers.UpSampling2D()(conv()(layers.MaxPooling2D()(skip)))
    model = Model(inputs, conv(2)(layers.Concatenate()([skip, x])))
    result = assert_oracle(model, converted=3, inputs=image((16, 16)))
    assert run(result.model, image((32, 20)))[0].shape == (2, 32, 20, 2)


def test_one_open_side():
    inputs = Input((None, 12, 3))
    x = conv(strides=2)(conv()(inputs))
    result = assert_oracle(Model(inputs, conv(4)(layers.MaxPooling2D(2)(x))), converted=3)
    assert run(result.model, image((19, 12)))[0].shape == (2, 5, 3, 4)


def test_classifier_of_open_size():
    inputs = Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(conv(strides=2)(conv()(inputs)))
    assert_oracle(Model(inputs, layers.Dense(3)(x)), converted=2)


def test_portable_needs_known_sizes():
    inputs = Input((None, None, 3))
    model = Model(inputs, conv(4, name="b")(conv(name="a")(inputs)))
    result = octconvert.convert(model, min_size=1, portable=True, calibration=False)
    assert set(roles(result).values()) == {"plain"}
    assert "give `input_shape`" in result.plan.convolutions[0].reason
    result = octconvert.convert(model, min_size=1, portable=True, input_shape=(16, 16, 3), calibration=False)
    assert roles(result) == {"a": "first", "b": "last"}


def test_wrong_input_shape_is_refused():
    inputs = Input((None, 16, 3))
    with pytest.raises(octconvert.UsageError, match="does not fit"):
        octconvert.convert(Model(inputs, conv()(inputs)), input_shape=(16, 17, 3), calibration=False)


@pytest.mark.long
def test_open_size_compiled_into_a_graph():
    inputs = Input((None, None, 3))
    model = randomise(Model(inputs, conv(4)(layers.MaxPooling2D(3, 2, "same")(conv(strides=2)(conv()(inputs))))))
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    for size in [(17, 23), (16, 16)]:
        eager, graph = converted(image(size)), converted.predict(image(size), verbose=0)
        assert np.abs(keras.ops.convert_to_numpy(eager) - graph).max() < 1e-5
