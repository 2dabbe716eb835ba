"""The set of groups whose pairs make the model fastest, from the times of its parts.

The time of a part is measured with its input, and with the output that it decides, as plain tensors or pairs. Where
only some channels of its input are a pair (of several groups joined), the time is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_ROUNDS = 200
LEAST_GAIN = 0.001
"""Time that each pair has to gain, as a share of the plain model's: it costs some accuracy."""


@dataclass(frozen=True, eq=False)
class PartTimes:
    """Times of every part.

    Attributes:
        inputs, outputs: (parts, groups): the share of each group in the tensors that a part reads, and that it decides.
        seconds: (levels, levels, parts): by the level of the input, and of the output.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    seconds: np.ndarray

    def total(self, pairs: np.ndarray) -> np.ndarray:
        """Seconds; ``pairs``: (..., groups), 1 for a pair and 0 for a plain group."""
        read, written = pairs @ self.inputs.T, pairs @ self.outputs.T
        (plain, first), (last, both) = self.seconds
        parts = (1 - read) * ((1 - written) * plain + written * first) + read * ((1 - written) * last + written * both)
        return parts.sum(axis=-1)


def fastest_groups(times: PartTimes) -> np.ndarray:
    """Whether each group should be a pair: descent over runs of groups, from none of them and from all."""
    count = times.inputs.shape[1]
    price = LEAST_GAIN * float(times.total(np.zeros(count)))

    def value(pairs: np.ndarray) -> np.ndarray:
        return times.total(pairs) + price * pairs.sum(axis=-1)

    results = [_descend(value, np.full(count, start)) for start in (0.0, 1.0)]
    return min(results, key=lambda pairs: float(value(pairs))) > 0


def _descend(value: Callable[[np.ndarray], np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """Groups that follow one another gain together, so runs of them become plain, or pairs, as a whole."""
    least = float(value(pairs))
    for _ in range(MOST_ROUNDS):
        best, change = least, None
        for start in range(len(pairs)):
            for label in (0.0, 1.0):
                tried = np.tile(pairs, (len(pairs) - start, 1))
                for row in range(len(tried)):
                    tried[row, start : start + row + 1] = label
                totals = value(tried)
                if totals.min() < best * (1 - 1e-9):
                    best, change = float(totals.min()), tried[int(totals.argmin())]
        if change is None:
            break
        least, pairs = best, change
    return pairs
