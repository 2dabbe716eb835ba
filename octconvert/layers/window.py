"""Window operations as values: where the window of a low map stands, for known and unknown sizes. No tensor in here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from octconvert.octave.geometry import (
    Alignment,
    Octave,
    Padding,
    Size,
    align,
    ceil_div,
    factors,
    output_size,
    same_padding,
)


def known(*values: Size) -> bool:
    return all(isinstance(value, int) for value in values)


class _OfAxes:
    """What both kinds of windows derive from their axes."""

    kernel: tuple[int, ...]
    octave: Octave

    def output(self, axis: int, size: Size) -> Any:
        """Positions of the source's output along ``axis``."""
        raise NotImplementedError

    def factor(self, axis: int) -> int:
        """Positions of the high map along ``axis`` under one cell."""
        return factors(self.octave, len(self.kernel))[axis]

    def low_outputs(self, axis: int, size: Size) -> Any:
        """Cells of the low output along ``axis``: ceil(output / octave)."""
        return ceil_div(self.output(axis, size), self.factor(axis))


@dataclass(frozen=True)
class Window(_OfAxes):
    """A window operation of the source model over the spatial axes; all tuples have a value for each of them.

    ``padding`` is 'same', 'valid' or (before, after) for each axis; negative amounts crop. ``causal``: whether low
    cells are causal ones (`octconvert.octave.geometry`).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Padding
    octave: Octave
    causal: bool = False

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
        return self._aligned(axis, before)

    def _aligned(self, axis: int, before: int) -> Alignment:
        """For so many zeros in front."""
        kernel, stride, dilation = self.kernel[axis], self.strides[axis], self.dilation[axis]
        cell = self.factor(axis)
        if not self.causal:
            return align(kernel, stride, dilation, before, cell)
        most = ((kernel - 1) * dilation - before) // cell
        return align(kernel, stride, dilation, before + (stride - 1) * (cell - 1), cell, most=most)

    def variants(self, axis: int, size: Size) -> list[Alignment]:
        """Every alignment that a run may need along ``axis``, by the zeros in front; one where ``size`` is known."""
        if known(size) or self.padding != "same" or self.strides[axis] == 1:
            return [self.alignment(axis, size if known(size) else None)]
        most = (self.kernel[axis] - 1) * self.dilation[axis] // 2
        return [self._aligned(axis, before) for before in range(most + 1)]

    def filtered(self, sizes: Iterable[Size]) -> bool:
        """Whether a low map of a high map of ``sizes`` may need a fixed filter in front of the window."""
        return any(a.prefilter != (1.0,) for axis, size in enumerate(sizes) for a in self.variants(axis, size))

    def strided_blocks(self, sizes: Sequence[Size]) -> tuple[int, ...] | None:
        """Sizes of the blocks whose averages are all that the path from a high map to a low one reads.

        Of the cells that a window of one position with a stride needs, each is the average of ``stride`` cells of
        ``octave`` positions. One pooling does both where the blocks fill the map; None where they do not, or for other
        windows.
        """
        if max(self.kernel) > 1 or max(self.strides) == 1 or not known(*sizes):
            return None
        blocks = tuple(self.factor(axis) * stride for axis, stride in enumerate(self.strides))
        for axis, (size, block, stride) in enumerate(zip(sizes, blocks, self.strides, strict=True)):
            alignment = self.alignment(axis, size)
            averages = alignment.prefilter == (1 / stride,) * stride and repeats_ends(alignment, self)
            if not averages or alignment.first or size % block:
                return None
        return blocks


def is_same(a: Alignment, cells: int, pads: tuple[int, int]) -> bool:
    """Whether an operation's own 'same' padding puts the low window where it belongs."""
    return a.prefilter == (1.0,) and pads == same_padding(cells, a.kernel, a.stride, a.dilation)


def repeats_ends(a: Alignment, window: Window) -> bool:
    """Whether cells outside the map belong to no position of the source's output (one position, no padding).

    The last (of causal cells the first) is then repeated, so that the fixed filter averages what there is. For any
    other window they are zeros of the source.
    """
    return a.kernel == 1 and isinstance(window.padding, str)


def pools_by_two(a: Alignment, window: Window) -> bool:
    """Whether the fixed filter is what an average pooling of two with 'same' padding and stride 1 does."""
    return repeats_ends(a, window) and a.first == 0 and a.prefilter == (0.5, 0.5)


@dataclass(frozen=True)
class TransposedWindow(_OfAxes):
    """The window of a transposed convolution: every position is spread over ``kernel`` positions, ``strides`` apart.

    Spread over cells and seen from cells, source tap ``d`` of position ``octave * i + phase`` lies
    ``floor((stride * phase + d - before) / octave)`` cells behind cell ``stride * i``: the sum that a convolution
    has, so the same `Alignment` holds, read the other way round.

    ``padding`` is 'same' or 'valid'; ``output_padding`` None or a number for each axis, as in Keras.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str
    output_padding: tuple[int, ...] | None
    octave: Octave
    causal: bool = False

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
        kernel, stride, dilation = self.kernel[axis], self.strides[axis], self.dilation[axis]
        before, cell = self.before(axis), self.factor(axis)
        if not self.causal:
            return align(kernel, stride, dilation, before, cell)
        return align(kernel, stride, dilation, before + (stride - 1) * (cell - 1), cell, least=-(before // cell))

    def strided_blocks(self, sizes: Sequence[Size]) -> None:
        """There are none: its stride leaves nothing out."""
