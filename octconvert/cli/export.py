"""``octconvert export``: its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from octconvert.cli.files import check_model, check_output, check_results
from octconvert.cli.parameters import (
    DEFAULT_LOADING,
    DEFAULT_RESULT,
    DEFAULT_RUN,
    OUTPUT,
    RUN,
    FileName,
    LoadingParameters,
    ResultParameters,
    RunParameters,
    flag,
    typed,
    whole_number,
)
from octconvert.cli.quantization import DEFAULT_QUANTIZATION, QuantizationParameters
from octconvert.cli.task import Task
from octconvert.options import limits
from octconvert.options.timing import FormatName


@dataclass(frozen=True, kw_only=True)
class FormatParameters:
    """What is written."""

    format: Annotated[
        FormatName | None,
        flag("Default: by the ending. openvino and tf (a SavedModel) can write directories.", group=RUN),
    ] = None
    opset: Annotated[
        str | None,
        flag("Version of the operations of ONNX. Default: what is best supported.", group=RUN, metavar="INT"),
    ] = None
    no_for_inference: Annotated[bool, flag("Write the model as it is, with its normalisation layers.", group=RUN)] = (
        False
    )


DEFAULT_FORMAT = FormatParameters()


def export(
    model: Annotated[FileName, Parameter(help="The model to export.")],
    /,
    *,
    output: Annotated[
        FileName,
        flag(
            "What to write: a name ending in .tflite, .onnx or .xml (OpenVINO), or a directory.",
            "--output",
            "-o",
            group=OUTPUT,
            metavar="PATH",
        ),
    ],
    form: Annotated[FormatParameters, Parameter(name="*")] = DEFAULT_FORMAT,
    rounding: Annotated[QuantizationParameters, Parameter(name="*")] = DEFAULT_QUANTIZATION,
    size: Annotated[RunParameters, Parameter(name="*")] = DEFAULT_RUN,
    loading: Annotated[LoadingParameters, Parameter(name="*")] = DEFAULT_LOADING,
    result: Annotated[ResultParameters, Parameter(name="*")] = DEFAULT_RESULT,
) -> Task:
    """Write MODEL for another runtime, checked against Keras."""
    from octconvert.verification import exporting

    console, sized, rounded = result.console(), size.arguments(), rounding.arguments()
    runtime = exporting.format_of(Path(output), form.format)
    if sized["batch"] is not None:
        limits.open_batch("batch", sized["batch"])
    opset = None if form.opset is None else limits.whole("opset", whole_number(form.opset))
    exporting.check_settings(runtime, rounding.quantize, opset, rounding.integer_io)
    check_model(model)
    check_results(result, (model, *rounding.files))
    check_output(model, output, result)
    exporting.check_export_target(runtime, Path(output), result.force)
    arguments = {
        "output": output,
        "format": form.format,
        **typed({"opset": opset}),
        "for_inference": not form.no_for_inference,
        "overwrite": result.force,
        **sized,
        **rounded,
        **loading.arguments(),
    }
    return Task("export", (model,), arguments, console, (output, *result.files))
