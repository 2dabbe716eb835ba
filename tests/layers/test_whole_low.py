"""Layers that read the low map of a tensor without high channels: the numbers of plain layers at low resolution."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers

from octconvert.layers import (
    OctaveConv2D,
    OctaveConv2DTranspose,
    OctaveDepthwiseConv2D,
    OctaveMerge,
    OctavePooling2D,
    OctaveSize,
    octave_conv_2d,
)

RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.standard_normal(shape).astype("float32")


def numbers(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_low_to_low_is_a_plain_convolution_of_the_cells():
    x = images(2, 6, 5, 4)
    layer, plain = OctaveConv2D(8, 3, whole_low=True, ratio_out=1.0), layers.Conv2D(8, 3, padding="same")
    plain.build(x.shape)
    layer.build(x.shape)
    plain.set_weights([numbers(layer.ll_kernel), numbers(layer.low_bias)])
    assert layer.hh_kernel is layer.hl_kernel is layer.lh_kernel is layer.high_bias is None
    assert np.abs(numbers(layer(x)) - numbers(plain(x))).max() < 1e-5
    assert layer.macs(x.shape) == 6 * 5 * 9 * 4 * 8
    assert layer.compute_output_shape((None, 6, 5, 4)) == (None, 6, 5, 8)


@pytest.mark.parametrize("size", [(12, 10), (11, 9)])
def test_low_to_plain_is_upsampled_to_the_map_it_stands_in_for(size):
    x, odd = images(2, 6, 5, 4), size if size[0] % 2 else None
    layer = OctaveConv2D(3, 3, whole_low=True, high_size=odd, ratio_out=0.0)
    low = OctaveConv2D(3, 3, whole_low=True, high_size=odd, ratio_out=1.0)
    layer.build(x.shape)
    low.build(x.shape)
    low.set_weights(layer.get_weights())
    expected = numbers(low(x)).repeat(2, 1).repeat(2, 2)[:, : size[0], : size[1]]
    assert np.array_equal(numbers(layer(x)), expected)
    assert layer.compute_output_shape((None, 6, 5, 4)) == (None, *size, 3)


def test_low_to_pair():
    high, low = OctaveConv2D(8, 3, whole_low=True, ratio_out=0.25)(images(2, 6, 5, 4))
    assert high.shape == (2, 12, 10, 6) and low.shape == (2, 6, 5, 2)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(12, 12), (9, 7)])
def test_as_the_low_map_of_a_pair(size, kernel, strides):
    """With a high map of zeros beside it, a pair's low output is the same."""
    cells = tuple(-(-length // 2) for length in size)
    low, high = images(2, *cells, 4), np.zeros((2, *size, 4), "float32")
    pair = OctaveConv2D(8, kernel, strides=strides)
    whole = OctaveConv2D(8, kernel, strides=strides, whole_low=True, high_size=size)
    outputs = pair([high, low])
    whole.build(low.shape)
    whole.set_weights([numbers(w) for w in (pair.lh_kernel, pair.ll_kernel, pair.high_bias, pair.low_bias)])
    for expected, own in zip(outputs, whole(low), strict=True):
        assert np.abs(numbers(expected) - numbers(own)).max() < 1e-5


@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(12, 10), (11, 9)])
def test_out_of_built_in_layers(size, ratio_out):
    inputs = Input((6, 5, 4))
    own = OctaveConv2D(8, 3, whole_low=True, high_size=size, ratio_out=ratio_out, activation="relu")
    built_in = octave_conv_2d(
        inputs, 8, 3, whole_low=True, high_size=size, ratio_out=ratio_out, activation="relu", name="unit"
    )
    octave, portable = Model(inputs, own(inputs)), Model(inputs, built_in)
    kernels = [weight for weight in own.weights if "kernel" in weight.name]
    for weight, layer in zip(kernels, [portable.get_layer(f"unit-{w.name[:2].upper()}") for w in kernels], strict=True):
        layer.kernel.assign(weight)
    x = images(2, 6, 5, 4)
    for a, b in zip(keras.tree.flatten(octave(x)), keras.tree.flatten(portable(x)), strict=True):
        assert np.abs(numbers(a) - numbers(b)).max() < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        lambda **options: OctaveConv2D(6, 3, strides=2, ratio_out=0.5, **options),
        lambda **options: OctaveDepthwiseConv2D(3, strides=2, **options),
        lambda **options: OctaveConv2DTranspose(6, 3, ratio_out=0.0, **{"strides": 2, **options}),
        lambda **options: OctavePooling2D("max", 3, 2, "same", **options),
        lambda **options: OctaveMerge(**options),
    ],
)
@pytest.mark.parametrize("size", [(11, 12), (12, 9)])
def test_sizes_that_are_known_when_the_model_runs(layer, size, tmp_path):
    """The same numbers with the size as a constant and as a tensor; saved and loaded."""
    cells = tuple(-(-length // 2) for length in size)
    image, low = Input((None, None, 3)), Input((None, None, 4))
    running = Model([image, low], layer(whole_low=True, name="unit")([low, OctaveSize()(image)]))
    fixed = layer(whole_low=True, high_size=size)
    x = images(2, *cells, 4)
    fixed(x)
    fixed.set_weights(running.get_layer("unit").get_weights())
    running.save(tmp_path / "model.keras")
    for model in (running, keras.models.load_model(tmp_path / "model.keras")):
        outputs = keras.tree.flatten(model([images(2, *size, 3), x]))
        for expected, own in zip(keras.tree.flatten(fixed(x)), outputs, strict=True):
            assert expected.shape == own.shape
            assert np.abs(numbers(expected) - numbers(own)).max() < 1e-5
        known = keras.tree.flatten(model([Input((*size, 3)), Input((*cells, 4))]))
        assert [symbolic.shape[1:] for symbolic in known] == [own.shape[1:] for own in outputs]


@pytest.mark.parametrize(
    "window",
    [
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        {"kernel_size": 3, "strides": 2, "padding": "valid"},
        {"kernel_size": 3, "padding": ((1, 0), (0, 2))},
        {"kernel_size": 3, "strides": 2, "padding": "same", "transposed": True},
    ],
)
def test_the_size_behind_a_window(window):
    image = Input((None, None, 3))
    transposed = window.get("transposed", False)
    own = {key: value for key, value in window.items() if key != "transposed"}
    padded = image
    if not isinstance(window["padding"], str):
        padded, own = layers.ZeroPadding2D(window["padding"])(image), {**own, "padding": "valid"}
    convolution = (layers.Conv2DTranspose if transposed else layers.Conv2D)(2, **own)
    model = Model(image, [convolution(padded), OctaveSize(**window)(image), OctaveSize(**window)(OctaveSize()(image))])
    image = Input((11, 8, 3))
    low = Input((1, 1, 4))
    known = OctaveMerge(whole_low=True)([low, OctaveSize(**window)(image)])
    assert known.shape[1:3] == model(image)[0].shape[1:3]
    output, *sizes = model(images(1, 11, 8, 3))
    assert [tuple(numbers(size)) for size in sizes] == [tuple(output.shape[1:3])] * 2


def test_what_does_not_fit_is_refused():
    low = keras.KerasTensor((None, 6, 5, 4))
    with pytest.raises(ValueError, match=r"unit.*`whole_low` reads one low map.*two maps"):
        OctaveConv2D(8, 3, whole_low=True, name="unit")([low, low])
    with pytest.raises(ValueError, match=r"unit.*\(9, 9\).*needs a low map of \(5, 5\), received \(6, 5\)"):
        OctaveConv2D(8, 3, whole_low=True, high_size=(9, 9), name="unit")(low)
    with pytest.raises(ValueError, match=r"unit.*`high_size` belongs to `whole_low=True`"):
        OctaveConv2D(8, 3, high_size=(9, 9), name="unit")
