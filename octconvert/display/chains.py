"""The chains of a plan: which convolutions hand pairs to one another, and where each chain ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.display.tables import MORE, Fitted, heading, indented
from octconvert.results.plan import Chain
from octconvert.results.report import ConvolutionReport
from octconvert.text import words

MOST_CHAINS, MOST_ENDS = 5, 8


class MacShares:
    """Each layer's share of the convolution MACs. A plan has no MACs: without rows no share is shown."""

    def __init__(self, rows: Sequence[ConvolutionReport] = ()):
        self._macs = {row.name: row.macs_before for row in rows}
        self._total = sum(self._macs.values())

    def of(self, names: Iterable[str]) -> float:
        return sum(self._macs.get(name, 0) for name in names) / self._total if self._total else 0.0

    def suffix(self, names: Sequence[str]) -> str:
        return f", {words.percent(self.of(names))} of the convolution MACs" if self._total else ""


def section(chains: Sequence[Chain], shares: MacShares, verbose: bool) -> list[RenderableType]:
    """The chains with the most MACs (or convolutions), in execution order, and a count of the others."""
    if not chains:
        return []
    order = sorted(range(len(chains)), key=lambda i: (-shares.of(members(chains[i])), -len(members(chains[i])), i))
    shown = sorted(order if verbose else order[:MOST_CHAINS])
    parts: list[RenderableType] = []
    for index in shown:
        parts += [heading(title(chains, index, shares)), _chain(chains[index], verbose)]
    rest = [name for i in order if i not in shown for name in members(chains[i])]
    if rest:
        left = words.plural(len(chains) - len(shown), "smaller chain")
        parts.append(Text(f"and {left} with {words.plural(len(rest), 'convolution')}{shares.suffix(rest)} {MORE}"))
    return parts


def title(chains: Sequence[Chain], index: int, shares: MacShares) -> str:
    """Which chain it is, and how much of the model."""
    names = members(chains[index])
    which = f"Chain {index + 1} of {len(chains)}" if len(chains) > 1 else "Chain"
    return f"{which}: {words.plural(len(names), 'convolution')}{shares.suffix(names)}"


def members(chain: Chain) -> tuple[str, ...]:
    return (*chain.first, *chain.intermediate, *chain.last)


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


def ends_by_reason(chain: Chain) -> dict[tuple[str, str], list[str]]:
    """(reason, class) -> names of the layers at which the chain ends so."""
    groups: dict[tuple[str, str], list[str]] = {}
    for end in chain.ends:
        groups.setdefault((end.reason, end.class_name), []).append(end.name)
    return groups


def _ends(chain: Chain, room: int, verbose: bool) -> list[tuple[str, str]]:
    groups = ends_by_reason(chain)
    kept = list(groups.items())[: None if verbose else MOST_ENDS]
    lines = []
    for (reason, class_name), names in kept:
        listed = words.listing(names, room // 2, verbose)
        lines.append(("ends at", f"{listed} ({class_name}): {reason}" if reason else f"{listed} ({class_name})"))
    hidden = len(chain.ends) - sum(len(names) for _, names in kept)
    return [*lines, ("", f"and at {words.plural(hidden, 'other layer')} {MORE}")] if hidden else lines
