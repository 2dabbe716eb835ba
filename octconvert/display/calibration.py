"""What was done to keep the accuracy, and what became of it: headlines, a section, a column of the per-layer table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display.tables import MORE, LayerColumn, figures, heading, indented
from octconvert.results.report import CalibrationReport, ConvolutionReport, Evaluation, Measure, Report
from octconvert.results.shown import View
from octconvert.text import words

MOST_STEPS = 12
BAR = 5
ERROR = f"error: mean squared difference to the source's output, over its variance; {'#' * BAR} is the worst layer."
_AGREEMENT, _ERROR, _PSNR = "top-1 agreement", "relative error", "PSNR"
_MOVED = {"fold": "folded"}  # what the weights are called before they are calibrated, where not "sliced"


# --- the headline ---------------------------------------------------------------------------------------------------


def headlines(report: Report, view: View) -> list[RenderableType]:
    """The accuracy, and what stands behind it; nothing where nobody asked for either."""
    lines: list[RenderableType] = []
    if report.evaluation is not None:
        lines.append(Text(_accuracy(report.evaluation), style="bold"))
    if report.calibration is not None:
        lines.append(Text(_calibrated(report.calibration, measured=report.evaluation is not None)))
    return lines


def _accuracy(found: Evaluation) -> str:
    change = f"Accuracy {words.percent(found.before)} -> {words.percent(found.after)}"
    if f"{found.samples:,}" in found.data:  # "test.npz (5,000 images)" needs no second number
        return f"{change} on {found.data}."
    return f"{change} of {words.plural(found.samples, 'sample')} ({found.data})."


def _calibrated(done: CalibrationReport, measured: bool) -> str:
    """Numbers on synthetic images are left to the section: up here they would be taken for an accuracy."""
    data = "synthetic images" if done.synthetic else done.data
    if not _any_kept(done):
        told = f"Not calibrated: no step on {data} was {'kept' if done.steps else 'run'}."
    elif done.synthetic or not done.measures:
        told = f"Calibrated on {data}."
    else:
        first = done.measures[0]
        change = f"{first.name} {_value(first.name, first.before)} -> {_value(first.name, first.after)}"
        told = f"Calibrated on {data}: {change} {_where(done)}."
    classifies = any(measure.name == _AGREEMENT for measure in done.measures)
    return told if measured or not classifies else f"{told} Accuracy not measured: --evaluate DATA does it."


def _any_kept(done: CalibrationReport) -> bool:
    return any(step.kept for step in done.steps)


def _where(done: CalibrationReport) -> str:
    made = " (synthetic)" if done.synthetic else ""
    if not done.held_out:
        return f"on the samples it was fitted to{made}"
    return f"on {words.plural(done.held_out, 'held-out sample')}{made}"


# --- the section ----------------------------------------------------------------------------------------------------


def section(report: Report, view: View) -> list[RenderableType]:
    done = report.calibration
    if done is None:
        return []
    parts: list[RenderableType] = [heading(f"Calibration  ({done.seconds:.1f} s)"), indented(_data(done, view))]
    if done.measures:
        moved = _MOVED.get(str(dict(report.options).get("weights")), "sliced")
        now = "calibrated" if _any_kept(done) else "now"
        parts += [Text(), figures((_where(done), moved, now), [_measure(measure) for measure in done.measures])]
    if done.steps:
        parts += [Text(), _steps(done, view.verbose)]
    return parts


def _data(done: CalibrationReport, view: View) -> list[tuple[str, str]]:
    pairs = [("data", f"{done.data}: {done.samples:,} fitted to, {done.held_out:,} held out")]
    if done.input_range:
        pairs.append(("input range", done.input_range))
    if done.synthetic:
        pairs.append(("better with", "--calibrate DATA: a few hundred unlabelled inputs, as the model is fed"))
    return pairs


def _measure(measure: Measure) -> tuple[str, str, str]:
    return measure.name, _value(measure.name, measure.before), _value(measure.name, measure.after)


def _value(name: str, value: float) -> str:
    if name == _PSNR:
        return f"{value:.1f} dB"
    if not math.isfinite(value):
        return str(value)
    return {_AGREEMENT: words.percent, _ERROR: words.fine_percent}.get(name, "{:.4g}".format)(value)


def _steps(done: CalibrationReport, verbose: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    shown = done.steps if verbose else done.steps[:MOST_STEPS]
    for step in shown:
        state = Text("  kept", style="green") if step.kept else Text("  not kept", style="dim")
        grid.add_row(state, Text(words.shorten(step.name, 20)), Text(f"{step.seconds:.1f} s"), Text(step.detail))
    hidden = len(done.steps) - len(shown)
    return Group(grid, Text(f"  and {words.plural(hidden, 'more step')} {MORE}")) if hidden else grid


# --- the error of each layer ----------------------------------------------------------------------------------------


def error_column(rows: Sequence[ConvolutionReport]) -> LayerColumn | None:
    """A bar against the worst layer, and the number; None where no error was measured."""
    errors = [row.error for row in rows if row.error is not None]
    worst = max((error for error in errors if math.isfinite(error)), default=0.0)
    return LayerColumn("error", lambda row: _bar(row.error, worst), right=True) if errors else None


def badness(rows: Sequence[ConvolutionReport]) -> list[float]:
    """By which the worst layers are found; nothing where no error was measured."""
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


__all__ = ["ERROR", "badness", "error_column", "headlines", "section"]
