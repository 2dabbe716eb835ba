"""What a report says, in words and figures: a terminal and a page show the same.

`octconvert.display.report` lays it out for a terminal, `octconvert.display.html` as a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octconvert.display import options
from octconvert.display.chains import MacShares
from octconvert.display.tables import whole_low
from octconvert.results.plan import OCTAVE_ROLES, PLAIN
from octconvert.results.report import Report
from octconvert.text import words


def is_diff(report: Report) -> bool:
    """Two models side by side that are not a model and its conversion."""
    converted = any(row.role in OCTAVE_ROLES for row in report.convolutions)
    return not report.options and report.seconds is None and not converted


# --- the headline ---------------------------------------------------------------------------------------------------


def models(report: Report) -> tuple[str, ...]:
    """The source, and what it became where that has a name."""
    return tuple(filter(None, (report.source, report.target)))


def took(report: Report) -> str:
    """The time of the conversion; empty for a diff."""
    return "" if report.seconds is None else f"{report.seconds:.1f} s"


def chosen(report: Report) -> str:
    """The options in one line; empty for a diff."""
    return options.summary(dict(report.options))


def failure(report: Report) -> str:
    """Which checks have failed; empty where none has."""
    failed = [check.name for check in report.checks if not check.passed]
    if not failed:
        return ""
    verdict = f"FAILED: {', '.join(failed)} ({len(failed)} of {words.plural(len(report.checks), 'check')})."
    return f"{verdict} Do not use the converted model."


def summary(report: Report) -> str:
    """How much was converted."""
    total, converted = len(report.convolutions), len(report.converted)
    share = words.percent(report.octave_mac_share)
    if is_diff(report):
        changed = sum(row.macs_before != row.macs_after for row in report.convolutions if row.macs_after)
        return f"Side by side: {changed:,} of {words.plural(total, 'convolution')} differ in MACs."
    if not total:
        return "Nothing was converted: the model has no convolutions."
    if not converted:
        stays = "the only convolution stays" if total == 1 else f"all {total:,} convolutions stay"
        return f"Nothing was converted: {stays} plain."
    which = f"{words.plural(total, 'convolution')} converted{whole_low(report)}"
    return f"{converted:,} of {which}, {share} of the convolution MACs."


# --- the costs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CostLine:
    """A cost of both models in words, and how many times less the second is."""

    label: str
    before: str
    after: str
    ratio: str


_COSTS = (
    ("MACs", "macs", lambda value: words.human(value, 4)),
    ("parameters", "parameters", lambda value: words.human(value, 4)),
    ("activation memory", "activation_bytes", words.size),
    ("peak activation memory", "peak_activation_bytes", words.size),
)


def costs(report: Report) -> tuple[CostLine, ...]:
    """MACs, parameters and memory."""
    lines = []
    for label, name, form in _COSTS:
        before, after = getattr(report.before, name), getattr(report.after, name)
        lines.append(CostLine(label, form(before), form(after), words.ratio(before, after)))
    return tuple(lines)


def assumed_sizes(report: Report) -> str:
    """For which sizes the costs were counted, where the model leaves them open; else empty."""
    assumed = report.before.assumed_shapes or report.after.assumed_shapes
    shapes = ", ".join(words.shape(item) for item in assumed)
    return f"Counted for inputs of size {shapes}; the model leaves the size open." if assumed else ""


# --- what stayed plain ------------------------------------------------------------------------------------------------


def left_out(report: Report) -> tuple[str, Sequence[tuple[str, str]]]:
    """A title, and (layer, reason): what stayed plain, or convolutions that only one model of a diff has."""
    total = words.plural(len(report.convolutions), "convolution")
    if is_diff(report):
        rows = [(row.name, row.reason) for row in report.convolutions if row.reason]
        return f"Without a counterpart: {len(rows):,} of {total}", rows
    rows = [(row.name, row.reason) for row in report.convolutions if row.role == PLAIN]
    suffix = MacShares(report.convolutions).suffix([name for name, _ in rows])
    return f"Stayed plain: {len(rows):,} of {total}{suffix}", rows
