"""How the low map of a pair lines up with its high map, axis by axis.

Cell ``i`` of a low map covers the positions ``octave * i .. octave * i + octave - 1`` of the source map, so a map
of ``n`` positions has ``ceil(n / octave)`` cells. A window operation (convolution, pooling) with stride ``s`` and ``p``
zeros padded in front reads source position ``s * j + d - p`` for output ``j`` and tap ``d``. Written for the low map
("fold"), output cell ``I`` reads cell ``s * I + floor((s * phase + d - p) / octave)``, averaged over
the ``octave`` phases. `Alignment` holds what follows from that: which cells the window starts at, whether a fixed
filter is needed in front of it, and the matrix that turns the source taps into the low ones.

**Causal cells.** Where no output may read later positions, cell ``i`` covers the positions
``octave * i - octave + 1 .. octave * i``, and position ``t`` reads cell ``t // octave``: upsampling and all sizes stay
as they are. With ``p + (s - 1) * (octave - 1)`` in the place of ``p`` the sum above holds for these cells, but a window
must not reach a cell that ends behind the last position it reads: offsets are at most ``floor((k - 1 - p) / octave)``.

Everything here is plain arithmetic on integers; no layer, no tensor.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Size: TypeAlias = Any
"""Positions along an axis: an integer, a scalar tensor where it is known only when the model runs, or None."""
Shape: TypeAlias = tuple[int | None, ...]
"""Of a tensor; None for an open dimension."""
Octave: TypeAlias = int | tuple[int, ...]
"""Factor between the resolutions: one number for all spatial axes, or one for each."""
Pads: TypeAlias = tuple[tuple[int, int], ...]
"""Zeros around a map: ((top, bottom), (left, right)), (before, after) for each axis; negative amounts crop."""
Padding: TypeAlias = str | Pads
"""'same', 'valid' or explicit zeros."""


def factors(octave: Octave, rank: int) -> tuple[int, ...]:
    """One for each of the spatial axes."""
    return (octave,) * rank if isinstance(octave, int) else octave


def normal_octave(octave: Octave) -> Octave:
    """One number where all axes have the same."""
    return octave if isinstance(octave, int) or len(set(octave)) > 1 else octave[0]


def common_shape(first: Shape, second: Shape) -> Shape:
    """The sizes in which two shapes of as many axes agree; None for others."""
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def ceil_div(a: Size, b: int) -> Any:
    """``ceil(a / b)`` for integers and for integer tensors."""
    return -(-a // b)


def same_padding(size: Size, kernel: int, stride: int, dilation: int = 1) -> tuple[Size, Size]:
    """Zeros that 'same' puts (before, after) an axis of ``size`` positions, as TensorFlow and Keras count them."""
    missing = (ceil_div(size, stride) - 1) * stride + (kernel - 1) * dilation + 1 - size
    missing = max(missing, 0)
    return missing // 2, missing - missing // 2


def output_size(size: Size, kernel: int, stride: int, dilation: int, padding: str | tuple[int, int]) -> Any:
    """Positions of a window operation's output; ``padding`` is 'same', 'valid' or (before, after)."""
    if padding == "same":
        return ceil_div(size, stride)
    before, after = (0, 0) if isinstance(padding, str) else padding
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


@dataclass(frozen=True)
class Alignment:
    """One axis of a window operation, rewritten for low maps.

    Attributes:
        start: cell, relative to ``stride * I``, under the first tap of the (filtered) low window.
        dilation: cells between two taps of the low window.
        prefilter: weights of the fixed filter in front of the window; ``(1.0,)`` where none is needed.
        prefilter_start: cell offset of the filter's first weight.
        matrix: (kernel, kernel) array; ``matrix @ source_taps`` are the folded taps.
    """

    kernel: int
    stride: int
    start: int
    dilation: int
    prefilter: tuple[float, ...]
    prefilter_start: int
    matrix: np.ndarray

    @property
    def first(self) -> int:
        """First cell read for output cell 0; ``-first`` cells of padding are missing in front (negative: crop)."""
        return self.start + self.prefilter_start

    @property
    def span(self) -> int:
        """Cells read for one output cell, filter included."""
        return (self.kernel - 1) * self.dilation + len(self.prefilter)

    def padding(self, cells: int, outputs: int) -> tuple[int, int]:
        """Cells to pad (negative: crop) before and after ``cells`` low cells so that ``outputs`` come out, no more."""
        return -self.first, self.stride * (outputs - 1) + self.first + self.span - cells


