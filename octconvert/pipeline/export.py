"""`octconvert.export`: a model read, written for a runtime, and checked there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.options.fields import parse
from octconvert.options.limits import DYNAMIC, shown
from octconvert.options.loading import LoadingOptions
from octconvert.options.quantization import QuantizationOptions
from octconvert.pipeline.evaluating import SourceEvaluation
from octconvert.pipeline.next_steps import after_export
from octconvert.pipeline.quantizing import Rounding, run_batches
from octconvert.pipeline.source import read_source
from octconvert.results.export import Exported, QuantizationReport, TensorReport
from octconvert.runtimes import Runtime
from octconvert.runtimes.settings import ExportSettings
from octconvert.runtimes.signature import batch_of, signature_of
from octconvert.system.environment import version
from octconvert.system.progress import Progress, silent
from octconvert.verification.exporting import (
    Job,
    Written,
    check_export_target,
    check_settings,
    export_checked,
    format_of,
    same_outputs,
    written_bytes,
)


def export(arguments: Mapping[str, Any]) -> Exported:
    """`octconvert.export`; see there."""
    progress, output = arguments.get("progress", silent), arguments["output"]
    overwrite = arguments.get("overwrite", False)
    target, rounding = Path(output), parse(QuantizationOptions, arguments)
    runtime = format_of(target, arguments.get("format"))
    opset = arguments.get("opset")
    check_settings(runtime, rounding.precision, opset, rounding.integer_io)
    check_export_target(runtime, target, overwrite)
    progress("read", 0, 1)
    source = read_source(arguments["model_or_path"], parse(LoadingOptions, arguments))
    batch = _batch(source.model, arguments.get("batch"))
    signature_of(source.model, batch)
    source_notes = source.example()[1]
    settings = ExportSettings(batch, None, opset, _metadata(source.label, arguments))
    job = Job(runtime, target, settings, overwrite, arguments.get("for_inference", True))
    evaluating = SourceEvaluation.of(rounding, source.graph, rounding.preprocess, rounding.seed, progress)
    compare, sample_notes = same_outputs(source.model, batch), tuple[str, ...]()
    if rounding.precision is not None:
        progress("samples", 0, 1)
        rounded = Rounding.of(source.graph, rounding)
        job = replace(job, settings=replace(settings, quantization=rounded.quantization))
        compare, sample_notes = rounded.comparison(batch), rounded.supply.notes
    progress(f"export for {runtime.name}", 0, 1)
    choice = export_checked(source.model, job, compare)
    compared = choice.result.compared
    quantization, remarks = _evaluated(evaluating, runtime, target, choice.result, progress)
    return Exported(
        source=source.label,
        target=str(output),
        runtime=runtime.name,
        bytes=written_bytes(runtime, target),
        for_inference=choice.for_inference,
        inputs=tuple(_input(spec, rounding.integer_io) for spec in choice.result.inputs),
        check=compared.check,
        partitions=choice.result.partitions,
        quantization=quantization,
        next_steps=after_export(arguments["model_or_path"], str(output), runtime.name, arguments),
        notes=tuple(dict.fromkeys((*source.repairs, *source_notes, *sample_notes, *choice.notes, *remarks))),
    )


def _evaluated(
    evaluating: SourceEvaluation | None, runtime: Runtime, target: Path, written: Written, progress: Progress
) -> tuple[QuantizationReport | None, tuple[str, ...]]:
    """How the file was rounded, with its evaluation; and notes on that and on what of it has failed."""
    quantization = written.compared.quantization
    if evaluating is None or quantization is None:
        return quantization, ()
    progress("evaluate", 1, 2)
    samples = evaluating.evaluator.samples

    def outputs() -> Iterator[np.ndarray]:
        return (batch[0] for batch in run_batches(runtime.open(target), written.inputs, samples))

    evaluation, remarks = evaluating.compared("rounded file", outputs)
    return replace(quantization, evaluation=evaluation), remarks


def _input(spec: Any, integer_io: bool) -> TensorReport:
    """As the file has it."""
    return TensorReport(spec.name, spec.shape, "int8" if integer_io and "float" in spec.dtype else spec.dtype)


def _batch(model: Any, requested: Any) -> int | None:
    """Of the export; None: left open."""
    return None if requested == DYNAMIC else batch_of([model], requested)


def _metadata(source: str, arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The program, the source, and what was requested; no path, which is of this machine alone."""
    skipped = {"model_or_path", "output", "overwrite", "progress", "custom_objects", "unsafe"}
    options = [f"{name}={_short(value)}" for name, value in sorted(arguments.items()) if name not in skipped]
    return (
        ("octconvert_version", version()),
        ("octconvert_source", Path(source).name),
        ("octconvert_options", " ".join(options)),
    )


def _short(value: Any) -> str:
    """An option's value: of data their file's name or their type."""
    if isinstance(value, (str, Path)):
        return Path(value).name
    return shown(value) if isinstance(value, (bool, int, float, tuple)) else type(value).__name__
