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
BAR, EMPTY, FULL = 8, 1e-4, 1.0
"""Marks of a whole bar, and the errors at which it is empty and full: the same in all reports, to compare them."""
ERROR = (
    "error: mean squared difference from the source's output, over its variance.\n"
    f"bars: logarithmic, from {words.fine_percent(EMPTY)} (empty) to {words.fine_percent(FULL)} (full), "
    "the same in every report."
)
_AGREEMENT, _ERROR, _PSNR = "top-1 agreement", "relative error", "PSNR"
_MOVED = {"slice": "sliced", "fold": "folded"}
_EXPLAINED = {"solve": "solve (least squares)"}
"""Names of steps that are no words of English."""


# --- the headline ---------------------------------------------------------------------------------------------------


def headlines(report: Report, view: View) -> list[RenderableType]:
    """The accuracy, and on which data it was calibrated; nothing where neither was measured."""
    lines = [] if report.evaluation is None else evaluation.headlines(report.evaluation)
    return [*lines, *map(Text, sentences(report, view))]


def sentences(report: Report, view: View) -> list[str]:
    """On which data it was calibrated; nothing where it was not."""
    if report.calibration is None:
        return []
    text = _calibrated(report.calibration)
    if report.evaluation is None and _classifies(report.calibration):
        text += view.spell(" The accuracy was not measured: `evaluate` with labelled data measures it.")
    return [text]


def _calibrated(calibration: CalibrationReport) -> str:
    """Numbers on synthetic images are left to the section: in the headline they would be read as an accuracy."""
    data = "synthetic images" if calibration.synthetic else calibration.data
    if not _any_kept(calibration):
        return f"Not calibrated: no step on {data} was {'kept' if calibration.steps else 'run'}."
    if calibration.synthetic or not calibration.measures:
        return f"Calibrated on {data}."
    name, before, after = measure_texts(calibration.measures[0])
    return f"Calibrated on {data}: {name} {before} -> {after} {_where(calibration)}."


def _classifies(calibration: CalibrationReport) -> bool:
    return any(measure.name == _AGREEMENT for measure in calibration.measures)


def _any_kept(calibration: CalibrationReport) -> bool:
    return any(step.kept for step in calibration.steps)


def _where(calibration: CalibrationReport) -> str:
    kind = " (synthetic)" if calibration.synthetic else ""
    if not calibration.held_out:
        return f"on the samples used for fitting{kind}"
    return f"on {words.plural(calibration.held_out, 'held-out sample')}{kind}"


# --- the verdict ----------------------------------------------------------------------------------------------------


def verdict(calibration: CalibrationReport) -> str:
    """What was kept, and how far the outputs are from the source's: against which weights, measured on what."""
    weights = f"{_MOVED.get(calibration.base, calibration.base)} weights"
    kept = [_EXPLAINED.get(step.name, step.name) for step in calibration.steps if step.kept]
    shown = [measure_texts(measure) for measure in _compared(calibration)]
    names = " and the ".join(_FULL_NAMES.get(name, name) for name, _, _ in shown)
    before, after = (" and ".join(each[i] for each in shown) for i in (1, 2))
    measured = f"on {_samples(calibration)} the {names} {'are' if len(shown) > 1 else 'is'} {after}"
    if not kept:
        why = "each step below says why" if calibration.steps else "no step was run"
        return f"Nothing was kept: {why}. The model has {weights}{f'; {measured}' if shown else ''}."
    if any(step.name == "search" and step.kept for step in calibration.steps):
        weights += " at the alphas before the search"
    compared = f" O{measured[1:]}; with {weights} {'they are' if len(shown) > 1 else 'it is'} {before}."
    return f"Kept: {_joined(kept)}.{compared if shown else ''}"


_FULL_NAMES = {_ERROR: "error against the source", _AGREEMENT: "top-1 agreement with it"}


def _compared(calibration: CalibrationReport) -> list[Measure]:
    """The error, and on data of the user's the agreement; whatever was measured where there is neither."""
    names = (_ERROR,) if calibration.synthetic else (_ERROR, _AGREEMENT)
    by_name = {measure.name: measure for measure in calibration.measures}
    return [by_name[name] for name in names if name in by_name] or list(calibration.measures)


def _samples(calibration: CalibrationReport) -> str:
    """Those that were measured: ``64 held-out synthetic images``."""
    if calibration.synthetic:
        noun, source = "synthetic image" if "image" in calibration.data else "synthetic input", ""
    else:
        noun, source = "sample", f" of {calibration.data}"
    if not calibration.held_out:
        return f"the {noun}s used for fitting{source}"
    return f"{words.plural(calibration.held_out, f'held-out {noun}')}{source}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# --- the section ----------------------------------------------------------------------------------------------------


