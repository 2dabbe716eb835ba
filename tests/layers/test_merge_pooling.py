"""OctaveMerge, OctaveCrop and OctavePooling2D against numpy and Keras' pooling layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from layer_reference import ceil_div, close, first, maps, pool, upsample

from octconvert.layers import OctaveCrop, OctaveMerge, OctavePooling2D


def traced(layer, channels=(3, 2)):
    """The layer in a model built with None sizes, traced once with unknown sizes."""
    inputs = [keras.Input((None, None, c)) for c in channels]
    model = keras.Model(inputs, layer(inputs))
    specs = [[tf.TensorSpec([None, None, None, c]) for c in channels]]
    return model, tf.function(lambda x: model(x), input_signature=specs)


# Merge and crop --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, [3, 0, 4, 1, 2]])
@pytest.mark.parametrize("size", [(8, 4), (9, 7)])
@pytest.mark.parametrize("octave", [1, 2, 4])
def test_merge(octave, size, order):
    high, low = maps(*size, octave=octave)
    expected = np.concatenate([high, upsample(low, octave, high)], -1)
    if order is not None:
        expected = np.stack([expected[..., i] for i in order], -1)
    layer = OctaveMerge(octave, order)
    close(layer([high, low]), expected, 0)
    channels_first = OctaveMerge(octave, order, "channels_first")
    close(channels_first([first(high), first(low)]), first(expected), 0)
    assert tuple(channels_first([keras.KerasTensor(first(x).shape) for x in (high, low)]).shape) == (2, 5, *size)


def test_merge_of_unknown_sizes():
    model, function = traced(OctaveMerge(2, np.array([4, 3, 2, 1, 0])))
    assert model.output_shape == (None, None, None, 5)
    for size in ((6, 8), (5, 7)):
        high, low = maps(*size)
        close(function([high, low]), np.concatenate([high, upsample(low, 2, high)], -1)[..., ::-1], 0)


@pytest.mark.parametrize("octave", [1, 2, 4])
def test_crop(octave):
    high = maps(9, 6)[0]
    big = np.random.default_rng(0).normal(size=(2, 9, 9, 2)).astype("float32")
    expected = big[:, : ceil_div(9, octave), : ceil_div(6, octave)]
    close(OctaveCrop(octave)([high, big]), expected, 0)
    close(OctaveCrop(octave, "channels_first")([first(high), first(big)]), first(expected), 0)
    _, function = traced(OctaveCrop(octave))
    close(function([high, big]), expected, 0)
    symbolic = OctaveCrop(octave)([keras.KerasTensor((None, 9, None, 3)), keras.KerasTensor((None, 9, 9, 2))])
    assert tuple(symbolic.shape) == (None, ceil_div(9, octave), None, 2)


def test_merge_and_crop_configurations_come_back():
    merge, crop = OctaveMerge(4, np.array([1, 0]), "channels_first", name="m"), OctaveCrop(4, name="c")
    assert OctaveMerge.from_config(merge.get_config()).order == [1, 0]
    for layer in (merge, crop):
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config
        assert keras.saving.get_registered_name(type(layer)) == f"octconvert>{type(layer).__name__}"


@pytest.mark.parametrize("layer", [OctaveMerge, OctaveCrop, lambda name: OctavePooling2D("max", 2, name=name)])
def test_one_or_three_inputs_are_refused(layer):
    x = keras.KerasTensor((None, 8, 8, 3))
    with pytest.raises(ValueError, match=r"unit7.*3 tensors"):
        layer(name="unit7")([x, x, x])
    with pytest.raises(ValueError, match=r"unit7.*pair"):
        layer(name="unit7")(x)


@pytest.mark.parametrize("layer", [OctaveMerge, lambda name: OctavePooling2D("max", 2, name=name)])
def test_sizes_that_do_not_fit_are_refused(layer):
    with pytest.raises(ValueError, match=r"unit7.*octave=2.*\(4, 4\).*\(5, 4\)"):
        layer(name="unit7")([keras.KerasTensor((None, 8, 8, 3)), keras.KerasTensor((None, 5, 4, 2))])
    with pytest.raises(ValueError, match=r"unit7.*channel dimension"):
        layer(name="unit7")([keras.KerasTensor((None, 8, 8, 3)), keras.KerasTensor((None, 4, 4, None))])


# Pooling ---------------------------------------------------------------------------------------------------------

PLAIN = {"max": keras.layers.MaxPooling2D, "mean": keras.layers.AveragePooling2D}


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (3, 1), ((2, 3), (1, 2)), (1, 2), (4, 4)])
def test_octave_1_is_the_plain_layer(size, stride, padding, mode):
    for rows, columns in ((8, 9), (11, 10)):
        inputs = [x - 5 for x in maps(rows, columns, octave=1)]  # below zero: a zero from padding would win a maximum
        layer, plain = OctavePooling2D(mode, size, stride, padding, 1), PLAIN[mode](size, stride, padding)
        for actual, x in zip(layer(inputs), inputs, strict=True):
            close(actual, plain(x))


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (2, 0)), ((-1, 0), (0, 1))])
def test_explicit_padding_is_zeros_that_count(padding, mode):
    inputs = [x - 5 for x in maps(9, 8, octave=1)]
    plain = PLAIN[mode](3, 2, "valid")
    cut = tuple((max(-before, 0), max(-after, 0)) for before, after in padding)
    grow = tuple((max(before, 0), max(after, 0)) for before, after in padding)
    for actual, x in zip(OctavePooling2D(mode, 3, 2, padding, 1)(inputs), inputs, strict=True):
        close(actual, plain(keras.layers.ZeroPadding2D(grow)(keras.layers.Cropping2D(cut)(x))))


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("size", [(16, 12), (13, 15)])
@pytest.mark.parametrize("octave", [2, 4])
def test_pooling_of_two(octave, size, mode):
    """The everyday case: both maps are pooled by two; the low map of an odd size keeps its last cell."""
    high, low = (x - 5 for x in maps(*size, octave=octave))
    actual = OctavePooling2D(mode, 2, octave=octave, padding="same")([high, low])
    close(actual[0], PLAIN[mode](2, padding="same")(high))
    outputs = [ceil_div(ceil_div(n, 2), octave) for n in size]
    assert tuple(actual[1].shape[1:3]) == tuple(outputs)
    close(actual[1], np.asarray(PLAIN[mode](2, padding="same")(low))[:, : outputs[0], : outputs[1]])


def test_strided_window_of_one_averages_what_there_is():
    """A pooling of 1x1 by 2 takes every second position: low cells are averaged in twos, and the last one alone."""
    high, low = (x - 5 for x in maps(14, 12))
    for mode in ("max", "mean"):
        actual = OctavePooling2D(mode, 1, 2)([high, low])
        close(actual[0], high[:, ::2, ::2])
        close(actual[1], pool(low, 2))


@pytest.mark.quick(
    "2-2-2-same-max",
    "2-3-2-same-mean",
    "4-3-1-valid-max",
    "2-1-2-valid-mean",
    "4-4-4-padding2-max",
    "2-3-3-padding2-mean",
)
@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("padding", ["same", "valid", ((1, 1), (0, 1))])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (1, 2), (4, 4), (3, 3)])
@pytest.mark.parametrize("octave", [2, 4])
def test_a_constant_map_stays_constant(octave, kernel, stride, padding, mode):
    """No padding leaks into a maximum or an average, at any border; explicit zeros do, as in the high map."""
    layer = OctavePooling2D(mode, kernel, stride, padding, octave)
    for size in ((16, 20), (13, 14), (11, 9)):
        inputs = [np.full_like(x, -3.0) for x in maps(*size, octave=octave)]
        high, low = (np.asarray(x) for x in layer(inputs))
        assert low.shape[1:3] == tuple(ceil_div(n, octave) for n in high.shape[1:3])
        if isinstance(padding, str):
            np.testing.assert_allclose(low, -3.0, rtol=1e-6)
            np.testing.assert_allclose(high, -3.0, rtol=1e-6)
        else:
            assert np.isfinite(low).all() and low.min() >= -3.0 - 1e-5 and low.max() <= 1e-5
            middle = low[:, 1:-2, 1:-2]
            np.testing.assert_allclose(middle, -3.0, rtol=1e-5)


@pytest.mark.quick("2-2-valid-2-max", "3-2-same-4-mean", "3-2-padding3-2-max")
@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "octave"),
    [
        (2, 2, "valid", 2),
        (3, 2, "same", 2),
        (3, 2, "same", 4),
        (3, 2, ((1, 1), (1, 1)), 2),
        (1, 2, "same", 2),
        (4, 4, "same", 2),
        (3, 1, "same", 2),
        (3, 3, "same", 4),
    ],
)
def test_unknown_sizes_give_the_same_numbers(kernel, stride, padding, octave, mode):
    layer = OctavePooling2D(mode, kernel, stride, padding, octave)
    model, function = traced(layer)
    assert model.output_shape == [(None, None, None, 3), (None, None, None, 2)]
    for size in ((12, 16), (13, 11), (14, 18)):
        inputs = [x - 5 for x in maps(*size, octave=octave)]
        outputs = layer(inputs)
        for actual, wanted in zip(function(inputs), outputs, strict=True):
            close(actual, wanted)
        symbolic = layer([keras.KerasTensor(x.shape) for x in inputs])
        assert [tuple(x.shape) for x in symbolic] == [tuple(x.shape) for x in outputs]


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_pooling_channels_first(mode):
    for arguments in ((3, 2, "same"), (1, 2, "valid"), (2, 2, ((1, 0), (0, 1)))):
        inputs = maps(9, 10)
        wanted = OctavePooling2D(mode, *arguments)(inputs)
        layer = OctavePooling2D(mode, *arguments, data_format="channels_first")
        for a, w in zip(layer([first(x) for x in inputs]), wanted, strict=True):
            close(a, first(w))
        symbolic = layer([keras.KerasTensor(first(x).shape) for x in inputs])
        assert [tuple(x.shape) for x in symbolic] == [first(x).shape for x in wanted]


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_pooling_and_merging_in_half_precision(mode):
    inputs = maps(9, 10)
    for make in (lambda d: OctavePooling2D(mode, 3, 2, "same", dtype=d), lambda d: OctaveMerge(dtype=d)):
        wanted, actual = make("float32")(inputs), make("mixed_float16")(inputs)
        for a, w in zip(tf.nest.flatten(actual), tf.nest.flatten(wanted), strict=True):
            assert a.dtype == tf.float16
            close(ops.cast(a, "float32"), w, 5e-3)


def test_pooling_configuration_comes_back():
    layer = OctavePooling2D("mean", (3, 2), 2, ((1, 0), (0, 1)), 4, "channels_first", name="p")
    config = layer.get_config()
    assert OctavePooling2D.from_config(config).get_config() == config
    assert (config["strides"], config["octave"]) == ((2, 2), 4)
    assert OctavePooling2D("max", 3).strides == (3, 3)
    assert keras.saving.get_registered_name(OctavePooling2D) == "octconvert>OctavePooling2D"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "sum"}, "mode"),
        ({"pool_size": 0}, "pool_size"),
        ({"strides": -1}, "strides"),
        ({"padding": "full"}, "padding"),
        ({"octave": 3}, "octave.*power of two"),
        ({"data_format": "nhwc"}, "data_format"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OctavePooling2D(**{"mode": "max", "pool_size": 2, **arguments})
