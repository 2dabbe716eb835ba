"""Sections that reports, plans, timings and exports share: sentences, reasons by frequency, and checks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display.tables import MORE, Fitted, heading, indented, states
from octconvert.results.report import Check
from octconvert.text import words

MOST_REASONS, MOST_SENTENCES = 8, 8


def sentences(title: str, lines: Sequence[str], verbose: bool = True) -> list[RenderableType]:
    """One line each, the first `MOST_SENTENCES` of them unless ``verbose``."""
    if not lines:
        return []
    kept = lines if verbose else lines[:MOST_SENTENCES]
    hidden = len(lines) - len(kept)
    more = [f"and {hidden:,} more {MORE}"] if hidden else []
    return [heading(title), indented(("-", line) for line in (*kept, *more))]


def by_reason(rows: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Reason -> layers, of (layer, reason) pairs; the most frequent first."""
    groups: dict[str, list[str]] = {}
    for name, reason in rows:
        groups.setdefault(reason or "no reason is known", []).append(name)
    return {reason: groups[reason] for reason in sorted(groups, key=lambda reason: -len(groups[reason]))}


def reasons(title: str, rows: Sequence[tuple[str, str]], verbose: bool) -> list[RenderableType]:
    """(layer, reason) pairs grouped by reason, the most frequent first."""
    if not rows:
        return []
    groups = by_reason(rows)
    order = list(groups)
    kept = order if verbose else order[:MOST_REASONS]

    def build(width: int) -> Table:
        room = width - 10
        pairs = [(f"{len(groups[r]):,}", f"{r}\n{words.listing(groups[r], room, verbose)}") for r in kept]
        hidden = sum(len(groups[reason]) for reason in order[len(kept) :])
        more = [(f"{hidden:,}", f"for {len(order) - len(kept):,} other reasons {MORE}")] if hidden else []
        return indented([*pairs, *more], justify="right")

    return [heading(title), Fitted(build)]


def checks(title: str, results: Sequence[Check]) -> list[RenderableType]:
    """Each check with whether it passed, and the details."""
    passed, failed = Text("  passed", style="green"), Text("  FAILED", style="bold red")
    rows = [(passed if check.passed else failed, check.name, check.detail) for check in results]
    return [heading(title), states(rows)]
