"""Reports and plans for the terminal: rich renderables made from values alone, readable without colour.

Everything printed is ASCII but for the names the user brought. Tables choose their columns by the width at hand, so
that 80 columns never wrap; long models are collapsed, ``verbose`` shows every layer.
"""

from __future__ import annotations

import dataclasses
import io
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display import calibration
from octconvert.display.tables import (
    MORE,
    Column,
    Fitted,
    Gap,
    Printable,
    collapsed,
    figures,
    first_that_fits,
    heading,
    indented,
    spaced,
    states,
)
from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, OCTAVE_ROLES, PLAIN, Chain, Options, Plan
from octconvert.results.report import ConvolutionReport, Report
from octconvert.text import words

MOST_CHAINS, MOST_REASONS, MOST_SENTENCES = 5, 8, 8
_ROLES = {FIRST: "first", INTERMEDIATE: "inter", LAST: "last", PLAIN: "plain"}


def render(report: Report, verbose: bool = False) -> Group:
    """The whole report. ``verbose`` lists every layer, chain and name."""
    shares = _Shares(report.convolutions)
    sections = [
        _headline(report),
        _costs(report),
        *(report.bench.sections() if report.bench is not None else ()),
        calibration.section(report, verbose),
        _chains(report.chains, shares, verbose),
        _layers(report, verbose),
        _absent(report, verbose) if _is_diff(report) else _plain(report, shares, verbose),
        _sentences("Repaired while loading", report.repairs, verbose),
        _sentences("Notes", report.notes, verbose),
        _checks(report),
        _next(report.next_command),
    ]
    return spaced(sections)


def as_text(renderable: RenderableType) -> str:
    """What ``print`` shows: as wide as the terminal, without colour."""
    text = io.StringIO()
    console = Console(file=text, no_color=True, width=shutil.get_terminal_size((80, 24)).columns)
    console.print(Printable(renderable), crop=False)
    return text.getvalue().rstrip("\n")


def plan_table(plan: Plan, verbose: bool = False) -> Group:
    """A plan: what becomes of every convolution, the chains, and what stays plain."""
    shares = _Shares(())
    left = [(row.name, row.reason) for row in plan.convolutions if row.role == PLAIN]
    title = f"Stays plain: {len(left):,} of {words.plural(len(plan.convolutions), 'convolution')}"
    sections = [
        _plan_headline(plan),
        _chains(plan.chains, shares, verbose),
        _plan_layers(plan, verbose),
        _reasons(title, left, verbose) if left else [],
    ]
    return spaced(sections)


# --- the headline ---------------------------------------------------------------------------------------------------


def _is_diff(report: Report) -> bool:
    """Two models side by side that are not a model and its conversion."""
    converted = any(row.role in OCTAVE_ROLES for row in report.convolutions)
    return not report.options and report.seconds is None and not converted


def _headline(report: Report) -> list[RenderableType]:
    lines: list[RenderableType] = [_title(report)]
    failed = [check.name for check in report.checks if not check.passed]
    if failed:
        verdict = f"FAILED: {', '.join(failed)} ({len(failed)} of {words.plural(len(report.checks), 'check')})."
        lines.append(Text(f"{verdict} Do not use the converted model.", style="bold red"))
    lines.append(Text(_summary(report), style="bold"))
    return [*lines, *calibration.headlines(report)]


def _title(report: Report) -> Text:
    took = "" if report.seconds is None else f"  ({report.seconds:.1f} s)"
    asked = _asked(dict(report.options))
    title = f"{report.source} -> {report.target}{took}" if report.target else f"{report.source}{took}"
    return Text(f"{title}\n{asked}" if asked else title)


