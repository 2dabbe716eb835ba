"""The spatial side of octave layers on real tensors: pool down, sample up, pad and crop, for known and unknown sizes.

Sizes are Python integers where they are known and scalar tensors where they are not (``None`` in the static shape); the
arithmetic is written once for both. Nothing in here owns a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from octconvert.layers.tensors import Tensor
from octconvert.octave.geometry import Alignment, Padding, Size, align, ceil_div, output_size, same_padding


def spatial_axes(data_format: str) -> tuple[int, int]:
    """Axes of rows and columns in a 4-D tensor."""
    return (1, 2) if data_format == "channels_last" else (2, 3)


def channel_axis(data_format: str) -> int:
    """Axis of the channels in a 4-D tensor."""
    return 3 if data_format == "channels_last" else 1


def sizes(x: Tensor, data_format: str) -> tuple[Size, Size]:
    """(rows, columns) of ``x``: integers where known, scalar tensors where not."""
    shape = ops.shape(x)
    rows, columns = spatial_axes(data_format)
    return shape[rows], shape[columns]


def _known(*values: Size) -> bool:
    return all(isinstance(value, int) for value in values)


def pool_octave(x: Tensor, octave: int, data_format: str) -> Tensor:
    """Average ``octave x octave`` blocks; the last, partial block of an odd size averages what it has.

    Keras' own 'same' would centre the blocks for octave > 2, so unknown and odd sizes are halved step by step, which
    keeps cell ``i`` on positions ``octave * i`` and up. (A last block of three at octave 4 is thus the average of a
    pair's average and of the odd one.)
    """
    if octave == 1:
        return x
    rows, columns = sizes(x, data_format)
    if _known(rows, columns) and rows % octave == 0 and columns % octave == 0:
        return ops.average_pool(x, octave, octave, "valid", data_format)
    while octave > 1:
        x = ops.average_pool(x, 2, 2, "same", data_format)
        octave //= 2
    return x


def crop_to(x: Tensor, size: tuple[Size, Size], data_format: str) -> Tensor:
    """Cut the end of ``x`` so that it has these rows and columns."""
    rows, columns = size
    have = sizes(x, data_format)
    if _known(rows, columns, *have) and (rows, columns) == have:
        return x
    if data_format == "channels_last":
        return x[:, :rows, :columns, :]
    return x[:, :, :rows, :columns]


def upsample(x: Tensor, octave: int, data_format: str) -> Tensor:
    """Nearest-neighbour upsampling by ``octave``."""
    if octave == 1:
        return x
    for axis in spatial_axes(data_format):
        x = ops.repeat(x, octave, axis=axis)
    return x


def upsample_to(x: Tensor, octave: int, size: tuple[Size, Size], data_format: str) -> Tensor:
    """Nearest-neighbour upsampling by ``octave``, cut at the end to ``size`` (rows, columns)."""
    return crop_to(upsample(x, octave, data_format), size, data_format)


def add_upsampled(high: Tensor, low: Tensor, octave: int, data_format: str) -> Tensor:
    """``high + upsample(low)``, cropped to ``high``; without an upsampled tensor where the sizes are known and even."""
    if octave == 1:
        return high + low
    rows, columns = high.shape[spatial_axes(data_format)[0]], high.shape[spatial_axes(data_format)[1]]
    if not _known(rows, columns) or rows % octave or columns % octave:
        return high + upsample_to(low, octave, sizes(high, data_format), data_format)
    r, c = rows // octave, columns // octave
    if data_format == "channels_last":
        channels = high.shape[-1]
        blocks = ops.reshape(high, (-1, r, octave, c, octave, channels))
        total = blocks + ops.reshape(low, (-1, r, 1, c, 1, channels))
        return ops.reshape(total, (-1, rows, columns, channels))
    channels = high.shape[1]
    blocks = ops.reshape(high, (-1, channels, r, octave, c, octave))
    total = blocks + ops.reshape(low, (-1, channels, r, 1, c, 1))
    return ops.reshape(total, (-1, channels, rows, columns))


@dataclass(frozen=True)
class Window:
    """A window operation of the source model over rows and columns (all tuples are (rows, columns)).

    ``padding`` is 'same', 'valid' or ((top, bottom), (left, right)); negative amounts crop.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    octave: int

    def _axis_padding(self, axis: int) -> str | tuple[int, int]:
        return self.padding if isinstance(self.padding, str) else self.padding[axis]

    def output(self, axis: int, size: Size) -> Any:
        """Positions of the source's output along ``axis`` for an input of ``size`` (an integer, a tensor or None)."""
        if size is None:
            return None
        return output_size(size, self.kernel[axis], self.strides[axis], self.dilation[axis], self._axis_padding(axis))

    def before(self, axis: int, size: int | None) -> int:
        """Zeros in front along ``axis``; an unknown size counts as a large one that the stride divides."""
        padding = self._axis_padding(axis)
        if padding == "valid":
            return 0
        if isinstance(padding, str):
            size = self.strides[axis] * 10_000 if size is None else size
            return same_padding(size, self.kernel[axis], self.strides[axis], self.dilation[axis])[0]
        return padding[0]

    def alignment(self, axis: int, size: int | None) -> Alignment:
        """Where the low window stands along ``axis`` when the source's input has ``size`` positions."""
        before = self.before(axis, size)
        return align(self.kernel[axis], self.strides[axis], self.dilation[axis], before, self.octave)

    def variants(self, axis: int, size: Size) -> list[Alignment]:
        """Every alignment that a run may need along ``axis``, by the zeros in front; one where ``size`` is known."""
        if _known(size) or self.padding != "same" or self.strides[axis] == 1:
            return [self.alignment(axis, size if _known(size) else None)]
        kernel, stride, dilation = self.kernel[axis], self.strides[axis], self.dilation[axis]
        most = (kernel - 1) * dilation // 2
        return [align(kernel, stride, dilation, before, self.octave) for before in range(most + 1)]

    def filtered(self, sizes: Iterable[Size]) -> bool:
        """Whether a low map of a high map of ``sizes`` may need a fixed filter in front of the window."""
        return any(a.prefilter != (1.0,) for axis, size in enumerate(sizes) for a in self.variants(axis, size))

    def low_outputs(self, axis: int, size: Size) -> Any:
        """Cells of the low output along ``axis``: ceil(output / octave)."""
        return ceil_div(self.output(axis, size), self.octave)

    def strided_blocks(self, sizes: Sequence[Size]) -> tuple[int, int] | None:
        """(rows, columns) of the blocks whose averages are all that the path from a high map to a low one reads.

        Of the cells that a 1x1 window with a stride needs, each is the average of ``stride`` cells of ``octave``
        positions. One pooling does both where the blocks fill the map; None where they do not, or for other windows.
        """
        if self.kernel != (1, 1) or self.strides == (1, 1) or not _known(*sizes):
            return None
        rows, columns = (self.octave * stride for stride in self.strides)
        for axis, (size, block, stride) in enumerate(zip(sizes, (rows, columns), self.strides, strict=True)):
            alignment = self.alignment(axis, size)
            averages = alignment.prefilter == (1 / stride,) * stride and reads_past_end(alignment, self)
            if not averages or size % block:
                return None
        return rows, columns


def prepare_low(
    x: Tensor,
    high_sizes: tuple[Size, Size],
    window: Window,
    data_format: str,
    value: float = 0.0,
    allow_same: bool = True,
) -> tuple[Tensor, str]:
    """Pad, crop and prefilter a low map so that a plain 'valid' window returns exactly the low output.

    Args:
        x: low map, 4-D, ``ceil(high / octave)`` rows and columns.
        high_sizes: (rows, columns) of the high map it belongs to; integers or scalar tensors.
        window: the source's operation.
        data_format: of ``x``.
        value: what to pad with.
        allow_same: whether the operation's own 'same' padding may replace explicit zeros.

    Returns:
        (prepared map, padding): the padding, 'same' or 'valid', that the window operation is to use.
    """
    alignments = [window.alignment(i, size if _known(size) else None) for i, size in enumerate(high_sizes)]
    if all(pools_by_two(a, window) for a in alignments):
        return ops.average_pool(x, 2, 1, "same", data_format), "valid"
    cells = sizes(x, data_format)
    if _known(*high_sizes, *cells):
        pads = [a.padding(cells[i], window.low_outputs(i, high_sizes[i])) for i, a in enumerate(alignments)]
        if allow_same and all(is_same(a, cells[i], pads[i]) for i, a in enumerate(alignments)):
            return x, "same"
        for i, a in enumerate(alignments):
            if reads_past_end(a, window):
                x = _repeat_end(x, i, pads[i][1], data_format)
                pads[i] = (pads[i][0], min(pads[i][1], 0))
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


def is_same(a: Alignment, cells: int, pads: tuple[int, int]) -> bool:
    """Whether an operation's own 'same' padding puts the low window where it belongs."""
    return a.prefilter == (1.0,) and pads == same_padding(cells, a.kernel, a.stride, a.dilation)


def pad_or_crop(x: Tensor, pads: Sequence[tuple[int, int]], data_format: str, value: float = 0.0) -> Tensor:
    """Pad with ``value`` (negative amounts: crop) by ((top, bottom), (left, right))."""
    axes = spatial_axes(data_format)
    amounts, cut = [[0, 0] for _ in range(4)], [slice(None)] * 4
    for axis, (before, after) in zip(axes, pads, strict=True):
        amounts[axis] = [max(before, 0), max(after, 0)]
        cut[axis] = slice(max(-before, 0), -max(-after, 0) or None)
    if any(item != slice(0, None) and item != slice(None) for item in cut):
        x = x[tuple(cut)]
    return ops.pad(x, amounts, constant_values=value) if any(map(any, amounts)) else x


def reads_past_end(a: Alignment, window: Window) -> bool:
    """Whether cells behind the map's end belong to no position of the source's output (a 1x1 window, no padding).

    They are then repeated, so that the fixed filter averages what there is. Anywhere else they are zeros of the source.
    """
    return a.kernel == 1 and a.first == 0 and isinstance(window.padding, str)


def pools_by_two(a: Alignment, window: Window) -> bool:
    """Whether the fixed filter is what an average pooling of two with 'same' padding and stride 1 does."""
    return reads_past_end(a, window) and a.prefilter == (0.5, 0.5)


def _repeat_end(x: Tensor, axis: int, count: int, data_format: str) -> Tensor:
    """Append ``count`` copies of the last row or column."""
    if count <= 0:
        return x
    dimension = spatial_axes(data_format)[axis]
    cut = [slice(None)] * 4
    cut[dimension] = slice(-1, None)
    return ops.concatenate([x, *[x[tuple(cut)]] * count], axis=dimension)


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
    if reads_past_end(a, window):
        x = _repeat_end(x, axis, widest - 1, data_format)
    reach = span + 2 * a.stride + window.kernel[axis] * window.dilation[axis]
    if not isinstance(window.padding, str):
        reach += max(window.padding[axis][1], 0)
    front = max(0, *(-v.first for v in variants))
    back = max(0, *(v.first for v in variants)) + reach
    pads = [(0, 0), (0, 0)]
    pads[axis] = (front, back)
    x = pad_or_crop(x, pads, data_format, value)
    length = a.stride * (window.low_outputs(axis, size) - 1) + span
    cut = [slice(None)] * 4
    cut[spatial_axes(data_format)[axis]] = slice(front + first, front + first + length)
    return x[tuple(cut)], weights


def _prefilter(x: Tensor, axis: int, weights: Sequence[Any], data_format: str) -> Tensor:
    """The fixed averaging filter of an `Alignment`, as a weighted sum of shifted maps."""
    if len(weights) == 1:
        return x
    dimension = spatial_axes(data_format)[axis]
    total, last = None, len(weights) - 1
    for shift, weight in enumerate(weights):
        if isinstance(weight, float) and weight == 0.0:
            continue
        cut = [slice(None)] * 4
        cut[dimension] = slice(shift, shift - last or None)
        part = x[tuple(cut)] * weight
        total = part if total is None else total + part
    return total


@dataclass(frozen=True)
class TransposedWindow:
    """The window of a transposed convolution: every position is spread over ``kernel`` positions, ``strides`` apart.

    Spread over cells and seen from cells, source tap ``d`` of position ``octave * i + phase`` lies
    ``floor((stride * phase + d - before) / octave)`` cells behind cell ``stride * i``: the sum that a convolution
    has, so the same `Alignment` holds, read the other way round.

    ``padding`` is 'same' or 'valid'; ``output_padding`` None or (rows, columns), as in Keras.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    output_padding: tuple[int, int] | None
    octave: int

    def _span(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def output(self, axis: int, size: Size) -> Any:
        """Positions of the source's output along ``axis``, as Keras and TensorFlow count them."""
        if size is None:
            return None
        span, stride = self._span(axis), self.strides[axis]
        extra = None if self.output_padding is None else self.output_padding[axis]
        if self.padding == "valid":
            return (size - 1) * stride + span + (max(stride - span, 0) if extra is None else extra)
        return size * stride if extra is None else (size - 1) * stride + span % 2 + extra

    def before(self, axis: int) -> int:
        """Positions cut off in front of the full result."""
        return max(self._span(axis) - self.output(axis, 1), 0) // 2 if self.padding == "same" else 0

    def alignment(self, axis: int, size: Size) -> Alignment:
        """Of the low window; the same for every ``size``."""
        return align(self.kernel[axis], self.strides[axis], self.dilation[axis], self.before(axis), self.octave)

    def low_outputs(self, axis: int, size: Size) -> Any:
        """Cells of the low output along ``axis``."""
        return ceil_div(self.output(axis, size), self.octave)

    def strided_blocks(self, sizes: Sequence[Size]) -> None:
        """There are none: its stride leaves nothing out."""


def fit_transposed(
    x: Tensor,
    high_sizes: tuple[Size, Size],
    window: TransposedWindow,
    data_format: str,
    reach: tuple[int, int] = (0, 0),
) -> Tensor:
    """Cut the full ('valid') transposed convolution of a low map to the cells of the low output.

    Args:
        x: what a transposed convolution with the low kernel, the window's strides and no padding returned.
        high_sizes: (rows, columns) of the high map that the low map belongs to; integers or scalar tensors.
        window: the source's operation.
        data_format: of ``x``.
        reach: further rows and columns that are kept at the end, for a window that has yet to move over the map.
    """
    for i, size in enumerate(high_sizes):
        a = window.alignment(i, None)
        extra, outputs = len(a.prefilter) - 1, window.low_outputs(i, size) + reach[i]
        length, front = outputs + extra, a.first + extra
        have = sizes(x, data_format)[i]
        known = _known(length, have)
        back = length - have - front if known else a.span + 2 * a.stride + window.octave
        pads = [(0, 0), (0, 0)]
        pads[i] = (front, max(back, 0))
        x = pad_or_crop(x, pads, data_format)
        cut = [slice(None)] * 4
        cut[spatial_axes(data_format)[i]] = slice(0, length)
        x = _prefilter(x[tuple(cut)], i, a.prefilter[::-1], data_format)
    return x
