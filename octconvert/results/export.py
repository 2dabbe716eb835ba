"""`Exported`: what `octconvert.export` returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from octconvert.results.report import Check
from octconvert.results.shown import Shown

FORMAT = "octconvert-export/1"


@dataclass(frozen=True)
class TensorReport:
    """An input or output of an exported model: its name there, its shape with the batch, its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Exported(Shown):
    """A model as it was written for a runtime; shows itself in a terminal or notebook.

    Attributes:
        source, target: the model's name or file, and the file or directory that was written.
        runtime: the runtime it was written for: 'litert', 'onnx', 'openvino' or 'tf'.
        bytes: size of all files that were written.
        for_inference: whether it is the model's form for inference.
        inputs: in the model's order.
        check: the comparison with Keras, and its result.
        notes: further remarks, a sentence each.
    """

    source: str
    target: str
    runtime: str
    bytes: int
    for_inference: bool
    inputs: tuple[TensorReport, ...]
    check: Check
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain dictionaries and lists, ready for JSON."""
        return {"format": FORMAT, **dataclasses.asdict(self)}
