"""`Quantization`: how a runtime is to round the numbers of a model that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Quantization:
    """A precision, and what is needed for it.

    Attributes:
        precision: as in `octconvert.options.quantization.PRECISIONS`.
        samples: for the ranges of activations, one array for each input in the model's flat order; only for int8.
        integer_io: whether inputs and outputs are int8 too.
    """

    precision: str
    samples: tuple[np.ndarray, ...] = ()
    integer_io: bool = False

    def batches(self, names: Sequence[str], size: int) -> Iterator[dict[str, np.ndarray]]:
        """Whole batches of the samples by input name; where there are too few for one, they are repeated."""
        count = len(self.samples[0])
        for start in range(0, max(count - size, 0) + 1, size):
            places = np.arange(start, start + size) % count
            yield {name: array[places] for name, array in zip(names, self.samples, strict=True)}
