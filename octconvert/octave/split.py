"""Which channels of a source tensor are high and which are low: frozen values and their arithmetic.

A split keeps both groups in the source's own order, so the split of a Concatenate is the concatenation of the splits,
in order, and no activation is ever permuted on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from octconvert.octave.geometry import Octave, Pads, Shape, factors
from octconvert.octave.names import HIGH, LOW


def low_channels(alpha: float, channels: int) -> int:
    """``int(alpha * channels)``, as the authors' code counts; a rounding error of the product loses no channel."""
    return int(alpha * channels + _ROUNDING)


def low_shares(alphas: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """`low_channels` of many, as shares of the channels."""
    return np.floor(alphas * channels + _ROUNDING) / channels


_ROUNDING = 1e-9


class SplitPart(NamedTuple):
    """One of the tensors that replace a tensor of the source model.

    Attributes:
        suffix: of the names of its layers, '-H' or '-L'.
        channels: source indices, ascending.
        cell: source positions along each axis that one of its positions covers, or one number for each axis.
    """

    suffix: str
    channels: np.ndarray
    cell: Any


@dataclass(frozen=True, eq=False)
class ChannelSplit:
    """The channel split of one tensor.

    Attributes:
        mask: boolean array (channels,), true where a channel is low.
        octave: factor between the two resolutions, or one for each axis; 1 for tensors without extent (vectors, 1x1
            maps).
        size: of the source's map, (rows, columns) for images, None where open; None for a tensor without extent.
    """

    mask: np.ndarray
    octave: Octave
    size: Shape | None = None

    @cached_property
    def high(self) -> np.ndarray:
        """Source indices of the high channels, ascending."""
        return np.flatnonzero(~self.mask)

    @cached_property
    def low(self) -> np.ndarray:
        """Source indices of the low channels, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def parts(self) -> tuple[SplitPart, ...]:
        """The high part, where there is one, and the low part."""
        parts = (SplitPart(HIGH, self.high, 1), SplitPart(LOW, self.low, self.octave))
        return tuple(part for part in parts if len(part.channels))

    @cached_property
    def whole_low(self) -> bool:
        """Whether every channel is low: one map at the low resolution, and no pair."""
        return bool(self.mask.all())

    @property
    def odd_size(self) -> Shape | None:
        """``size`` where it does not follow from that of the low map, as ``octave`` times it; else None."""
        if self.octave == 1 or self.size is None:
            return None
        cells = factors(self.octave, len(self.size))
        return self.size if any(n is None or n % cell for n, cell in zip(self.size, cells, strict=True)) else None

    @property
    def has_run_size(self) -> bool:
        """Whether a tensor says the rows and columns, because they are open and no high map has them."""
        return self.whole_low and self.octave != 1 and None in (self.size or ())

    @property
    def channels(self) -> int:
        return len(self.mask)

    @property
    def alpha(self) -> float:
        """Share of the channels that are low."""
        return len(self.low) / len(self.mask)

    @cached_property
    def joined(self) -> np.ndarray:
        """Source indices in the order [high | low] that a concatenated pair has."""
        return np.concatenate([self.high, self.low])

    @cached_property
    def source_order(self) -> np.ndarray | None:
        """Positions that bring a concatenated pair back to source order; None where it already is."""
        order = np.argsort(self.joined)
        return None if np.array_equal(order, np.arange(len(order))) else order

    def balanced(self, groups: int) -> bool:
        """Whether every one of ``groups`` equal blocks of channels holds the same number of low channels."""
        if self.channels % groups:
            return False
        counts = self.mask.reshape(groups, -1).sum(axis=1)
        return bool((counts == counts[0]).all())


@dataclass(frozen=True)
class Pair:
    """What replaces one tensor of the source model that has low channels: two tensors, or one that is whole-low.

    Attributes:
        high: None where all channels are low.
        low: the low map.
        split: of the source's channels.
        pads: ((top, bottom), (left, right)) zeros (negative: crop) around the source map that are still to be applied;
            the window operation that reads the pair takes them into its own padding, where low cells stay aligned.
        run_size: tensor of (rows, columns) of the source's map without ``pads``, where all channels are low and these
            sizes are open.
    """

    high: Any
    low: Any
    split: ChannelSplit
    pads: Pads | None = None
    run_size: Any = None

    @classmethod
    def of(cls, tensors: Any, split: ChannelSplit) -> Pair:
        """From [high, low]; from the low map, or a list of it alone, where all channels are low."""
        if not split.whole_low:
            high, low = tensors
            return cls(high, low, split)
        (low,) = tensors if isinstance(tensors, (list, tuple)) else (tensors,)
        return cls(None, low, split)

    def part(self, suffix: str) -> Any:
        """The tensor of the part with this suffix, '-H' or '-L'."""
        return self.high if suffix == HIGH else self.low

    @property
    def tensors(self) -> list[Any]:
        """[high, low], or [low]."""
        return [self.low] if self.high is None else [self.high, self.low]

    @property
    def inputs(self) -> list[Any]:
        """What an octave layer reads: the tensors, and ``run_size`` if there is one."""
        return self.tensors if self.run_size is None else [*self.tensors, self.run_size]

    def size(self, axes: Sequence[int]) -> Shape:
        """Of the source's map without ``pads``, as far as it is known; ``axes``: the spatial ones."""
        if self.high is None and self.split.size is not None:
            return self.split.size
        return tuple(self.tensors[0].shape[axis] for axis in axes)  # vectors and octave 1 have one resolution
