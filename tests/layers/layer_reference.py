"""Numpy references for the layer tests, channels last, double precision. Nothing in here comes from octconvert."""

import numpy as np


def ceil_div(a, b):
    return -(-a // b)


def same_pads(size, kernel, stride=1, dilation=1):
    """TensorFlow's 'same' padding of one axis."""
    missing = max((ceil_div(size, stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return missing // 2, missing - missing // 2


def pads_of(padding, shape, kernel, stride=1, dilation=1):
    """(before, after) along each axis of a padding for a map with these sizes."""
    if padding == "valid":
        return ((0, 0),) * len(shape)
    if padding == "same":
        return tuple(same_pads(size, kernel, stride, dilation) for size in shape)
    return padding


def conv(x, kernel, stride=1, pads=None, dilation=1, groups=1):
    """Plain convolution of any rank: zeros around, one product a tap. Negative pads crop."""
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    axes = range(1, x.ndim - 1)
    for axis, (before, after) in zip(axes, pads or [(0, 0)] * len(axes), strict=True):
        x = np.take(x, range(max(-before, 0), x.shape[axis] - max(-after, 0)), axis)
        amounts = [(0, 0)] * x.ndim
        amounts[axis] = (max(before, 0), max(after, 0))
        x = np.pad(x, amounts)
    sizes, filters = kernel.shape[:-2], kernel.shape[-1]
    out = [(x.shape[axis] - (size - 1) * dilation - 1) // stride + 1 for axis, size in zip(axes, sizes, strict=True)]
    blocks = []
    for part, taps in zip(np.split(x, groups, -1), np.split(kernel, groups, -1), strict=True):
        total = np.zeros((len(x), *out, filters // groups))
        for tap in np.ndindex(*sizes):
            starts = [place * dilation for place in tap]
            cuts = [slice(a, a + (n - 1) * stride + 1, stride) for a, n in zip(starts, out, strict=True)]
            total += part[:, *cuts] @ taps[tap]
        blocks.append(total)
    return np.concatenate(blocks, -1)


def pool(x, octave):
    """Mean of blocks that start at multiples of octave along each axis; partial blocks average what they have."""
    x = np.asarray(x, "float64")
    for axis in range(1, x.ndim - 1):
        cells = range(0, x.shape[axis], octave)
        parts = [np.take(x, range(i, min(i + octave, x.shape[axis])), axis).mean(axis, keepdims=True) for i in cells]
        x = np.concatenate(parts, axis)
    return x


def upsample(x, octave, like):
    """Nearest neighbour, cut at the end to the sizes of ``like``."""
    x = np.asarray(x, "float64")
    for axis in range(1, x.ndim - 1):
        x = np.take(x.repeat(octave, axis), range(like.shape[axis]), axis)
    return x


def maps_of(*sizes, high=3, low=2, octave=2, batch=2, seed=0):
    """A random pair whose sizes fit together, of any rank."""
    generator = np.random.default_rng(seed)
    shapes = (*sizes, high), (*(ceil_div(size, octave) for size in sizes), low)
    return [generator.normal(size=(batch, *shape)).astype("float32") for shape in shapes]


def maps(rows, columns, high=3, low=2, octave=2, batch=2, seed=0):
    """`maps_of` images."""
    return maps_of(rows, columns, high=high, low=low, octave=octave, batch=batch, seed=seed)


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
