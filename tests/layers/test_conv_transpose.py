"""OctaveConv2DTranspose: its paths, the fold of its low kernel, costs, configuration and errors."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from octconvert.layers import OctaveConv2DTranspose
from octconvert.weights.transfer import fold_kernel

FOLDED = [
    case
    for case in itertools.product((1, 2, 3, 4, 5, 6, 7), (1, 2, 4), ("same", "valid"), (2, 4), (None, 1))
    # 'same' with an output padding has to end in the last stride
    if case[4] is None or (case[1] > 1 and (case[2] == "valid" or case[0] % 2 + 1 <= case[1]))
]


def spread(x, kernel, stride):
    """Transposed convolution without padding: every position adds its kernel to the output."""
    batch, rows, columns, _ = x.shape
    height, width, filters, _ = kernel.shape
    out = np.zeros((batch, (rows - 1) * stride + height, (columns - 1) * stride + width, filters))
    for i, j in itertools.product(range(rows), range(columns)):
        part = np.einsum("bc,hwfc->bhwf", x[:, i, j], kernel)
        out[:, i * stride : i * stride + height, j * stride : j * stride + width] += part
    return out


@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 2), (3, 1), (4, 2)])
def test_four_paths(kernel, stride):
    """'valid' and even sizes: what the low kernels give lies on the cells that the window's alignment tells."""
    rng = np.random.default_rng(0)
    high, low = rng.standard_normal((2, 6, 8, 3)), rng.standard_normal((2, 3, 4, 5))
    layer = OctaveConv2DTranspose(6, kernel, ratio_out=1 / 3, strides=stride, padding="valid")
    found = layer([high.astype("float32"), low.astype("float32")])
    weights = {path: np.array(getattr(layer, f"{path}_kernel")) for path in ("hh", "hl", "lh", "ll")}
    start = layer.window.alignment(0, None).first
    pooled = high.reshape(2, 3, 2, 4, 2, 3).mean((2, 4))
    rows, columns = found[1].shape[1:3]

    def cells(x, path):
        full = spread(x, weights[path], stride)
        before, after = max(start, 0), rows + columns
        full = np.pad(full, ((0, 0), (before, after), (before, after), (0, 0)))[:, max(-start, 0) :, max(-start, 0) :]
        return full[:, :rows, :columns]

    expected_low = cells(low, "ll") + cells(pooled, "hl")
    plain = spread(high, weights["hh"], stride)
    upsampled = cells(low, "lh").repeat(2, 1).repeat(2, 2)[:, : plain.shape[1], : plain.shape[2]]
    np.testing.assert_allclose(np.array(found[0]), plain + upsampled, atol=1e-5)
    np.testing.assert_allclose(np.array(found[1]), expected_low, atol=1e-5)


@pytest.mark.parametrize("kernel, stride, padding, octave, output_padding", FOLDED)
def test_folded_kernel_does_at_low_resolution_what_the_source_does(kernel, stride, padding, octave, output_padding):
    """pool(T(upsample(low))) is T with the folded kernel, away from the borders."""
    rng = np.random.default_rng(1)
    taps = rng.standard_normal((kernel, kernel, 1, 1)).astype("float32")
    options = {"strides": stride, "padding": padding, "output_padding": output_padding, "use_bias": False}
    layer = OctaveConv2DTranspose(2, kernel, octave=octave, ratio_out=0.5, **options)
    cells = 8
    low = rng.standard_normal((1, cells, cells, 1)).astype("float32")
    high = np.zeros((1, cells * octave, cells * octave, 1), "float32")
    layer.build([high.shape, low.shape])
    for name in ("hh", "hl", "lh"):
        getattr(layer, f"{name}_kernel").assign(np.zeros_like(taps))
    layer.ll_kernel.assign(fold_kernel(taps, layer.window, (None, None)))
    found = np.array(layer([high, low])[1])
    source = np.array(
        ops.conv_transpose(low.repeat(octave, 1).repeat(octave, 2), taps, stride, padding, output_padding)
    )
    size = found.shape[1]
    whole = np.zeros((1, size * octave, size * octave, 1))
    whole[:, : source.shape[1], : source.shape[2]] = source
    pooled = whole.reshape(1, size, octave, size, octave, 1).mean((2, 4))
    inside = slice(max(2, kernel) + 1, -max(2, kernel) - 1)
    if size > 2 * (max(2, kernel) + 1):
        np.testing.assert_allclose(found[:, inside, inside], pooled[:, inside, inside], atol=1e-5)


def test_parameters_macs_and_configuration():
    layer = OctaveConv2DTranspose(8, 3, strides=2, padding="same", output_padding=1)
    high, low = layer([keras.Input((6, 8, 4)), keras.Input((3, 4, 4))])
    plain = keras.layers.Conv2DTranspose(8, 3)
    plain.build((None, 6, 8, 8))
    assert layer.count_params() == plain.count_params()
    assert tuple(high.shape) == (None, 12, 16, 4) and tuple(low.shape) == (None, 6, 8, 4)
    assert layer.macs([(None, 6, 8, 4), (None, 3, 4, 4)]) == 9 * (48 * 16 + 12 * 48)
    assert OctaveConv2DTranspose.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_unknown_sizes_give_the_same_numbers(size):
    rng = np.random.default_rng(0)
    pair = [rng.standard_normal((2, *size, 3)), rng.standard_normal((2, -(-size[0] // 2), -(-size[1] // 2), 2))]
    pair = [part.astype("float32") for part in pair]
    layer = OctaveConv2DTranspose(6, 4, strides=2, padding="same")
    expected = layer(pair)
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 2))]
    found = keras.Model(inputs, layer(inputs))(pair)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="no groups"):
        OctaveConv2DTranspose(8, 3, groups=2)
    with pytest.raises(ValueError, match="padding"):
        OctaveConv2DTranspose(8, 3, padding=((1, 1), (1, 1)))