def _fold_taps(kernel: int, stride: int, dilation: int, before: int, octave: int) -> dict[int, np.ndarray]:
    """Low cell offset -> coefficients of the source taps read there."""
    taps: dict[int, np.ndarray] = {}
    for phase in range(octave):
        for d in range(kernel):
            offset = (stride * phase + d * dilation - before) // octave
            taps.setdefault(offset, np.zeros(kernel))[d] += 1.0 / octave
    return taps


def _window_start(kernel: int, stride: int, dilation: int, before: int, octave: int, low_dilation: int) -> int:
    """Start of the low window that is centred, in source positions, where the source's window is."""
    centre = (stride * (octave - 1) / 2 + (kernel - 1) * dilation / 2 - before + 0.5) / octave - 0.5
    return math.floor(centre - (kernel - 1) * low_dilation / 2 + 0.5)


def _within(taps: dict[int, np.ndarray], least: int | None, most: int | None) -> dict[int, np.ndarray]:
    """The same coefficients, those of cells outside of ``least`` .. ``most`` moved to the nearest cell inside."""
    moved: dict[int, np.ndarray] = {}
    for offset, row in taps.items():
        offset = offset if least is None else max(offset, least)
        offset = offset if most is None else min(offset, most)
        moved[offset] = moved.get(offset, 0) + row
    return moved


@functools.cache
def align(
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    octave: int,
    least: int | None = None,
    most: int | None = None,
) -> Alignment:
    """The `Alignment` of an axis with ``kernel`` taps, and ``before`` zeros padded in front of the source map.

    ``least``, ``most``: offsets of the first and of the last cell that the window may reach, None where any; what the
    source reads from cells beyond them is read from these.

    The folded kernel fits in ``kernel`` taps for every stride-1 convolution with ``kernel > 1`` and for every usual
    strided one. Where it does not (1x1 with a stride or an odd explicit padding, 2x2 with both) a fixed averaging
    filter goes in front: "pool by the stride, then 1x1". That keeps the parameter count of the source.
    """
    taps = _within(_fold_taps(kernel, stride, dilation, before, octave), least, most)
    low, high = min(taps), max(taps)
    low_dilation = max(1, round(dilation / octave)) if kernel > 1 else 1
    if low_dilation == 1 and high - low + 1 > kernel and (kernel == 1 or dilation == 1):
        return _align_with_prefilter(taps, kernel, stride, octave, most)
    start = _window_start(kernel, stride, dilation, before, octave, low_dilation)
    if low_dilation == 1 and high - low < kernel:  # keep every folded tap inside the window
        start = min(max(start, high - kernel + 1), low)
    if least is not None:
        start = max(start, least)
    if most is not None:
        start = min(start, most - (kernel - 1) * low_dilation)
    matrix = np.zeros((kernel, kernel))
    for offset, row in taps.items():
        nearest = math.floor((offset - start) / low_dilation + 0.5)
        matrix[min(max(nearest, 0), kernel - 1)] += row
    return Alignment(kernel, stride, start, low_dilation, (1.0,), 0, matrix)


def _align_with_prefilter(
    taps: dict[int, np.ndarray], kernel: int, stride: int, octave: int, most: int | None
) -> Alignment:
    """Split the folded taps into a fixed filter and ``kernel`` taps (exact wherever the stride has such a factor)."""
    filter_taps = taps if kernel == 1 else _fold_taps(1, stride, 1, 0, octave)
    filter_start = min(filter_taps)
    weights = np.array([filter_taps.get(t, np.zeros(1))[0] for t in range(filter_start, max(filter_taps) + 1)])
    length = kernel + len(weights) - 1
    first = min(taps) if most is None else min(min(taps), most - length + 1)
    start, offsets = first - filter_start, range(first, first + length)
    folded = np.array([taps.get(t, np.zeros(kernel)) for t in offsets])
    lost = sum((row for t, row in taps.items() if t not in offsets), np.zeros(kernel))
    folded[-1] += lost
    convolution = np.zeros((len(offsets), kernel))
    for tap in range(kernel):
        convolution[tap : tap + len(weights), tap] = weights
    matrix = np.linalg.lstsq(convolution, folded, rcond=None)[0]
    return Alignment(kernel, stride, start, 1, tuple(weights.tolist()), filter_start, matrix)


def fold_matrix(
    kernel: int, stride: int = 1, padding_before: int = 0, octave: int = 2, dilation: int = 1
) -> np.ndarray:
    """Matrix (kernel, kernel) that turns the taps of one source axis into those of the low path (fold)."""
    return align(kernel, stride, dilation, padding_before, octave).matrix
