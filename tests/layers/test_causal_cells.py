"""Layers of causal signals: what a low cell covers, and that no output reads a later input than the plain layer's."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from layer_reference import close, randomise

from octconvert.layers import (
    OctaveConv1D,
    OctaveConv1DTranspose,
    OctaveDepthwiseConv1D,
    OctavePooling1D,
    octave_dual,
)
from octconvert.layers.kernels import fold_kernel
from octconvert.layers.spatial import pool_octave, prepare_low
from octconvert.layers.window import Window

OCTAVES = [2, 4]


def signal(steps, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(1, steps, channels)).astype("float32")


@pytest.mark.parametrize("octave", OCTAVES)
@pytest.mark.parametrize("steps", [16, 13])
def test_a_cell_averages_the_positions_up_to_its_own(steps, octave):
    x = signal(steps)
    cells = np.asarray(pool_octave(ops.convert_to_tensor(x), octave, "channels_last", causal=True))
    assert cells.shape[1] == -(-steps // octave)
    for i in range(cells.shape[1]):
        positions = np.maximum(np.arange(octave * i - octave + 1, octave * i + 1), 0)
        close(cells[:, i], x[:, positions].mean(axis=1))


@pytest.mark.parametrize("octave", OCTAVES)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(2, 1, 1), (3, 1, 1), (3, 1, 8), (2, 1, 16), (1, 2, 1), (3, 2, 1), (2, 4, 1)]
)
def test_a_folded_kernel_is_exact_where_cells_are_constant(kernel, stride, dilation, octave):
    """The mean of the source's outputs over a cell is the low output, away from the start."""
    if dilation % octave and dilation > 1:
        return
    steps, before = 96, (kernel - 1) * dilation
    window = Window((kernel,), (stride,), (dilation,), ((before, 0),) if before else "valid", octave, causal=True)
    cells, weights = signal(steps // octave), signal(kernel, 12, 1).reshape(kernel, 3, 4)
    x = cells[:, -(-np.arange(steps - octave + 1) // octave)]  # position t lies in cell ceil(t / octave)
    source = layers.Conv1D(4, kernel, stride, "causal", dilation_rate=dilation, use_bias=False)
    source.build(x.shape)
    source.kernel.assign(weights)
    expected = pool_octave(source(x), octave, "channels_last", causal=True)
    low, padding = prepare_low(ops.convert_to_tensor(cells), (steps - octave + 1,), window, "channels_last")
    folded = fold_kernel(weights, window, (steps,))
    actual = ops.conv(low, folded, stride, padding, dilation_rate=window.alignment(0, steps).dilation)
    start = -(-before // octave) + 1
    close(actual[:, start : expected.shape[1]], expected[:, start:])


@pytest.mark.parametrize("octave", OCTAVES)
@pytest.mark.parametrize(
    "make",
    [
        lambda plain, **more: _conv(plain, kernel_size=2, **more),
        lambda plain, **more: _conv(plain, kernel_size=3, dilation_rate=8, **more),
        lambda plain, **more: _conv(plain, kernel_size=3, dilation_rate=3, **more),
        lambda plain, **more: _conv(plain, kernel_size=3, strides=2, **more),
        lambda plain, **more: _conv(plain, kernel_size=1, strides=4, **more),
        lambda plain, **more: _conv(plain, "same", kernel_size=3, **more),
        lambda plain, **more: _conv(plain, "valid", kernel_size=5, strides=2, **more),
        lambda plain, **more: _transposed(plain, "same", kernel_size=4, strides=2, **more),
        lambda plain, **more: _transposed(plain, "valid", kernel_size=3, strides=2, **more),
        lambda plain, **more: _depthwise(plain, **more),
        lambda plain, **more: _pooling(plain, "max", "valid", **more),
        lambda plain, **more: _pooling(plain, "mean", "same", **more),
    ],
)
def test_no_output_reads_a_later_input_than_the_plain_layer_does(make, octave):
    steps = 29
    plain, pair = make(True), make(False, octave=octave, causal=True)
    x = np.repeat(signal(steps, 8), steps, axis=0)
    for place in range(1, steps):  # sample 0 stays as it is
        x[place, place:] += 10.0

    def low_of(x):
        return np.asarray(pool_octave(ops.convert_to_tensor(x[..., 4:]), octave, "channels_last", causal=True))

    def outputs(x):
        high, low = (np.asarray(part) for part in pair([x[..., :4], low_of(x)]))
        return high, np.repeat(low, octave, axis=1)[:, : high.shape[1]]

    outputs(x), plain(x)
    for layer in (plain, pair):
        randomise(layer)
        for weight in layer.weights:  # a maximum or a rectifier must not hide anything
            weight.assign(ops.abs(weight) + 0.1)
    earliest = _first_differences(np.asarray(plain(x)))
    for part in outputs(x):
        assert (_first_differences(part) >= earliest).all()


def _first_differences(outputs):
    """Of each sample the first position that differs from sample 0."""
    differ = (outputs != outputs[:1]).any(axis=2)
    return np.where(differ.any(axis=1), differ.argmax(axis=1), outputs.shape[1])


def _conv(plain, padding="causal", **options):
    return (layers.Conv1D if plain else OctaveConv1D)(8, padding=padding, **options)


def _transposed(plain, padding, **options):
    return (layers.Conv1DTranspose if plain else OctaveConv1DTranspose)(8, padding=padding, **options)


def _depthwise(plain, **options):
    if plain:
        return layers.Conv1D(8, 3, groups=8, padding="causal", dilation_rate=2)
    return OctaveDepthwiseConv1D(3, padding="causal", dilation_rate=2, **options)


def _pooling(plain, mode, padding, **options):
    if plain:
        return (layers.MaxPooling1D if mode == "max" else layers.AveragePooling1D)(2, padding=padding)
    return OctavePooling1D(mode, 2, padding=padding, **options)


def test_built_by_hand_and_saved(tmp_path):
    inputs = keras.Input((None, 3))
    x = inputs
    for dilation in (1, 2, 4):
        x = OctaveConv1D(8, 2, padding="causal", dilation_rate=dilation, activation="relu")(x)
    pair = octave_dual(x, layers.BatchNormalization())
    model = keras.Model(inputs, OctaveConv1D(4, 1, padding="causal", ratio_out=0.0)(pair))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = signal(21)
    changed = x.copy()
    changed[:, 11:] = 5.0
    close(loaded(x), model(x))
    assert np.array_equal(np.asarray(model(x))[:, :11], np.asarray(model(changed))[:, :11])