def _asked(options: dict[str, object]) -> str:
    """The options that say the most, and those that are not the default."""
    defaults = dataclasses.asdict(Options())
    always = ("alpha", "octave", "weights")
    told = [name for name in options if name in always or options[name] != defaults.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {_value(options[name])}" for name in told)


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join("=".join(map(str, v)) if isinstance(v, tuple | list) else str(v) for v in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _summary(report: Report) -> str:
    total, done = len(report.convolutions), len(report.converted)
    share = words.percent(report.octave_mac_share)
    if _is_diff(report):
        changed = sum(row.macs_before != row.macs_after for row in report.convolutions if row.macs_after)
        return f"Side by side: {changed:,} of {words.plural(total, 'convolution')} differ in MACs."
    if not total:
        return "Nothing was converted: the model has no convolutions."
    if not done:
        stays = "the only convolution stays" if total == 1 else f"all {total:,} convolutions stay"
        return f"Nothing was converted: {stays} plain."
    return f"{done:,} of {words.plural(total, 'convolution')} converted, {share} of the convolution MACs."


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
    return [table, Text(f"Counted for the input {shapes}; the model leaves its size open.")]


# --- chains ---------------------------------------------------------------------------------------------------------


class _Shares:
    """Each layer's share of the convolution MACs; knows nothing of a plan's layers, which have no MACs."""

    def __init__(self, rows: Sequence[ConvolutionReport]):
        self._macs = {row.name: row.macs_before for row in rows}
        self._total = sum(self._macs.values())

    def of(self, names: Iterable[str]) -> float:
        return sum(self._macs.get(name, 0) for name in names) / self._total if self._total else 0.0

    def suffix(self, names: Sequence[str]) -> str:
        return f", {words.percent(self.of(names))} of the convolution MACs" if self._total else ""


def _members(chain: Chain) -> tuple[str, ...]:
    return (*chain.first, *chain.intermediate, *chain.last)


def _chains(chains: Sequence[Chain], shares: _Shares, verbose: bool) -> list[RenderableType]:
    if not chains:
        return []
    order = sorted(range(len(chains)), key=lambda i: (-shares.of(_members(chains[i])), -len(_members(chains[i])), i))
    shown = sorted(order if verbose else order[:MOST_CHAINS])
    parts: list[RenderableType] = []
    for index in shown:
        names = _members(chains[index])
        title = f"Chain {index + 1} of {len(chains)}" if len(chains) > 1 else "Chain"
        title = f"{title}: {words.plural(len(names), 'convolution')}{shares.suffix(names)}"
        parts += [heading(title), _chain(chains[index], verbose)]
    rest = [name for i in order if i not in shown for name in _members(chains[i])]
    if rest:
        left = words.plural(len(chains) - len(shown), "smaller chain")
        parts.append(Text(f"and {left} with {words.plural(len(rest), 'convolution')}{shares.suffix(rest)} {MORE}"))
    return parts


def _chain(chain: Chain, verbose: bool) -> Fitted:
    def build(width: int) -> Table:
        room = 2 * (width - 16) - 10
        pairs = []
        for label, names in (("first", chain.first), ("intermediate", chain.intermediate), ("last", chain.last)):
            if names:
                count = f"{len(names):,}: " if len(names) > 1 else ""
                pairs.append((label, count + words.listing(names, room, verbose)))
        if chain.dual:
            listed = f": {words.listing(chain.dual, room, verbose)}" if verbose else " between them"
            pairs.append(("dual", words.plural(len(chain.dual), "layer") + listed))
        return indented([*pairs, *_ends(chain, room, verbose)])

    return Fitted(build)


def _ends(chain: Chain, room: int, verbose: bool) -> list[tuple[str, str]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for end in chain.ends:
        groups.setdefault((end.reason, end.class_name), []).append(end.name)
    told = list(groups.items())
    kept = told if verbose else told[:MOST_REASONS]
    lines = []
    for (reason, class_name), names in kept:
        listed = words.listing(names, room // 2, verbose)
        lines.append(("ends at", f"{listed} ({class_name}): {reason}" if reason else f"{listed} ({class_name})"))
    hidden = sum(len(names) for _, names in told[len(kept) :])
    return [*lines, ("", f"and at {words.plural(hidden, 'other layer')} {MORE}")] if hidden else lines


# --- the per-layer table --------------------------------------------------------------------------------------------

_ROLE = Column("role", lambda row: _ROLES.get(row.role, row.role))
_ALPHA = Column("alpha\nin>out", lambda row: "" if row.role == PLAIN else _alphas(row))
_WAS = Column("class\nbefore", lambda row: row.class_name)
# A diff knows no plan: in the place of the role stands the layer's class in the second model.
_BECAME = Column("class\nafter", lambda row: row.class_name if row.role == PLAIN else _ROLES.get(row.role, row.role))
_MAP = Column("map", lambda row: words.shape(row.output_shape), right=True)
_BEFORE = Column("map\nbefore", lambda row: words.shape(row.output_shape), right=True)
_HIGH = Column("high map\nafter", lambda row: words.shape(row.high_shape), right=True)
_LOW = Column("low map\nafter", lambda row: words.shape(row.low_shape), right=True)
_MACS_BEFORE = Column("MACs\nbefore", lambda row: words.human(row.macs_before), right=True)
_MACS_AFTER = Column("MACs\nafter", lambda row: words.human(row.macs_after), right=True)
_RATIO = Column("ratio", lambda row: words.ratio(row.macs_before, row.macs_after), right=True)
_MACS = (_MACS_BEFORE, _MACS_AFTER, _RATIO)


def _alphas(row) -> str:
    return f"{words.alpha(row.alpha_in)}>{words.alpha(row.alpha_out)}"


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
        told = error and any(column.header == error.header for column in table.columns)
        return Group(table, Text(calibration.ERROR)) if told else table

    some = "first, last, heaviest and worst" if error else "first, last and heaviest"
    return [heading("Convolutions" if whole else f"Convolutions: {some} {MORE}"), Fitted(build)]


def _choices(report: Report, error: Column | None) -> list[tuple[Column, ...]]:
    """The columns to choose from, the richest first; shapes go before the errors do."""
    if _is_diff(report):
        return [(_WAS, _BECAME, _MAP, *_MACS), (_BECAME, *_MACS)]
    few = (_ROLE, *_MACS)
    if not report.converted:
        return [(_ROLE, _MAP, *_MACS), few]
    all_maps, maps = (_ROLE, _ALPHA, _BEFORE, _HIGH, _LOW, *_MACS), (_ROLE, _ALPHA, _HIGH, _LOW, *_MACS)
    if error is None:
        return [all_maps, maps, few]
    return [*((*columns, error) for columns in (all_maps, maps, (_ROLE, _ALPHA, *_MACS), few)), few]


def _gap_or_total(count: int) -> Callable[[Gap], dict[str, str]]:
    def cells(gap: Gap) -> dict[str, str]:
        before, after = (sum(getattr(row, name) for row in gap.rows) for name in ("macs_before", "macs_after"))
        name = f"all {count:,}" if len(gap.rows) == count else f"... {len(gap.rows):,} more"
        values = (words.human(before), words.human(after), words.ratio(before, after))
        return {"layer": name, **{column.header: value for column, value in zip(_MACS, values, strict=True)}}

    return cells


# --- what stayed plain, sentences, checks ---------------------------------------------------------------------------


def _plain(report: Report, shares: _Shares, verbose: bool) -> list[RenderableType]:
    left = [(row.name, row.reason) for row in report.convolutions if row.role == PLAIN]
    if not left:
        return []
    suffix = shares.suffix([name for name, _ in left])
    total = words.plural(len(report.convolutions), "convolution")
    return _reasons(f"Stayed plain: {len(left):,} of {total}{suffix}", left, verbose)


def _absent(report: Report, verbose: bool) -> list[RenderableType]:
    """What a diff could not match."""
    left = [(row.name, row.reason) for row in report.convolutions if row.reason]
    total = words.plural(len(report.convolutions), "convolution")
    return _reasons(f"Without a counterpart: {len(left):,} of {total}", left, verbose) if left else []


def _reasons(title: str, left: Sequence[tuple[str, str]], verbose: bool) -> list[RenderableType]:
    groups: dict[str, list[str]] = {}
    for name, reason in left:
        groups.setdefault(reason or "no reason is known", []).append(name)
    order = sorted(groups, key=lambda reason: -len(groups[reason]))
    kept = order if verbose else order[:MOST_REASONS]

    def build(width: int) -> Table:
        room = width - 10
        pairs = [(f"{len(groups[r]):,}", f"{r}\n{words.listing(groups[r], room, verbose)}") for r in kept]
        hidden = sum(len(groups[reason]) for reason in order[len(kept) :])
        more = [(f"{hidden:,}", f"for {len(order) - len(kept):,} other reasons {MORE}")] if hidden else []
        return indented([*pairs, *more], justify="right")

    return [heading(title), Fitted(build)]


def _sentences(title: str, sentences: Sequence[str], verbose: bool) -> list[RenderableType]:
    if not sentences:
        return []
    kept = sentences if verbose else sentences[:MOST_SENTENCES]
    hidden = len(sentences) - len(kept)
    lines = [*kept, f"and {hidden:,} more {MORE}"] if hidden else kept
    return [heading(title), indented(("-", line) for line in lines)]


def _checks(report: Report) -> list[RenderableType]:
    if not report.checks:
        return [] if report.seconds is None else [heading("Checks"), Text("  none was run")]
    passed, failed = Text("  passed", style="green"), Text("  FAILED", style="bold red")
    rows = [(passed if check.passed else failed, check.name, check.detail) for check in report.checks]
    return [heading("Checks"), states(rows)]


def _next(command: str) -> list[RenderableType]:
    if not command:
        return []
    return [heading("Next"), Fitted(lambda width: _unwrapped(_continued(command, width - 4)))]


def _unwrapped(text: str) -> Text:
    """Wrapped by rich, a long name would break in two and could not be pasted."""
    return Text(text, no_wrap=True, overflow="ignore")


def _continued(command: str, width: int) -> str:
    """The command on as many lines as it needs, each but the last ending in a backslash: it can still be pasted."""
    try:
        pieces = [shlex.quote(piece) for piece in shlex.split(command)]
    except ValueError:
        return f"  {command}"
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > width - 2:
            lines.append("")
        lines[-1] = f"{lines[-1]} {piece}".strip()
    return "  " + " \\\n    ".join(lines)


# --- plans ----------------------------------------------------------------------------------------------------------


def _plan_headline(plan: Plan) -> list[RenderableType]:
    total, done = len(plan.convolutions), len(plan.converted)
    asked = {"octave": plan.octave, "min_size": plan.min_size, "stride_mode": plan.stride_mode}
    asked |= {"weights": plan.weights, "portable": plan.portable, "elementwise": plan.elementwise}
    summary = f"{done:,} of {words.plural(total, 'convolution')} would become octave layers."
    if not done:
        why = f"all {total:,} convolutions stay plain" if total else "the model has no convolutions"
        summary = f"Nothing would be converted: {why}."
    return [Text(f"Plan for {plan.model}: {_asked(asked)}"), Text(summary, style="bold")]


def _plan_layers(plan: Plan, verbose: bool) -> list[RenderableType]:
    rows = plan.convolutions
    if not rows:
        return []
    groups = {name: group for group in plan.groups for name in group.producers}
    lows = {name: low for group in plan.groups for name, low in zip(group.producers, group.low, strict=True)}
    source = Column("input\nmap", lambda row: words.shape(row.input_shape[1:]), right=True)
    target = Column("output\nmap", lambda row: words.shape(row.output_shape[1:]), right=True)
    low = Column("low\nchannels", lambda row: str(lows.get(row.name, "-")) if row.alpha_out else "-", right=True)
    group = Column("group", lambda row: groups[row.name].name if row.name in groups else "-")
    shown = collapsed(rows, [0.0] * len(rows), verbose)

    def build(width: int) -> Table:
        choices = ((_ROLE, _ALPHA, source, target, low, group), (_ROLE, _ALPHA, low, group))
        return first_that_fits(choices, shown, lambda gap: {"layer": f"... {len(gap.rows):,} more"}, width)

    title = "Convolutions" if len(shown) == len(rows) else f"Convolutions: the first and the last {MORE}"
    return [heading(title), Fitted(build)]
