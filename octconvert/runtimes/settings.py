"""How a runtime is to write a model: `ExportSettings`, and among them how numbers are rounded, `Quantization`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from keras import InputSpec


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

    def batches(self, specs: Sequence[InputSpec]) -> Iterator[dict[str, np.ndarray]]:
        """Whole batches of the samples for inputs of these names and batch; too few for one are repeated."""
        count, size = len(self.samples[0]), batch_size(specs)
        for start in range(0, max(count - size, 0) + 1, size):
            yield batch_at(specs, self.samples, start)


def batch_size(specs: Sequence[InputSpec]) -> int:
    """Samples of one run; 1 where that is left open."""
    return specs[0].shape[0] or 1


def batch_at(specs: Sequence[InputSpec], samples: Sequence[np.ndarray], start: int) -> dict[str, np.ndarray]:
    """The batch by input name that begins at a sample; behind the last one the first ones follow."""
    import numpy as np  # slow to start, and the command line checks its arguments first

    places = np.arange(start, start + batch_size(specs)) % len(samples[0])
    return {spec.name: array[places] for spec, array in zip(specs, samples, strict=True)}


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
