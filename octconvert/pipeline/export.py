"""`octconvert.export`: a model read, written for a runtime, and checked there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octconvert.options.fields import parse
from octconvert.options.loading import LoadingOptions
from octconvert.pipeline.source import read_source
from octconvert.results.export import Exported, TensorReport
from octconvert.runtimes.signature import batch_of, signature_of
from octconvert.system.progress import silent
from octconvert.verification.exporting import check_export_target, export_checked, format_of, written_bytes


def export(arguments: Mapping[str, Any]) -> Exported:
    """`octconvert.export`; see there."""
    progress, output = arguments.get("progress", silent), arguments["output"]
    overwrite = arguments.get("overwrite", False)
    target = Path(output)
    runtime = format_of(target, arguments.get("format"))
    runtime.check_installed()
    check_export_target(runtime, target, overwrite)
    progress("read", 0, 1)
    source = read_source(arguments["model_or_path"], parse(LoadingOptions, arguments))
    batch = batch_of([source.model], arguments.get("batch"))
    signature_of(source.model, batch)
    source_notes = source.example()[1]
    progress(f"export for {runtime.name}", 0, 1)
    choice = export_checked(source.model, runtime, target, batch, overwrite, arguments.get("for_inference", True))
    return Exported(
        source=source.label,
        target=str(output),
        runtime=runtime.name,
        bytes=written_bytes(runtime, target),
        for_inference=choice.for_inference,
        inputs=tuple(TensorReport(spec.name, spec.shape, spec.dtype) for spec in choice.result.inputs),
        check=choice.result.check,
        notes=(*source.repairs, *source_notes, *choice.notes),
    )