def section(report: Report, view: View) -> list[RenderableType]:
    """The verdict, the data, the measures before and after, and each step; nothing without a calibration."""
    calibration = report.calibration
    if calibration is None:
        return []
    parts: list[RenderableType] = [heading(title(calibration)), Text(verdict(calibration)), Text()]
    parts.append(indented(data_lines(calibration, view)))
    if calibration.measures:
        parts += [Text(), figures(*measures_table(calibration))]
    if calibration.steps:
        parts += [Text(), _steps(calibration.steps, view.verbose)]
    return parts


def title(calibration: CalibrationReport) -> str:
    """Of the section."""
    return f"Calibration  ({calibration.seconds:.1f} s)"


def measures_table(calibration: CalibrationReport) -> tuple[tuple[str, str, str], list[tuple[str, str, str]]]:
    """Headers and rows: each measure before and after."""
    before = _MOVED.get(calibration.base, calibration.base)
    after = "calibrated" if _any_kept(calibration) else "now"
    return (_where(calibration), before, after), [measure_texts(measure) for measure in calibration.measures]


def data_lines(calibration: CalibrationReport, view: View) -> list[tuple[str, str]]:
    counts = f"{calibration.samples:,} for fitting, {calibration.held_out:,} held out"
    pairs = [("data", f"{calibration.data}: {counts}")]
    if calibration.input_range:
        pairs.append(("input range", calibration.input_range))
    if calibration.cut:
        stages = _joined(calibration.cut)
        pairs.append(("the clock", f"decided how much is done of {stages}: another run may have other weights"))
    if calibration.synthetic:
        pairs.append(("better with", view.spell("`calibration`: a few hundred unlabelled inputs of your own")))
    return pairs


def measure_texts(measure: Measure) -> tuple[str, str, str]:
    """The name, and both values in as many digits as tell them apart."""
    if measure.name == _ERROR:
        before, after = words.fine_percents(measure.before, measure.after)
        return measure.name, before, after
    return measure.name, value_of(measure.name, measure.before), value_of(measure.name, measure.after)


def value_of(name: str, value: float) -> str:
    """Of a `Measure` of that name."""
    if name == _PSNR:
        return f"{value:.1f} dB"
    if not math.isfinite(value):
        return str(value)
    return {_AGREEMENT: words.percent, _ERROR: words.fine_percent}.get(name, "{:.4g}".format)(value)


def state(step: Step) -> str:
    """Whether its result was kept."""
    return "kept" if step.kept else "not kept"


def _steps(steps: Sequence[Step], verbose: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    shown = steps if verbose else steps[:MOST_STEPS]
    for step in shown:
        state_text = Text(f"  {state(step)}", style="green" if step.kept else "dim")
        grid.add_row(state_text, Text(words.shorten(step.name, 20)), Text(f"{step.seconds:.1f} s"), Text(step.detail))
    hidden = len(steps) - len(shown)
    return Group(grid, Text(f"  and {words.plural(hidden, 'more step')} {MORE}")) if hidden else grid


# --- the error of each layer ----------------------------------------------------------------------------------------


ERROR_HEADER = "error"


def error_column(rows: Sequence[ConvolutionReport]) -> LayerColumn | None:
    """A bar and the number; None where no error was measured."""
    errors = [row.error for row in rows if row.error is not None]
    width = max((len(words.fine_percent(error)) for error in errors), default=0)
    cell = lambda row: _with_bar(row.error, width)  # noqa: E731
    return LayerColumn(ERROR_HEADER, cell, True, lambda row: _badness(row.error)) if errors else None


def badness(rows: Sequence[ConvolutionReport]) -> list[float]:
    """The errors as a key for sorting, NaN as the worst; nothing where no error was measured."""
    if all(row.error is None for row in rows):
        return []
    return [_badness(row.error) for row in rows]


def _badness(error: float | None) -> float:
    if error is None:
        return -1.0
    return math.inf if math.isnan(error) else error


def _with_bar(error: float | None, width: int) -> str:
    """``width``: of the longest number in the column."""
    return "" if error is None else f"{('#' * _marks(error)).ljust(BAR, '.')} {words.fine_percent(error):>{width}}"


def _marks(error: float) -> int:
    return int(BAR * filled(error) + 1e-9)  # the logarithm of a power of ten may be a little too small


def filled(error: float) -> float:
    """Share of the bar, by the logarithm of the error; all of it for what is no number."""
    if not error < FULL:
        return 1.0
    return math.log(error / EMPTY) / math.log(FULL / EMPTY) if error > EMPTY else 0.0
