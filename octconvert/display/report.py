"""A report: the headline, the costs, each convolution before and after, what stayed plain, and the checks.

Everything printed is ASCII except for names of the user's own. Tables choose their columns by the width of the
terminal, so that no line is wider; long models are collapsed, and verbose shows every layer.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display import bench, calibration, chains, next_steps, options
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
    figures,
    first_that_fits,
    heading,
    role_name,
    spaced,
    whole_low,
)
from octconvert.results.plan import OCTAVE_ROLES, PLAIN
from octconvert.results.report import Report
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
        _unmatched(report, verbose) if _is_diff(report) else _plain(report, shares, verbose),
        sentences("Repaired while loading", report.repairs, verbose),
        sentences("Notes", report.notes, verbose),
        _checks(report),
        next_steps.section(report.next_steps, view),
    ]
    return spaced(sections)


# --- the headline ---------------------------------------------------------------------------------------------------


def _is_diff(report: Report) -> bool:
    """Two models side by side that are not a model and its conversion."""
    converted = any(row.role in OCTAVE_ROLES for row in report.convolutions)
    return not report.options and report.seconds is None and not converted


def _headline(report: Report, view: View) -> list[RenderableType]:
    lines: list[RenderableType] = [_title(report)]
    failed = [check.name for check in report.checks if not check.passed]
    if failed:
        verdict = f"FAILED: {', '.join(failed)} ({len(failed)} of {words.plural(len(report.checks), 'check')})."
        lines.append(Text(f"{verdict} Do not use the converted model.", style="bold red"))
    lines.append(Text(_summary(report), style="bold"))
    return [*lines, *calibration.headlines(report, view)]


def _title(report: Report) -> Text:
    took = "" if report.seconds is None else f"  ({report.seconds:.1f} s)"
    summary = options.summary(dict(report.options))
    title = f"{report.source} -> {report.target}{took}" if report.target else f"{report.source}{took}"
    return Text(f"{title}\n{summary}" if summary else title)


def _summary(report: Report) -> str:
    total, converted = len(report.convolutions), len(report.converted)
    share = words.percent(report.octave_mac_share)
    if _is_diff(report):
        changed = sum(row.macs_before != row.macs_after for row in report.convolutions if row.macs_after)
        return f"Side by side: {changed:,} of {words.plural(total, 'convolution')} differ in MACs."
    if not total:
        return "Nothing was converted: the model has no convolutions."
    if not converted:
        stays = "the only convolution stays" if total == 1 else f"all {total:,} convolutions stay"
        return f"Nothing was converted: {stays} plain."
    which = f"{words.plural(total, 'convolution')} converted{whole_low(report)}"
    return f"{converted:,} of {which}, {share} of the convolution MACs."


def _costs(report: Report) -> list[RenderableType]:
    before, after = report.before, report.after
    lines = (
        ("MACs", "macs", lambda value: words.human(value, 4)),
        ("parameters", "parameters", lambda value: words.human(value, 4)),
        ("activation memory", "activation_bytes", words.size),
        ("peak activation memory", "peak_activation_bytes", words.size),
    )
    rows = []
    for label, name, form in lines:
        old, new = getattr(before, name), getattr(after, name)
        rows.append((label, form(old), form(new), words.ratio(old, new)))
    table = figures(("", "before", "after", "ratio"), rows)
    assumed = before.assumed_shapes or after.assumed_shapes
    if not assumed:
        return [table]
    shapes = ", ".join(words.shape(item) for item in assumed)
    return [table, Text(f"Counted for inputs of size {shapes}; the model leaves the size open.")]


# --- the per-layer table --------------------------------------------------------------------------------------------

_WAS = LayerColumn("class\nbefore", lambda row: row.class_name)
# A diff has no plan: the role column contains the layer's class in the second model.
_BECAME = LayerColumn("class\nafter", lambda row: row.class_name if row.role == PLAIN else role_name(row.role))
_MAP = LayerColumn("map", lambda row: words.shape(row.output_shape), right=True)
_BEFORE = LayerColumn("map\nbefore", lambda row: words.shape(row.output_shape), right=True)
_HIGH = LayerColumn(
    "high map\nafter", lambda row: WHOLE_LOW if row.writes_whole_low else words.shape(row.high_shape), right=True
)
_LOW = LayerColumn("low map\nafter", lambda row: words.shape(row.low_shape), right=True)
_MACS_BEFORE = LayerColumn("MACs\nbefore", lambda row: words.human(row.macs_before), right=True)
_MACS_AFTER = LayerColumn("MACs\nafter", lambda row: words.human(row.macs_after), right=True)
_RATIO = LayerColumn("ratio", lambda row: words.ratio(row.macs_before, row.macs_after), right=True)
_MACS = (_MACS_BEFORE, _MACS_AFTER, _RATIO)


def _layers(report: Report, verbose: bool) -> list[RenderableType]:
    rows = report.convolutions
    if not rows:
        return []
    error = calibration.error_column(rows)
    shown: list = collapsed(rows, [row.macs_before for row in rows], verbose, calibration.badness(rows))
    whole = len(shown) >= len(rows)
    if len(rows) > 1:
        shown.append(Gap(tuple(rows)))

    def build(width: int) -> RenderableType:
        table = first_that_fits(_choices(report, error), shown, _gap_or_total(len(rows)), width)
        has_errors = error and any(column.header == error.header for column in table.columns)
        return Group(table, Text(calibration.ERROR)) if has_errors else table

    some = "first, last, heaviest and worst" if error else "first, last and heaviest"
    return [heading("Convolutions" if whole else f"Convolutions: {some} {MORE}"), Fitted(build)]


def _choices(report: Report, error: LayerColumn | None) -> list[tuple[LayerColumn, ...]]:
    """The columns to choose from, the richest first; shapes go before the errors do."""
    if _is_diff(report):
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
        before, after = (sum(getattr(row, name) for row in gap.rows) for name in ("macs_before", "macs_after"))
        name = f"all {count:,}" if len(gap.rows) == count else f"... {len(gap.rows):,} more"
        values = (words.human(before), words.human(after), words.ratio(before, after))
        return {"layer": name, **{column.header: value for column, value in zip(_MACS, values, strict=True)}}

    return cells


# --- what stayed plain, and checks ------------- ----------------------------------------------------------------------


def _plain(report: Report, shares: chains.MacShares, verbose: bool) -> list[RenderableType]:
    rows = [(row.name, row.reason) for row in report.convolutions if row.role == PLAIN]
    suffix = shares.suffix([name for name, _ in rows])
    total = words.plural(len(report.convolutions), "convolution")
    return reasons(f"Stayed plain: {len(rows):,} of {total}{suffix}", rows, verbose)


def _unmatched(report: Report, verbose: bool) -> list[RenderableType]:
    """Convolutions of a diff that only one of the models has."""
    rows = [(row.name, row.reason) for row in report.convolutions if row.reason]
    total = words.plural(len(report.convolutions), "convolution")
    return reasons(f"Without a counterpart: {len(rows):,} of {total}", rows, verbose)


def _checks(report: Report) -> list[RenderableType]:
    if not report.checks:
        return [] if report.seconds is None else [heading("Checks"), Text("  none were run")]
    return checks("Checks", report.checks)
