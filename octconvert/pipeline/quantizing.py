"""The samples that an export is quantized with, and the comparison of its outputs with the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from octconvert.calibration.data.nearest import synthetic_supply
from octconvert.calibration.data.supply import Supply, user_supply
from octconvert.calibration.evidence import ModelOutputs, closeness
from octconvert.errors import UsageError
from octconvert.model.examples import example_inputs
from octconvert.model.graph import CallGraph
from octconvert.options.quantization import QuantizationOptions
from octconvert.results.export import Closeness, QuantizationReport
from octconvert.results.report import Check
from octconvert.runtimes import Session
from octconvert.runtimes.settings import Quantization, batch_at, batch_size
from octconvert.runtimes.signature import signature_of
from octconvert.samples import Samples
from octconvert.verification.exporting import Compare, Compared

HELD_OUT = 64
"""Synthetic samples that the outputs are compared on."""
LARGEST_ERROR = 0.5
"""Mean squared difference of the outputs over their variance: beyond that, rounding has left nothing of the model."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class Rounding:
    """An export that is going to be quantized.

    Attributes:
        graph: of the model.
        options: as requested; they name a precision.
        supply: samples for the ranges, and others to compare on.
    """

    graph: CallGraph
    options: QuantizationOptions
    supply: Supply

    @classmethod
    def of(cls, graph: CallGraph, options: QuantizationOptions) -> Rounding:
        """
        Raises:
            InputError: the data can not be used.
            UsageError: no samples can be generated for the model's inputs.
        """
        return cls(graph, options, _supply(graph, options))

    @property
    def quantization(self) -> Quantization:
        """For the runtime."""
        precision = self.options.precision or ""
        arrays = self.supply.fit.arrays if precision == "int8" else ()
        return Quantization(precision, tuple(arrays), self.options.integer_io)

    def comparison(self, batch: int | None) -> Compare:
        """Compares the export with the model, on samples that no range was measured on."""

        def compare(session: Session, written: keras.Model) -> Compared:
            held_out, specs = self.supply.held_out, signature_of(written, batch)
            expected = ModelOutputs.of(self.graph, held_out, BATCH)
            outputs = _run(session, specs, held_out)
            values = closeness(expected, outputs)
            report = QuantizationReport(
                precision=self.options.precision or "",
                integer_io=self.options.integer_io,
                data=self.supply.label if self.options.precision == "int8" else "",
                held_out=held_out.count,
                closeness=tuple(Closeness(name, value) for name, value in values.items()),
            )
            return Compared(_check(expected, outputs, held_out.count), report)

        return compare


def _supply(graph: CallGraph, options: QuantizationOptions) -> Supply:
    settings = options.for_samples
    if options.calibration is not None:
        return user_supply(graph, settings)
    supply = synthetic_supply(graph, settings, options.samples, HELD_OUT)
    if supply is None and options.precision == "int8":
        raise UsageError("no samples can be generated for these inputs; give some as `calibration`")
    return _random(graph) if supply is None else supply


def _random(graph: CallGraph) -> Supply:
    """Inputs to compare on, for a precision that needs no ranges."""
    samples = Samples(tuple(example_inputs(graph, batch=BATCH)), None, "random inputs")
    return Supply(samples, samples, samples.origin, "", samples.count, images=False)


def run_batches(session: Session, specs: Sequence[keras.InputSpec], samples: Samples) -> Iterator[list[np.ndarray]]:
    """The outputs of an export of a fixed batch, float32; the last batch is filled up by samples that do not count."""
    size = batch_size(specs)
    for start in range(0, samples.count, size):
        kept = min(size, samples.count - start)
        yield [np.array(output, "float32")[:kept] for output in session(batch_at(specs, samples.arrays, start))]


def _run(session: Session, specs: Sequence[keras.InputSpec], samples: Samples) -> ModelOutputs:
    parts = run_batches(session, specs, samples)
    return ModelOutputs(tuple(np.concatenate(each) for each in zip(*parts, strict=True)))


def _check(expected: ModelOutputs, outputs: ModelOutputs, count: int) -> Check:
    """Rounding changes every output; a file that predicts something else is another thing."""
    shapes = [[array.shape for array in each.arrays] for each in (expected, outputs)]
    if shapes[0] != shapes[1]:
        return Check("export", False, f"its outputs have the shapes {shapes[1]} instead of {shapes[0]}")
    error = expected.error(outputs)
    passed = error <= LARGEST_ERROR
    result = "predicts nearly the same" if passed else "predicts something else"
    detail = f"the rounded file {result} (relative error {error:.2g} on {count:,} samples, allowed {LARGEST_ERROR:g})"
    return Check("export", passed, detail)
