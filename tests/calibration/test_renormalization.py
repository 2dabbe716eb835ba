"""Statistics of normalisation move by what the conversion moved."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import randomise

from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.renormalization import LARGEST_CHANGE, renormalize


def normalisations(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def first_of_high_maps(alignment):
    found = (unit for unit in alignment.calls if isinstance(unit.layer, layers.BatchNormalization))
    return next(unit for unit in found if unit.part == "clone-H")


@pytest.mark.quick("nested-0.5", "nested-1.0")
@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("make", [nets.residual, nets.inverted_residual, nets.assorted, nets.nested, nets.dense_net])
def test_nothing_moves_at_octave_1(make, alpha):
    model = make()
    alignment = nets.alignment_of(model, octave=1, alpha=alpha)
    before = alignment.model.get_weights()
    count = renormalize(alignment, nets.samples(nets.images(16, model.inputs[0].shape[1])).batches(8))
    assert count >= len(normalisations(model))
    assert all(
        np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(before, alignment.model.get_weights(), strict=True)
    )


def test_moves_by_what_became_of_the_input():
    alignment = nets.alignment_of(nets.small(), octave=1)
    first = first_of_high_maps(alignment)
    convolution = next(unit.layer for unit in alignment.calls if unit.part == "octave")
    mean, variance = np.array(first.layer.moving_mean), np.array(first.layer.moving_variance)
    x = nets.images(32)
    value = np.asarray(nets.everything(alignment.converted, [x])[first.call.inputs[0]], dtype="float64")
    convolution.hh_kernel.assign(1.5 * np.array(convolution.hh_kernel))
    renormalize(alignment, nets.samples(x).batches(8))
    assert np.allclose(first.layer.moving_mean, mean + 0.5 * value.mean((0, 1, 2)), atol=1e-3)
    assert np.allclose(first.layer.moving_variance, 2.25 * variance, rtol=1e-3)


def test_variances_change_by_a_factor_at_most():
    alignment = nets.alignment_of(nets.small(), octave=1)
    first = first_of_high_maps(alignment)
    convolution = next(unit.layer for unit in alignment.calls if unit.part == "octave")
    variance = np.array(first.layer.moving_variance)
    convolution.hh_kernel.assign(10 * np.array(convolution.hh_kernel))
    renormalize(alignment, nets.samples().batches(8))
    assert np.allclose(first.layer.moving_variance, LARGEST_CHANGE * variance, rtol=1e-4)


def test_pooled_maps_are_held_against_pooled_maps():
    """Low maps vary less; that alone moves nothing."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 1, use_bias=False)(inputs)  # exact at half the resolution
    x = layers.ReLU()(layers.BatchNormalization()(x))
    alignment = nets.alignment_of(randomise(keras.Model(inputs, nets.head(layers.Conv2D(4, 3)(x)))), octave=2)
    before = alignment.model.get_weights()
    assert renormalize(alignment, nets.samples().batches(8)) == 2
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(before, alignment.model.get_weights(), strict=True))


def test_a_smaller_first_convolution_is_made_up_for():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3)(nets.conv_bn(inputs, 8))
    model, samples = randomise(keras.Model(inputs, nets.head(x))), nets.samples()
    seen = model.layers[1](samples.arrays[0])
    model.layers[2].moving_mean.assign(ops.mean(seen, axis=(0, 1, 2)))  # as training would leave them
    model.layers[2].moving_variance.assign(ops.var(seen, axis=(0, 1, 2)))
    alignment = nets.alignment_of(model, octave=1)
    convolution = next(unit.layer for unit in alignment.calls if unit.part == "octave")
    for kernel in (convolution.hh_kernel, convolution.hl_kernel):
        kernel.assign(0.8 * np.array(kernel))
    expected = ModelOutputs.of(alignment.source, samples, 16)
    before = expected.error(ModelOutputs.of(alignment.converted, samples, 16))
    renormalize(alignment, samples.batches(8))
    assert expected.error(ModelOutputs.of(alignment.converted, samples, 16)) < 0.01 * before


@pytest.mark.quick("1")
@pytest.mark.parametrize("axis", [1, 2])
def test_normalisation_of_rows_reads_the_merged_map(axis):
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(nets.conv_bn(inputs, 8), 8)
    outputs = [layers.BatchNormalization(axis=axis)(x), nets.head(layers.Conv2D(4, 3)(x))]
    alignment = nets.alignment_of(randomise(keras.Model(inputs, outputs)))
    assert renormalize(alignment, nets.samples().batches(8)) == 5


def test_what_is_no_number_moves_nothing():
    model = nets.small()
    model.layers[1].kernel.assign(np.full(model.layers[1].kernel.shape, np.inf))
    alignment = nets.alignment_of(model)
    before = alignment.model.get_weights()
    assert renormalize(alignment, nets.samples().batches(8)) == 0
    assert all(np.array_equal(a, b, True) for a, b in zip(before, alignment.model.get_weights(), strict=True))


def test_constant_channels_keep_their_variance():
    alignment = nets.alignment_of(nets.small())
    before = {id(layer): np.array(layer.moving_variance) for layer in normalisations(alignment.model)[:2]}
    renormalize(alignment, nets.samples(np.zeros((8, 16, 16, 3), "float32")).batches(8))
    assert all(np.isfinite(weight).all() for weight in alignment.model.get_weights())
    assert all(
        np.array_equal(before[id(layer)], layer.moving_variance) for layer in normalisations(alignment.model)[:2]
    )


def test_a_whole_low_map_is_held_against_the_pooled_map():
    """A 1x1 convolution is exact at half the resolution."""
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(inputs)))
    alignment = nets.alignment_of(randomise(keras.Model(inputs, nets.head(layers.Conv2D(4, 3)(x)))), alpha=1.0)
    before = alignment.model.get_weights()
    assert renormalize(alignment, nets.samples().batches(8)) == 1
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(before, alignment.model.get_weights(), strict=True))


def test_a_plain_map_of_a_whole_low_one_is_held_against_the_pooled_map():
    """It has no detail; that alone moves nothing."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 1)(layers.Conv2D(8, 1)(inputs))  # exact at half the resolution
    x = layers.ReLU()(layers.BatchNormalization()(x))
    alignment = nets.alignment_of(randomise(keras.Model(inputs, nets.head(x))), alpha=0.0, alpha_map=(("conv2d", 1.0),))
    whole_low = {unit.part: unit.layer.low_input.whole_low for unit in alignment.calls if unit.part == "octave"}
    assert whole_low["octave"]
    before = alignment.model.get_weights()
    assert renormalize(alignment, nets.samples().batches(8)) == 1
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(before, alignment.model.get_weights(), strict=True))


def test_a_mean_that_has_moved_with_its_input_is_not_moved_again():
    """Least squares stores its intercepts in the moving means."""
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(inputs)))
    alignment = nets.alignment_of(randomise(keras.Model(inputs, nets.head(layers.Conv2D(4, 3)(x)))), octave=1)
    first = first_of_high_maps(alignment)
    convolution = next(unit.layer for unit in alignment.calls if unit.part == "octave")
    for variable in (convolution.high_bias, first.layer.moving_mean):
        variable.assign(np.array(variable) + 1.0)
    before = np.array(first.layer.moving_mean)
    renormalize(alignment, nets.samples().batches(8))
    assert np.allclose(first.layer.moving_mean, before, atol=1e-4)
