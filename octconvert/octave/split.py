"""Which channels of a source tensor are high and which are low: frozen values and their arithmetic.

A split keeps both groups in the source's own order, so the split of a Concatenate is the concatenation of the splits,
in order, and no activation is ever permuted on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from octconvert.octave.geometry import Pads


def low_channels(alpha: float, channels: int) -> int:
    """``int(alpha * channels)``, as the authors' code counts; a rounding error of the product loses no channel."""
    return int(alpha * channels + 1e-9)


@dataclass(frozen=True, eq=False)
class ChannelSplit:
    """The channel split of one tensor.

    Attributes:
        mask: boolean array (channels,), true where a channel is low.
        octave: factor between the two resolutions; 1 for tensors without extent (vectors, 1x1 maps).
    """

    mask: np.ndarray
    octave: int

    @cached_property
    def high(self) -> np.ndarray:
        """Source indices of the high channels, ascending."""
        return np.flatnonzero(~self.mask)

    @cached_property
    def low(self) -> np.ndarray:
        """Source indices of the low channels, ascending."""
        return np.flatnonzero(self.mask)

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
    """The two tensors that replace one tensor of the source model.

    ``pads``: ((top, bottom), (left, right)) zeros (negative: crop) around the source map that are still to be applied;
    the window operation that reads the pair takes them into its own padding, where low cells stay aligned.
    """

    high: Any
    low: Any
    split: ChannelSplit
    pads: Pads | None = None

    @classmethod
    def of(cls, tensors: Iterable[Any], split: ChannelSplit) -> Pair:
        """From [high, low]."""
        high, low = tensors
        return cls(high, low, split)
