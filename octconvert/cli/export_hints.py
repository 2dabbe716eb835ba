"""Conversions that were asked for what an export does: refused with the export, in the user's own paths."""

from __future__ import annotations

import os
import shlex

from octconvert.cli.files import default_output
from octconvert.errors import UsageError
from octconvert.options.delivery import check_model_suffix
from octconvert.options.timing import EXPORT_SUFFIXES


def check_model_output(model: str, output: str, precision: str | None) -> None:
    """
    Raises:
        UsageError: the output's ending is that of an export, or none that Keras writes.
    """
    stem, suffix = os.path.splitext(output)
    if suffix.lower() in EXPORT_SUFFIXES:
        raise UsageError(f"{output}: a conversion writes .keras or .h5; {_export(model, output, precision)}")
    if not suffix and not os.path.isdir(output):
        raise UsageError(
            f"{output}: the name must end in .keras or .h5; did you mean -o {shlex.quote(stem + '.keras')}?"
        )
    if not os.path.isdir(output):
        check_model_suffix(output)


def check_rounding(model: str, precision: str | None, runtime: str | None) -> None:
    """
    Raises:
        UsageError: numbers are to be rounded, which only an export does.
    """
    if precision is None or runtime is not None:
        return
    target = f"{os.path.splitext(_converted(model))[0]}.tflite"
    raise UsageError(
        f"--quantize needs a --runtime: a conversion only prepares the rounding for it; an export rounds the numbers: "
        f"{_export(model, target, precision)}"
    )


def _export(model: str, target: str, precision: str | None) -> str:
    """The command, behind the conversion where there is none yet."""
    source = _converted(model)
    rounding = f" --quantize {precision}" if precision else ""
    first = "" if os.path.exists(source) else "convert without it first, then "
    return f"{first}octconvert export {shlex.quote(source)} -o {shlex.quote(target)}{rounding}"


def _converted(model: str) -> str:
    """The model, where its name says that it is converted already; else the name of its conversion."""
    output = default_output(model)
    return model if os.path.splitext(output)[0].endswith("-octave-octave") else output
