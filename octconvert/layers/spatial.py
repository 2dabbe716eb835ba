"""The spatial side of octave layers on real tensors: pool down, sample up, pad and crop, for known and unknown sizes.

The number of spatial axes is the rank: 1 for signals, 2 for images, 3 for volumes and videos. Sizes are Python
integers where they are known and scalar tensors where they are not (``None`` in the static shape); the arithmetic is
written once for both. Nothing in here owns a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from octconvert.layers.tensors import Tensor
from octconvert.layers.window import TransposedWindow, Window, is_same, known, pools_by_two, repeats_ends
from octconvert.octave.geometry import Octave, Size, ceil_div, factors

MOST_BROADCAST = 2
"""Axes along which TensorFlow repeats one of two terms at once, with others between them."""


def rank_of(x: Tensor) -> int:
    """Number of spatial axes of a map."""
    return len(x.shape) - 2


def spatial_axes(data_format: str, rank: int = 2) -> tuple[int, ...]:
    """Axes of the positions in a tensor: rows and columns of a 4-D one."""
    first = 1 if data_format == "channels_last" else 2
    return tuple(range(first, first + rank))


def channel_axis(data_format: str, rank: int = 2) -> int:
    """Axis of the channels in a tensor."""
    return rank + 1 if data_format == "channels_last" else 1


def sizes(x: Tensor, data_format: str) -> tuple[Size, ...]:
    """Of ``x`` along its spatial axes, (rows, columns) for images: integers where known, scalar tensors where not."""
    shape = ops.shape(x)
    return tuple(shape[axis] for axis in spatial_axes(data_format, rank_of(x)))


def _cut(x: Tensor, cuts: Mapping[int, slice]) -> Tensor:
    """The part of ``x`` within some slices, by axis."""
    return x[tuple(cuts.get(axis, slice(None)) for axis in range(len(x.shape)))]


def pool_octave(x: Tensor, octave: Octave, data_format: str, causal: bool = False) -> Tensor:
    """Average blocks of ``octave`` positions along each axis; the last, partial block averages what it has.

    ``causal``: the blocks end at positions 0, ``octave``, 2 * ``octave`` ...: the first is the partial one.

    Keras' own 'same' would centre the blocks for octave > 2, so unknown and odd sizes are halved step by step, which
    keeps cell ``i`` on positions ``octave * i`` and up. (A last block of three at octave 4 is thus the average of a
    pair's average and of the odd one.)
    """
    blocks = factors(octave, rank_of(x))
    if max(blocks, default=1) == 1:
        return x
    if causal:  # copies of the first position: the first block averages that alone
        for axis, block in enumerate(blocks):
            x = _repeat_ends(x, axis, (block - 1, 0), data_format)
        return ops.average_pool(x, blocks, blocks, "valid", data_format)
    have = sizes(x, data_format)
    if known(*have) and all(size % block == 0 for size, block in zip(have, blocks, strict=True)):
        return ops.average_pool(x, blocks, blocks, "valid", data_format)
    while max(blocks) > 1:
        halves = tuple(min(block, 2) for block in blocks)
        x = ops.average_pool(x, halves, halves, "same", data_format)
        blocks = tuple(max(block // 2, 1) for block in blocks)
    return x


def crop_to(x: Tensor, size: Sequence[Size], data_format: str) -> Tensor:
    """Cut the end of ``x`` so that it has this size."""
    have = sizes(x, data_format)
    if known(*size, *have) and tuple(size) == have:
        return x
    return _cut(x, dict(zip(spatial_axes(data_format, rank_of(x)), map(slice, size), strict=True)))


def upsample(x: Tensor, octave: Octave, data_format: str) -> Tensor:
    """Nearest-neighbour upsampling by ``octave``."""
    rank = rank_of(x)
    for axis, factor in zip(spatial_axes(data_format, rank), factors(octave, rank), strict=True):
        if factor > 1:
            x = ops.repeat(x, factor, axis=axis)
    return x


def upsample_to(x: Tensor, octave: Octave, size: Sequence[Size], data_format: str) -> Tensor:
    """Nearest-neighbour upsampling by ``octave``, cut at the end to ``size``."""
    return crop_to(upsample(x, octave, data_format), size, data_format)


def add_upsampled(high: Tensor, low: Tensor, octave: Octave, data_format: str) -> Tensor:
    """``high + upsample(low)``, cropped to ``high``; without an upsampled tensor where the sizes are known and even."""
    rank = rank_of(high)
    blocks = factors(octave, rank)
    if max(blocks, default=1) == 1:
        return high + low
    size = tuple(high.shape[axis] for axis in spatial_axes(data_format, rank))
    if not known(*size) or any(length % block for length, block in zip(size, blocks, strict=True)):
        return high + upsample_to(low, octave, sizes(high, data_format), data_format)
    if sum(block > 1 for block in blocks) > MOST_BROADCAST:
        axis = spatial_axes(data_format, rank)[0]
        low, blocks = ops.repeat(low, blocks[0], axis=axis), (1, *blocks[1:])
    channels = high.shape[channel_axis(data_format, rank)]
    of_high, of_low = list[int](), list[int]()
    for length, block in zip(size, blocks, strict=True):
        of_high += [length // block, block] if block > 1 else [length]
        of_low += [length // block, 1] if block > 1 else [length]
    total = ops.reshape(high, _shape(of_high, channels, data_format)) + ops.reshape(
        low, _shape(of_low, channels, data_format)
    )
    return ops.reshape(total, _shape(size, channels, data_format))


def _shape(lengths: Sequence[int], channels: int, data_format: str) -> tuple[int, ...]:
    """Of any number of maps with these lengths along the axes between batch and channels."""
    return (-1, *lengths, channels) if data_format == "channels_last" else (-1, channels, *lengths)


def prepare_low(
    x: Tensor,
    high_sizes: Sequence[Size],
    window: Window,
    data_format: str,
    value: float = 0.0,
    allow_same: bool = True,
) -> tuple[Tensor, str]:
    """Pad, crop and prefilter a low map so that a plain 'valid' window returns exactly the low output.

    Args:
        x: low map, ``ceil(high / octave)`` cells along each axis.
        high_sizes: of the high map it belongs to; integers or scalar tensors.
        window: the source's operation.
        data_format: of ``x``.
        value: what to pad with.
        allow_same: whether the operation's own 'same' padding may replace explicit zeros.

    Returns:
        (prepared map, padding): the padding, 'same' or 'valid', that the window operation is to use.
    """
    alignments = [window.alignment(i, size if known(size) else None) for i, size in enumerate(high_sizes)]
    if all(pools_by_two(a, window) for a in alignments):
        return ops.average_pool(x, 2, 1, "same", data_format), "valid"
    cells = sizes(x, data_format)
    if known(*high_sizes, *cells):
        pads = [a.padding(cells[i], window.low_outputs(i, high_sizes[i])) for i, a in enumerate(alignments)]
        if allow_same and all(is_same(a, cells[i], pads[i]) for i, a in enumerate(alignments)):
            return x, "same"
        for i, a in enumerate(alignments):
            if repeats_ends(a, window):
                x = _repeat_ends(x, i, pads[i], data_format)
                pads[i] = (min(pads[i][0], 0), min(pads[i][1], 0))
        x = pad_or_crop(x, pads, data_format, value)
        filters = [a.prefilter for a in alignments]
    else:
        filters = []
        for i, size in enumerate(high_sizes):
            x, weights = _fit_unknown(x, i, size, window, data_format, value)
            filters.append(weights)
    for i, weights in enumerate(filters):
        x = _prefilter(x, i, weights, data_format)
    return x, "valid"


def pad_or_crop(x: Tensor, pads: Sequence[tuple[int, int]], data_format: str, value: float = 0.0) -> Tensor:
    """Pad with ``value`` (negative amounts: crop) by (before, after) along each spatial axis."""
    amounts, cuts = [[0, 0] for _ in x.shape], dict[int, slice]()
    for axis, (before, after) in zip(spatial_axes(data_format, rank_of(x)), pads, strict=True):
        amounts[axis] = [max(before, 0), max(after, 0)]
        if min(before, after) < 0:
            cuts[axis] = slice(max(-before, 0), -max(-after, 0) or None)
    if cuts:
        x = _cut(x, cuts)
    return ops.pad(x, amounts, constant_values=value) if any(map(any, amounts)) else x


def _repeat_ends(x: Tensor, axis: int, counts: tuple[int, int], data_format: str) -> Tensor:
    """Add copies of what is first and last along a spatial axis, so many before and after."""
    if max(counts) <= 0:
        return x
    dimension = spatial_axes(data_format, rank_of(x))[axis]
    first, last = (_cut(x, {dimension: end}) for end in (slice(0, 1), slice(-1, None)))
    return ops.concatenate([*[first] * counts[0], x, *[last] * counts[1]], axis=dimension)


def _fit_unknown(
    x: Tensor, axis: int, size: Size, window: Window, data_format: str, value: float
) -> tuple[Tensor, tuple[Any, ...]]:
    """Pad by the most that can be needed along one axis, then cut out what the sizes of this run need.

    Returns:
        (map, weights of the fixed filter): the weights are numbers, or tensors where they depend on the run's size.
    """
    variants = window.variants(axis, size)
    widest = max(len(a.prefilter) for a in variants)
    table = [[*a.prefilter, *[0.0] * (widest - len(a.prefilter))] for a in variants]
    first, weights, a = variants[0].first, tuple(table[0]), variants[0]
    if len(variants) > 1:
        kernel, stride, dilation = window.kernel[axis], window.strides[axis], window.dilation[axis]
        missing = (ceil_div(size, stride) - 1) * stride + (kernel - 1) * dilation + 1 - size
        before = ops.maximum(missing, 0) // 2
        first = ops.take(ops.convert_to_tensor([v.first for v in variants], dtype="int32"), before)
        if any(row != table[0] for row in table):
            columns = zip(*table, strict=True)
            weights = tuple(ops.take(ops.convert_to_tensor(column, dtype=x.dtype), before) for column in columns)
    span = (a.kernel - 1) * a.dilation + widest
    front = max(0, *(-v.first for v in variants))
    repeated = (front, widest - 1) if repeats_ends(a, window) else (0, 0)
    x = _repeat_ends(x, axis, repeated, data_format)
    reach = span + 2 * a.stride + window.kernel[axis] * window.dilation[axis]
    if not isinstance(window.padding, str):
        reach += max(window.padding[axis][1], 0)
    back = max(0, *(v.first for v in variants)) + reach
    pads = [(0, 0)] * rank_of(x)
    pads[axis] = (front - repeated[0], back)
    x = pad_or_crop(x, pads, data_format, value)
    length = a.stride * (window.low_outputs(axis, size) - 1) + span
    dimension = spatial_axes(data_format, rank_of(x))[axis]
    return _cut(x, {dimension: slice(front + first, front + first + length)}), weights


def _prefilter(x: Tensor, axis: int, weights: Sequence[Any], data_format: str) -> Tensor:
    """The fixed averaging filter of an `Alignment`, as a weighted sum of shifted maps."""
    if len(weights) == 1:
        return x
    dimension = spatial_axes(data_format, rank_of(x))[axis]
    total, last = None, len(weights) - 1
    for shift, weight in enumerate(weights):
        if isinstance(weight, float) and weight == 0.0:
            continue
        part = _cut(x, {dimension: slice(shift, shift - last or None)}) * weight
        total = part if total is None else total + part
    return total


def fit_transposed(
    x: Tensor,
    high_sizes: Sequence[Size],
    window: TransposedWindow,
    data_format: str,
    reach: Sequence[int] | None = None,
) -> Tensor:
    """Cut the full ('valid') transposed convolution of a low map to the cells of the low output.

    Args:
        x: what a transposed convolution with the low kernel, the window's strides and no padding returned.
        high_sizes: of the high map that the low map belongs to; integers or scalar tensors.
        window: the source's operation.
        data_format: of ``x``.
        reach: further cells that are kept at the end of each axis, for a window that has yet to move over the map.
    """
    for i, size in enumerate(high_sizes):
        a = window.alignment(i, None)
        extra, outputs = len(a.prefilter) - 1, window.low_outputs(i, size) + (reach[i] if reach else 0)
        length, front = outputs + extra, a.first + extra
        have = sizes(x, data_format)[i]
        back = length - have - front if known(length, have) else a.span + 2 * a.stride + window.factor(i)
        pads = [(0, 0)] * rank_of(x)
        pads[i] = (front, max(back, 0))
        x = pad_or_crop(x, pads, data_format)
        dimension = spatial_axes(data_format, rank_of(x))[i]
        x = _prefilter(_cut(x, {dimension: slice(0, length)}), i, a.prefilter[::-1], data_format)
    return x
