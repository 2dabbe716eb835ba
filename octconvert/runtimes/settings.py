"""How a runtime is to write a model: `ExportSettings`, and among them how numbers are rounded, `Quantization`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        import numpy as np  # slow to start, and the command line checks its arguments first

        count = len(self.samples[0])
        for start in range(0, max(count - size, 0) + 1, size):
            places = np.arange(start, start + size) % count
            yield {name: array[places] for name, array in zip(names, self.samples, strict=True)}


@dataclass(frozen=True, eq=False)
class ExportSettings:
    """How a model is written.

    Attributes:
        batch: samples of one run; None: it is left open.
        quantization: how numbers are rounded; None: they stay as they are.
        opset: version of the operations, where a format has several; None: the one that is best supported.
        metadata: (name, value), where a format can hold them.
    """

    batch: int | None = 1
    quantization: Quantization | None = None
    opset: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def precision(self) -> str | None:
        """To which numbers are rounded."""
        return None if self.quantization is None else self.quantization.precision
