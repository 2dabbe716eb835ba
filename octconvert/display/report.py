"""A report: the headline, the costs, each convolution before and after, what stayed plain, and the checks.

Everything printed is ASCII except for names of the user's own. Tables choose their columns by the width of the
terminal, so that no line is wider; long models are collapsed, and verbose shows every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display import bench, calibration, chains, facts, next_steps
from octconvert.display.printing import spelled
from octconvert.display.sections import checks, reasons, sentences
from octconvert.display.tables import (
    ALPHA,
    MORE,
    ROLE,
    WHOLE_LOW,
    Fitted,
    Gap,
    LayerColumn,
    collapsed,
    extent,
    figures,
    first_that_fits,
    heading,
    role_name,
    spaced,
)
from octconvert.results.plan import PLAIN
from octconvert.results.report import ConvolutionReport, Report
from octconvert.results.shown import STANDARD, View, renderable
from octconvert.text import words


@renderable.register
def render(report: Report, view: View = STANDARD) -> Group:
    """The whole report."""
    report, verbose = spelled(report, view.spell), view.verbose
    shares = chains.MacShares(report.convolutions)
    sections = [
        _headline(report, view),
        _costs(report),
        *(bench.sections(report.bench) if report.bench is not None else ()),
        calibration.section(report, view),
        chains.section(report.chains, shares, verbose),
        _layers(report, verbose),
        reasons(*facts.left_out(report), verbose),
        sentences("Repaired while loading", report.repairs, verbose),
        sentences("Notes", report.notes, verbose),
        _checks(report),
        next_steps.section(report.next_steps, view),
    ]
    return spaced(sections)


# --- the headline and the costs -------------------------------------------------------------------------------------


def _headline(report: Report, view: View) -> list[RenderableType]:
    chosen = facts.chosen(report)
    took = f"  ({facts.took(report)})" if facts.took(report) else ""
    lines: list[RenderableType] = [Text(" -> ".join(facts.models(report)) + took + (f"\n{chosen}" if chosen else ""))]
    if failure := facts.failure(report):
        lines.append(Text(failure, style="bold red"))
    lines.append(Text(facts.summary(report), style="bold"))
    return [*lines, *calibration.headlines(report, view)]


def _costs(report: Report) -> list[RenderableType]:
    rows = [(line.label, line.before, line.after, line.ratio) for line in facts.costs(report)]
    table, assumed = figures(("", "before", "after", "ratio"), rows), facts.assumed_sizes(report)
    return [table, Text(assumed)] if assumed else [table]


# --- the per-layer table --------------------------------------------------------------------------------------------

_WAS = LayerColumn("class\nbefore", lambda row: row.class_name)
# A diff has no plan: the role column contains the layer's class in the second model.
_BECAME = LayerColumn("class\nafter", lambda row: row.class_name if row.role == PLAIN else role_name(row.role))
_MAP = LayerColumn("map", lambda row: words.shape(row.output_shape), True, lambda row: extent(row.output_shape))
_BEFORE = LayerColumn(
    "map\nbefore", lambda row: words.shape(row.output_shape), True, lambda row: extent(row.output_shape)
)
_HIGH = LayerColumn("high map\nafter", lambda row: _high(row), True, lambda row: extent(row.high_shape))
_LOW = LayerColumn("low map\nafter", lambda row: words.shape(row.low_shape), True, lambda row: extent(row.low_shape))
_MACS_BEFORE = LayerColumn("MACs\nbefore", lambda row: words.human(row.macs_before), True, lambda row: row.macs_before)
_MACS_AFTER = LayerColumn("MACs\nafter", lambda row: words.human(row.macs_after), True, lambda row: row.macs_after)
_RATIO = LayerColumn(
    "ratio",
    lambda row: words.ratio(row.macs_before, row.macs_after),
    True,
    lambda row: row.macs_before / row.macs_after if row.macs_after else 0.0,
)
_MACS = (_MACS_BEFORE, _MACS_AFTER, _RATIO)


def _high(row: ConvolutionReport) -> str:
    return WHOLE_LOW if row.writes_whole_low else words.shape(row.high_shape)


def _layers(report: Report, verbose: bool) -> list[RenderableType]:
    rows = report.convolutions
    if not rows:
        return []
    choices = columns(report)
    error = any(column.header == calibration.ERROR_HEADER for column in choices[0])
    shown: list = collapsed(rows, [row.macs_before for row in rows], verbose, calibration.badness(rows))
    whole = len(shown) >= len(rows)
    if len(rows) > 1:
        shown.append(Gap(tuple(rows)))

    def build(width: int) -> RenderableType:
        table = first_that_fits(choices, shown, _gap_or_total(len(rows)), width)
        has_errors = any(column.header == calibration.ERROR_HEADER for column in table.columns)
        return Group(table, Text(calibration.ERROR)) if has_errors else table

    some = "first, last, heaviest and worst" if error else "first, last and heaviest"
    return [heading("Convolutions" if whole else f"Convolutions: {some} {MORE}"), Fitted(build)]


def columns(report: Report) -> list[tuple[LayerColumn, ...]]:
    """The columns to choose from, the richest first; shapes go before the errors do."""
    error = calibration.error_column(report.convolutions)
    if facts.is_diff(report):
        return [(_WAS, _BECAME, _MAP, *_MACS), (_BECAME, *_MACS)]
    few = (ROLE, *_MACS)
    if not report.converted:
        return [(ROLE, _MAP, *_MACS), few]
    all_maps, maps = (ROLE, ALPHA, _BEFORE, _HIGH, _LOW, *_MACS), (ROLE, ALPHA, _HIGH, _LOW, *_MACS)
    if error is None:
        return [all_maps, maps, few]
    return [*((*columns, error) for columns in (all_maps, maps, (ROLE, ALPHA, *_MACS), few)), few]


def _gap_or_total(count: int) -> Callable[[Gap], dict[str, str]]:
    def cells(gap: Gap) -> dict[str, str]:
        sums = total(gap.rows)
        return sums if len(gap.rows) == count else {**sums, "layer": f"... {len(gap.rows):,} more"}

    return cells


def total(rows: Sequence[ConvolutionReport]) -> dict[str, str]:
    """Header -> text of a row that sums up others."""
    before, after = (sum(getattr(row, name) for row in rows) for name in ("macs_before", "macs_after"))
    values = (words.human(before), words.human(after), words.ratio(before, after))
    headers = (column.header for column in _MACS)
    return {"layer": f"all {len(rows):,}", **dict(zip(headers, values, strict=True))}


# --- checks -----------------------------------------------------------------------------------------------------------


def _checks(report: Report) -> list[RenderableType]:
    if not report.checks:
        return [] if report.seconds is None else [heading("Checks"), Text("  none were run")]
    return checks("Checks", report.checks)
