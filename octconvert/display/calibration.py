"""The calibration in a report: headlines, a section, and the column of errors in the per-layer table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display import evaluation
from octconvert.display.tables import MORE, LayerColumn, figures, heading, indented
from octconvert.results.report import (
    CalibrationReport,
    ConvolutionReport,
    Measure,
    Report,
    Step,
)
from octconvert.results.shown import View
from octconvert.text import words

MOST_STEPS = 12
BAR = 5
ERROR = (
    f"error: mean squared difference from the source's output, relative to its variance; {'#' * BAR} marks the worst "
    "layer."
)
_AGREEMENT, _ERROR, _PSNR = "top-1 agreement", "relative error", "PSNR"
_MOVED = {"fold": "folded"}  # what the weights are called before they are calibrated, where not "sliced"


# --- the headline ---------------------------------------------------------------------------------------------------


def headlines(report: Report, view: View) -> list[RenderableType]:
    """The accuracy, and on which data it was calibrated; nothing where neither was measured."""
    lines: list[RenderableType] = []
    if report.evaluation is not None:
        lines += evaluation.headlines(report.evaluation)
    if report.calibration is not None:
        text = _calibrated(report.calibration)
        if report.evaluation is None and _classifies(report.calibration):
            text += view.spell(" The accuracy was not measured: `evaluate` with labelled data measures it.")
        lines.append(Text(text))
    return lines


def _calibrated(calibration: CalibrationReport) -> str:
    """Numbers on synthetic images are left to the section: in the headline they would be read as an accuracy."""
    data = "synthetic images" if calibration.synthetic else calibration.data
    if not _any_kept(calibration):
        return f"Not calibrated: no step on {data} was {'kept' if calibration.steps else 'run'}."
    if calibration.synthetic or not calibration.measures:
        return f"Calibrated on {data}."
    first = calibration.measures[0]
    change = f"{first.name} {value_of(first.name, first.before)} -> {value_of(first.name, first.after)}"
    return f"Calibrated on {data}: {change} {_where(calibration)}."


def _classifies(calibration: CalibrationReport) -> bool:
    return any(measure.name == _AGREEMENT for measure in calibration.measures)


def _any_kept(calibration: CalibrationReport) -> bool:
    return any(step.kept for step in calibration.steps)


def _where(calibration: CalibrationReport) -> str:
    kind = " (synthetic)" if calibration.synthetic else ""
    if not calibration.held_out:
        return f"on the samples used for fitting{kind}"
    return f"on {words.plural(calibration.held_out, 'held-out sample')}{kind}"


# --- the section ----------------------------------------------------------------------------------------------------


def section(report: Report, view: View) -> list[RenderableType]:
    """The data, the measures before and after, and each step; nothing where the report has no calibration."""
    calibration = report.calibration
    if calibration is None:
        return []
    title = heading(f"Calibration  ({calibration.seconds:.1f} s)")
    parts: list[RenderableType] = [title, indented(_data(calibration, view))]
    if calibration.measures:
        before = _MOVED.get(str(dict(report.options).get("weights")), "sliced")
        after = "calibrated" if _any_kept(calibration) else "now"
        rows = [_measure(measure) for measure in calibration.measures]
        parts += [Text(), figures((_where(calibration), before, after), rows)]
    if calibration.steps:
        parts += [Text(), _steps(calibration.steps, view.verbose)]
    return parts


def _data(calibration: CalibrationReport, view: View) -> list[tuple[str, str]]:
    counts = f"{calibration.samples:,} for fitting, {calibration.held_out:,} held out"
    pairs = [("data", f"{calibration.data}: {counts}")]
    if calibration.input_range:
        pairs.append(("input range", calibration.input_range))
    if calibration.cut:
        pairs.append(("the clock", f"ended {', '.join(calibration.cut)}: another run may have other weights"))
    if calibration.synthetic:
        pairs.append(("better with", view.spell("`calibration`: a few hundred unlabelled inputs of your own")))
    return pairs


def _measure(measure: Measure) -> tuple[str, str, str]:
    return measure.name, value_of(measure.name, measure.before), value_of(measure.name, measure.after)


def value_of(name: str, value: float) -> str:
    """Of a `Measure` of that name."""
    if name == _PSNR:
        return f"{value:.1f} dB"
    if not math.isfinite(value):
        return str(value)
    return {_AGREEMENT: words.percent, _ERROR: words.fine_percent}.get(name, "{:.4g}".format)(value)


def _steps(steps: Sequence[Step], verbose: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    shown = steps if verbose else steps[:MOST_STEPS]
    for step in shown:
        state = Text("  kept", style="green") if step.kept else Text("  not kept", style="dim")
        grid.add_row(state, Text(words.shorten(step.name, 20)), Text(f"{step.seconds:.1f} s"), Text(step.detail))
    hidden = len(steps) - len(shown)
    return Group(grid, Text(f"  and {words.plural(hidden, 'more step')} {MORE}")) if hidden else grid


# --- the error of each layer ----------------------------------------------------------------------------------------


def error_column(rows: Sequence[ConvolutionReport]) -> LayerColumn | None:
    """A bar against the worst layer, and the number; None where no error was measured."""
    errors = [row.error for row in rows if row.error is not None]
    worst = max((error for error in errors if math.isfinite(error)), default=0.0)
    return LayerColumn("error", lambda row: _bar(row.error, worst), right=True) if errors else None


def badness(rows: Sequence[ConvolutionReport]) -> list[float]:
    """The errors as a key for sorting, NaN as the worst; nothing where no error was measured."""
    if all(row.error is None for row in rows):
        return []
    return [-1.0 if row.error is None else math.inf if math.isnan(row.error) else row.error for row in rows]


def _bar(error: float | None, worst: float) -> str:
    if error is None:
        return ""
    if not math.isfinite(error):
        return f"{'#' * BAR} {error!s:>5}"
    length = round(BAR * error / worst) if worst else 0
    return f"{('#' * length).ljust(BAR, '.')} {words.short_percent(error):>5}"
