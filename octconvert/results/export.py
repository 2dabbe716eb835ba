"""`Exported`: what `octconvert.export` returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from octconvert.results.next_step import NextStep, dicts
from octconvert.results.plain import plain
from octconvert.results.report import Check, Evaluation
from octconvert.results.shown import Shown

FORMAT = "octconvert-export/1"


@dataclass(frozen=True)
class TensorReport:
    """An input or output of an exported model: its name there, its shape with the batch, its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Closeness:
    """How close outputs are to those of the model in float32: a name as in `octconvert.results.report.Measure`."""

    name: str
    value: float


@dataclass(frozen=True)
class QuantizationReport:
    """How the numbers of an export were rounded, and what that did to its outputs.

    Attributes:
        precision: 'int8' (weights and activations), 'float16' (weights) or 'dynamic' (weights in int8).
        integer_io: whether its inputs and outputs are int8 too.
        data: the samples that the ranges of activations were measured on; empty where that needs none.
        held_out: the number of other samples, which the outputs were compared on.
        closeness: of the outputs to those of the model that was exported.
        evaluation: the accuracy (or other metrics) of that model, and of the export; None where nothing was measured.
    """

    precision: str
    integer_io: bool
    data: str
    held_out: int
    closeness: tuple[Closeness, ...]
    evaluation: Evaluation | None = None


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
        partitions: parts that run in one piece in the runtime's fast library (LiteRT: XNNPACK); None: it has none.
        quantization: how its numbers were rounded; None where they were not.
        next_steps: what may follow, the likeliest first.
    """

    source: str
    target: str
    runtime: str
    bytes: int
    for_inference: bool
    inputs: tuple[TensorReport, ...]
    check: Check
    notes: tuple[str, ...] = ()
    partitions: int | None = None
    quantization: QuantizationReport | None = None
    next_steps: tuple[NextStep, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain dictionaries and lists, ready for JSON."""
        return {"format": FORMAT, **plain(dataclasses.asdict(self)), "next_steps": dicts(self.next_steps)}
