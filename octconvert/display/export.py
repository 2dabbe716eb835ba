"""An exported model: the file, its inputs, and how it was checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display import evaluation, next_steps
from octconvert.display.calibration import value_of
from octconvert.display.printing import spelled
from octconvert.display.sections import checks, sentences
from octconvert.display.tables import heading, indented, spaced
from octconvert.results.export import Exported, QuantizationReport
from octconvert.results.shown import STANDARD, View, renderable
from octconvert.text import words


@renderable.register
def render(exported: Exported, view: View = STANDARD) -> Group:
    """All of it."""
    exported = spelled(exported, view.spell)
    rounded = exported.quantization
    headlines: list[RenderableType] = [Text(title(exported)), Text(summary(exported), style="bold")]
    if rounded is not None and rounded.evaluation is not None:
        headlines += evaluation.headlines(rounded.evaluation)
    sections: list[Sequence[RenderableType]] = [
        headlines,
        [heading("Inputs"), indented(inputs(exported))],
        [] if rounded is None else [heading("Rounding"), indented(rounding(rounded))],
        checks("Check", [exported.check]),
        sentences("Notes", exported.notes),
        next_steps.section(exported.next_steps, view),
    ]
    return spaced(sections)


def title(exported: Exported) -> str:
    """The model and the file."""
    return f"{exported.source} -> {exported.target}"


def summary(exported: Exported) -> str:
    """What was written."""
    rounded, form = exported.quantization, ", in its form for inference" if exported.for_inference else ""
    precision = "" if rounded is None else f", {rounded.precision}"
    parts = "" if exported.partitions is None else f", {words.plural(exported.partitions, 'partition')}"
    return f"{exported.runtime}{precision}, {words.size(exported.bytes)}{parts}{form}."


def inputs(exported: Exported) -> list[tuple[str, str]]:
    """(name, shape and dtype) of each."""
    return [(tensor.name, f"{words.shape(tensor.shape)} {tensor.dtype}") for tensor in exported.inputs]


def rounding(report: QuantizationReport) -> Iterator[tuple[str, str]]:
    """What was rounded, and how close the outputs are to those in float32."""
    yield report.precision, _WHAT[report.precision] + (", inputs and outputs too" if report.integer_io else "")
    if report.data:
        yield "ranges", f"measured on {report.data}"
    for each in report.closeness:
        yield each.name, f"{value_of(each.name, each.value)} on {words.plural(report.held_out, 'held-out sample')}"


_WHAT = {
    "int8": "weights and activations",
    "float16": "weights",
    "dynamic": "weights in int8, activations as each run has them",
}
