"""Networks of signals, volumes and videos: the octave=1 oracle, saving, and what they cost at alpha one half."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, ends, example, largest_difference, reasons, run

import octconvert
from octconvert.calibration.data.generator import range_samples

SIZES, ODD_SIZES = {1: (48,), 3: (8, 12, 8)}, {1: (45,), 3: (7, 9, 10)}


def of(rank: int, name: str):
    return getattr(layers, f"{name}{rank}D")


def normalised(x, channels, rank, kernel=3, strides=1, padding="same"):
    x = of(rank, "Conv")(channels, kernel, strides=strides, padding=padding, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def resnet(rank, size, channels=8):
    """Of an ECG, or of a computed tomography: strides, projections, dropout between the convolutions."""
    inputs = Input((*size, 3))
    x = normalised(inputs, channels, rank, 7 if rank == 1 else 3, 2)
    x = of(rank, "MaxPooling")(3, 2, padding="same")(x)
    for width, strides in ((channels, 1), (2 * channels, 2), (2 * channels, 1)):
        y = layers.Dropout(0.2)(normalised(x, width, rank, 3, strides))
        y = layers.BatchNormalization()(of(rank, "Conv")(width, 3, padding="same")(y))
        if strides > 1:
            x = of(rank, "Conv")(width, 1, strides=strides)(x)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    return Model(inputs, layers.Dense(5)(of(rank, "GlobalAveragePooling")()(x)))


def unet(rank, size, channels=6):
    inputs = Input((*size, 2))
    x, skips = inputs, []
    for width in (channels, 2 * channels):
        x = normalised(normalised(x, width, rank), width, rank)
        skips.append(x)
        x = of(rank, "MaxPooling")(2)(x)
    x = layers.PReLU(shared_axes=list(range(1, rank + 1)))(of(rank, "Conv")(3 * channels, 3, padding="same")(x))
    for width, skip in zip((2 * channels, channels), reversed(skips), strict=True):
        x = layers.Concatenate()([skip, of(rank, "UpSampling")(2)(x)])
        x = of(rank, "SpatialDropout")(0.1)(normalised(x, width, rank))
    return Model(inputs, of(rank, "Conv")(3, 1)(x))


def plain_chain(rank, size):
    """As C3D: padding by a layer, 'valid' windows, average and global max pooling."""
    inputs = Input((*size, 3))
    x = of(rank, "ZeroPadding")(1)(inputs)
    x = of(rank, "Conv")(8, 3, activation="relu")(x)
    x = of(rank, "ZeroPadding")(1)(of(rank, "AveragePooling")(2)(x))
    x = of(rank, "Conv")(12, 3, activation="gelu")(x)
    x = of(rank, "Conv")(12, 3, padding="same", activation="relu")(x)
    return Model(inputs, layers.Dense(4)(of(rank, "GlobalMaxPooling")()(x)))


def factorised(rank, size):
    """As R(2+1)D: kernels of one position along some axes; dilated ones for signals (a TCN that is not causal)."""
    inputs = Input((*size, 3))
    x = inputs
    for width in (8, 12):
        if rank == 1:
            x = layers.Conv1D(width, 3, padding="same", dilation_rate=2, activation="relu")(x)
            x = layers.Conv1D(width, 1, activation="relu")(x)
        else:
            x = layers.Conv3D(width, (1, 3, 3), padding="same", activation="relu")(x)
            x = layers.Conv3D(width, (3, 1, 1), padding="same", activation="relu")(x)
    return Model(inputs, layers.Dense(4)(of(rank, "GlobalAveragePooling")()(x)))


def inception(rank, size):
    inputs = Input((*size, 3))
    x = normalised(inputs, 8, rank)
    branches = [normalised(x, 4, rank, 1), normalised(normalised(x, 4, rank, 1), 6, rank, 3)]
    branches.append(normalised(of(rank, "MaxPooling")(3, 1, padding="same")(x), 4, rank, 1))
    x = normalised(layers.Concatenate()(branches), 8, rank)
    return Model(inputs, layers.Dense(4)(of(rank, "GlobalAveragePooling")()(x)))


NETS = [resnet, unet, plain_chain, factorised, inception]
OCTAVE_MACS = {(resnet, 1): 0.66, (resnet, 3): 0.55, (unet, 1): 0.65, (unet, 3): 0.42}
"""Shares of the source's MACs at alpha one half, at most; these nets are narrow, and their stems count much."""


@pytest.mark.quick("1-resnet", "3-unet")
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_oracle(rank, make):
    model = make(rank, SIZES[rank])
    result = assert_oracle(model)
    assert not reasons(result) or make is unet, reasons(result)  # its last convolution writes the output
    share = result.report.after.macs / result.report.before.macs
    assert share <= OCTAVE_MACS.get((make, rank), 0.75)


@pytest.mark.quick("1-resnet")
@pytest.mark.parametrize("make", [resnet, plain_chain, factorised, inception], ids=lambda make: make.__name__)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_oracle_at_odd_sizes(rank, make):
    assert_oracle(make(rank, ODD_SIZES[rank]))


@pytest.mark.long
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_oracle_at_open_sizes(rank, make):
    model = make(rank, (None,) * rank)
    assert_oracle(model, inputs=example(model, 16 if rank == 1 else 8))


@pytest.mark.long
@pytest.mark.parametrize("make", [resnet, unet, inception], ids=lambda make: make.__name__)
def test_the_oracle_in_channels_first(make):
    keras.config.set_image_data_format("channels_first")
    try:
        assert_channels_first(make)
    finally:
        keras.config.set_image_data_format("channels_last")


def assert_channels_first(make):
    inputs = Input((3, 6, 8, 10))
    x = layers.Conv3D(6, 3, padding="same")(inputs)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.MaxPooling3D(2)(layers.ReLU()(x))
    y = layers.Conv3D(6, 3, padding="same", activation="relu")(x)
    x = layers.Concatenate(axis=1)([x, y]) if make is inception else layers.Add()([x, y])
    x = layers.UpSampling3D(2)(x) if make is unet else x
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(8, 3, padding="same")(x))
    assert_oracle(Model(inputs, layers.Dense(4)(x)), converted=3)


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_it_is_saved_and_loaded(rank, tmp_path):
    model = resnet(rank, SIZES[rank])
    result = octconvert.convert(model, calibration=False, min_size=1, output=tmp_path / "m.keras")
    inputs = example(model)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert largest_difference(run(result.model, inputs), run(loaded, inputs)) <= 1e-6
    assert all(check.passed for check in result.report.checks)


def test_what_is_left_out_is_said():
    whole = octconvert.convert(resnet(3, (None,) * 3), min_size=1, calibration=False, alpha=1.0, strict=False)
    assert "whole-low, and what its rows" in repr((reasons(whole), ends(whole)))


@pytest.mark.parametrize("rank", [1, 3])
def test_samples_for_ranges_have_the_shape_of_the_input(rank):
    """As 8-bit exports need them."""
    (samples,) = range_samples(unet(rank, SIZES[rank]), "int8")
    assert samples.shape[1:] == (*SIZES[rank], 2) and np.isfinite(samples).all()
