"""Synthetic signals and volumes, and the range that they are generated in."""

import keras
import numpy as np
import pytest
from keras import layers

from octconvert.calibration.data.generator import generator_of
from octconvert.calibration.data.input_range import find_range
from octconvert.calibration.data.nearest import synthetic_supply
from octconvert.calibration.data.signals import signals
from octconvert.calibration.data.volumes import volumes
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions

CONV = {1: layers.Conv1D, 3: layers.Conv3D}
SIZES = {1: (40,), 3: (8, 10, 12)}


def graph_of(*before, rank, size=None, channels=2, data_format="channels_last"):
    size = SIZES[rank] if size is None else size
    inputs = x = keras.Input((*size, channels) if data_format == "channels_last" else (channels, *size))
    for layer in (*before, CONV[rank](4, 3, padding="same", data_format=data_format)):
        x = layer(x)
    return build_graph(keras.Model(inputs, x))


def test_signals_have_a_falling_spectrum_and_the_usual_mean_and_deviation():
    x = signals(512, 256, 2, seed=1)
    assert x.shape == (512, 256, 2) and x.dtype == "float32"
    assert np.allclose(x.mean(axis=(0, 1)), 0.45, atol=0.03) and np.allclose(x.std(axis=(0, 1)), 0.25, atol=0.05)
    spectrum = np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1)) ** 2
    power = spectrum.mean(axis=(0, 2))[1:100]
    slope = np.polyfit(np.log(np.arange(1, 100)), np.log(power), 1)[0]
    assert -3.0 < slope < -1.0
    centred = x - x.mean(axis=1, keepdims=True)
    together = (centred[..., 0] * centred[..., 1]).mean(axis=1) / centred.std(axis=1).prod(axis=1)
    assert np.median(abs(together)) > 0.3  # the channels of one signal have something in common
    kurtosis = (centred**4).mean(axis=1) / np.square((centred**2).mean(axis=1))
    assert kurtosis.max() > 6  # bursts


def test_volumes_are_smooth_along_every_axis():
    x = volumes(96, 12, 16, 20, 2, seed=1)
    assert x.shape == (96, 12, 16, 20, 2) and x.dtype == "float32" and x.min() >= 0 and x.max() <= 1
    assert abs(x.mean() - 0.45) < 0.04 and abs(x.std() - 0.25) < 0.03
    apart = np.abs(x - x[::-1]).mean()
    steps = [np.abs(np.diff(x, axis=axis)).mean() for axis in (1, 2, 3)]
    assert max(steps) < 0.5 * apart and min(steps) > 0.02 * apart
    assert 0.4 < steps[0] / steps[1] < 2.5


@pytest.mark.parametrize("shape", [(3, 1, 2), (2, 7, 1), (0, 16, 3)])
def test_signals_come_in_any_shape(shape):
    assert signals(*shape).shape == shape and np.isfinite(signals(*shape)).all()


@pytest.mark.parametrize("shape", [(2, 1, 1, 1, 1), (1, 3, 9, 2, 5), (0, 4, 4, 4, 1)])
def test_volumes_come_in_any_shape(shape):
    assert volumes(*shape).shape == shape and np.isfinite(volumes(*shape)).all()


@pytest.mark.parametrize("make", [lambda seed: signals(3, 50, 2, seed), lambda seed: volumes(2, 4, 8, 8, 1, seed)])
def test_they_follow_the_seed(make):
    assert (make(1) == make(1)).all() and abs(make(1) - make(2)).mean() > 0.05


@pytest.mark.parametrize("rank", [1, 3])
def test_a_supply_has_the_shape_and_range_asked_for(rank):
    supply = synthetic_supply(graph_of(rank=rank), CalibrationOptions(input_range=(-3.0, 5.0)), 40, 5)
    (x,) = supply.fit.arrays
    assert x.shape == (40, *SIZES[rank], 2) and supply.held_out.arrays[0].shape == (5, *SIZES[rank], 2)
    assert x.min() >= -3 and x.max() <= 5 and x.std() > 0.7 and abs(x.mean() - 1) < 1
    assert supply.images and {1: "40 synthetic signals", 3: "40 synthetic volumes"}[rank] == supply.label


def test_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        supply = synthetic_supply(graph_of(rank=3, data_format="channels_first"), CalibrationOptions(), 6, 2)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert supply.fit.arrays[0].shape == (6, 2, *SIZES[3])


@pytest.mark.parametrize(
    "size, expected", [((None,), (1024,)), ((None, None, None), (16, 16, 16)), ((None, 12, 12), (16, 12, 12))]
)
def test_open_sizes(size, expected):
    """Volumes of more than 16 positions a side take gigabytes."""
    generator = generator_of(graph_of(rank=len(size), size=size), CalibrationOptions())
    assert generator.make(2, 0).arrays[0].shape == (2, *expected, 2)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_range_is_read_from_normalisations(rank):
    norm = layers.Normalization(mean=[20.0, 30.0], variance=[16.0, 4.0])
    found = find_range(graph_of(norm, rank=rank))
    assert found.known and "mean 20/30 and deviation 4/2" in found.how
    first = layers.BatchNormalization()
    graph = graph_of(first, rank=rank)
    first.moving_mean.assign([20.0, 30.0])
    first.moving_variance.assign([16.0, 4.0])
    assert "mean 20/30 and deviation 4/2" in find_range(graph).how
    assert not find_range(graph_of(rank=rank)).known


def test_videos_are_in_bytes_and_sound_in_integers_where_it_is_rescaled():
    assert find_range(graph_of(layers.Rescaling(1 / 255), rank=3)).scale == (255.0,) * 2
    assert "sound in -32768..32767" in find_range(graph_of(layers.Rescaling(1 / 32768), rank=1)).how


@pytest.mark.parametrize("rank", [1, 3])
def test_the_range_is_fitted_to_the_first_convolution(rank):
    """A net that was trained on values of another mean and deviation."""
    make = signals if rank == 1 else volumes
    size = (128,) if rank == 1 else (8, 16, 16)
    inputs = keras.Input((*size, 1))
    x = CONV[rank](12, 3, padding="same", use_bias=False)(inputs)
    norm = layers.BatchNormalization(momentum=0.0)
    model = keras.Model(inputs, CONV[rank](4, 3)(layers.ReLU()(norm(x))))
    values = (make(64, *size, 1, seed=4) - 0.45) / 0.25 * 7 + 3
    model(values, training=True)
    found = find_range(build_graph(model))
    assert found.known and 0.5 < found.scale[0] * 0.25 / 7 < 2
