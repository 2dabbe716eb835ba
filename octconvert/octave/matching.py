"""The channel split of a pair, read from what its two maps and the source's map hold.

A model file does not say which source channels are high: weights were permuted once, and nothing else is needed. But
the channels of each map keep their source order (`octconvert.octave.split`), so a split interleaves two sequences, and
the one whose maps are closest to the source's is found as the shortest path through a grid.
"""

from __future__ import annotations

import numpy as np

from octconvert.octave.geometry import ceil_div


def octave_between(size: tuple[int, ...], low_size: tuple[int, ...]) -> tuple[int, ...] | None:
    """The least octave for each axis that makes a low map of ``low_size`` of a map of ``size``; None for others."""
    factors = []
    for length, cells in zip(size, low_size, strict=True):
        powers = (1 << power for power in range(length.bit_length() + 1))
        factor = next((each for each in powers if ceil_div(length, each) == cells), None)
        if factor is None:
            return None
        factors.append(factor)
    return tuple(factors)


def matched_mask(source: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The mask of the `ChannelSplit` whose joined pair is closest to the source.

    Args:
        source: (positions, channels).
        high: (positions, high channels); there may be none.
        low: (positions, low channels), upsampled.

    Returns:
        Boolean array (channels,), true where a channel is low.

    Raises:
        ValueError: the channels of the two do not add up to those of the source.
    """
    channels, highs = source.shape[1], high.shape[1]
    if highs + low.shape[1] != channels:
        raise ValueError(f"{highs} + {low.shape[1]} channels are not {channels}")
    to_high, to_low = _distances(source, high), _distances(source, low)
    cost = np.full(highs + 1, np.inf)  # by how many of the channels so far are high
    cost[0] = 0.0
    is_low = np.zeros((channels, highs + 1), bool)
    counts = np.arange(highs + 1)
    for channel in range(channels):
        lows = channel - counts  # low channels before this one
        fits = (lows >= 0) & (lows < low.shape[1])
        as_low = np.full(highs + 1, np.inf)
        as_low[fits] = cost[fits] + to_low[channel, lows[fits]]
        as_high = np.concatenate([[np.inf], cost[:-1] + to_high[channel]])
        is_low[channel] = as_low <= as_high
        cost = np.minimum(as_low, as_high)
    mask, count = np.zeros(channels, bool), highs
    for channel in reversed(range(channels)):
        mask[channel] = is_low[channel, count]
        count -= not mask[channel]
    return mask


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distance of every column of the one to every column of the other."""
    squares = (first**2).sum(axis=0)[:, None] + (second**2).sum(axis=0)[None, :]
    return np.maximum(squares - 2 * first.T @ second, 0.0)
