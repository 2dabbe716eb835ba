"""Numpy references for the layer tests, channels last, double precision. Nothing in here comes from octconvert."""

import numpy as np


def ceil_div(a, b):
    return -(-a // b)


def same_pads(size, kernel, stride=1, dilation=1):
    """TensorFlow's 'same' padding of one axis."""
    missing = max((ceil_div(size, stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return missing // 2, missing - missing // 2


def pads_of(padding, shape, kernel, stride=1, dilation=1):
    """((top, bottom), (left, right)) of a padding for a map of ``shape`` (rows, columns)."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        return tuple(same_pads(size, kernel, stride, dilation) for size in shape)
    return padding


def conv(x, kernel, stride=1, pads=((0, 0), (0, 0)), dilation=1, groups=1):
    """Plain convolution: zeros around, one product a tap. Negative pads crop."""
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    for axis, (before, after) in enumerate(pads, start=1):
        x = np.take(x, range(max(-before, 0), x.shape[axis] - max(-after, 0)), axis)
        amounts = [(0, 0)] * 4
        amounts[axis] = (max(before, 0), max(after, 0))
        x = np.pad(x, amounts)
    rows, columns, _, filters = kernel.shape
    out = [(x.shape[1 + i] - (kernel.shape[i] - 1) * dilation - 1) // stride + 1 for i in (0, 1)]
    blocks = []
    for part, taps in zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True):
        total = np.zeros((len(x), *out, filters // groups))
        for i in range(rows):
            for j in range(columns):
                cut_rows = slice(i * dilation, i * dilation + (out[0] - 1) * stride + 1, stride)
                cut_columns = slice(j * dilation, j * dilation + (out[1] - 1) * stride + 1, stride)
                total += part[:, cut_rows, cut_columns] @ taps[i, j]
        blocks.append(total)
    return np.concatenate(blocks, -1)


def pool(x, octave):
    """Mean of octave x octave blocks that start at multiples of octave; partial blocks average what they have."""
    x = np.asarray(x, "float64")
    for axis in (1, 2):
        cells = range(0, x.shape[axis], octave)
        parts = [np.take(x, range(i, min(i + octave, x.shape[axis])), axis).mean(axis, keepdims=True) for i in cells]
        x = np.concatenate(parts, axis)
    return x


def upsample(x, octave, like):
    """Nearest neighbour, cut at the end to the rows and columns of ``like``."""
    x = np.asarray(x, "float64").repeat(octave, 1).repeat(octave, 2)
    return x[:, : like.shape[1], : like.shape[2]]


def maps(rows, columns, high=3, low=2, octave=2, batch=2, seed=0):
    """A random pair whose sizes fit together."""
    generator = np.random.default_rng(seed)
    sizes = (rows, columns, high), (ceil_div(rows, octave), ceil_div(columns, octave), low)
    return [generator.normal(size=(batch, *size)).astype("float32") for size in sizes]


def first(x):
    """Channels first."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, 1))


def randomise(layer, seed=0):
    """Random values for every weight of a layer or model (biases start at zero otherwise)."""
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def close(actual, expected, tolerance=1e-5):
    """Largest difference relative to the largest expected value."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape
    assert actual.size, "nothing to compare"
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
