"""A plan: what becomes of every convolution, the chains, and what stays plain."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display import chains, options
from octconvert.display.printing import spelled
from octconvert.display.sections import reasons
from octconvert.display.tables import (
    ALPHA,
    MORE,
    ROLE,
    WHOLE_LOW,
    Fitted,
    LayerColumn,
    collapsed,
    first_that_fits,
    heading,
    spaced,
    whole_low,
)
from octconvert.results.plan import PLAIN, Convolution, Plan
from octconvert.results.shown import STANDARD, View, renderable
from octconvert.text import words

_OPTIONS = ("octave", "min_size", "stride_mode", "weights", "portable", "elementwise")


@renderable.register
def render(plan: Plan, view: View = STANDARD) -> Group:
    """The whole plan."""
    plan = spelled(plan, view.spell)
    sections: list[Sequence[RenderableType]] = [
        [Text(title(plan)), Text(summary(plan), style="bold")],
        chains.section(plan.chains, chains.MacShares(), view.verbose),
        _layers(plan, view.verbose),
        reasons(*left_out(plan), view.verbose),
    ]
    return spaced(sections)


def title(plan: Plan) -> str:
    """The model and the options that the plan fixes."""
    return f"Plan for {plan.model}: {options.summary({name: getattr(plan, name) for name in _OPTIONS})}"


def left_out(plan: Plan) -> tuple[str, list[tuple[str, str]]]:
    """A title, and (layer, reason) of what stays plain."""
    plain = [(row.name, row.reason) for row in plan.convolutions if row.role == PLAIN]
    return f"Stays plain: {len(plain):,} of {words.plural(len(plan.convolutions), 'convolution')}", plain


def summary(plan: Plan) -> str:
    """How much would be converted."""
    total, converted = len(plan.convolutions), len(plan.converted)
    text = f"{converted:,} of {words.plural(total, 'convolution')} would become octave layers{whole_low(plan)}."
    if not converted:
        why = f"all {total:,} convolutions stay plain" if total else "the model has no convolutions"
        text = f"Nothing would be converted: {why}."
    return text


def _layers(plan: Plan, verbose: bool) -> list[RenderableType]:
    rows = plan.convolutions
    if not rows:
        return []
    shown = collapsed(rows, [0.0] * len(rows), verbose)

    def build(width: int) -> Table:
        return first_that_fits(columns(plan), shown, lambda gap: {"layer": f"... {len(gap.rows):,} more"}, width)

    title = "Convolutions" if len(shown) == len(rows) else f"Convolutions: the first and the last {MORE}"
    return [heading(title), Fitted(build)]


def columns(plan: Plan) -> list[tuple[LayerColumn, ...]]:
    """The columns to choose from, the richest first."""
    groups = {name: group for group in plan.groups for name in group.producers}
    lows = {name: low for group in plan.groups for name, low in zip(group.producers, group.low, strict=True)}
    source = LayerColumn("input\nmap", lambda row: words.shape(row.input_shape[1:]), right=True)
    target = LayerColumn("output\nmap", lambda row: words.shape(row.output_shape[1:]), right=True)
    low = LayerColumn("low\nchannels", lambda row: _low(row, lows), True, lambda row: lows.get(row.name, 0))
    group = LayerColumn("group", lambda row: groups[row.name].name if row.name in groups else "-")
    return [(ROLE, ALPHA, source, target, low, group), (ROLE, ALPHA, low, group)]


def _low(row: Convolution, lows: dict[str, int]) -> str:
    if row.writes_whole_low:
        return WHOLE_LOW
    return str(lows.get(row.name, "-")) if row.alpha_out else "-"
