"""Several ways to reach a share of the MACs; a trial shows the best (`octconvert.calibration.steps.search`).

What a group's lost detail does to the outputs is measured with all else as in the source, and by derivatives. Least
squares then makes up for most of it, more in some layers than in others; so the least sum of damages is not always the
best model, and plainer choices stand beside it: one alpha for all, and interiors of blocks that are whole-low.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octconvert.calibration.alphas import AlphaSearch
from octconvert.planning.interiors import interior_blocks
from octconvert.planning.layout import Layout


@dataclass(frozen=True, eq=False)
class Proposal:
    """Alphas of the groups that reach a target. ``name``: for the report."""

    name: str
    alphas: tuple[float, ...]


def proposals(search: AlphaSearch, layout: Layout, target: float) -> tuple[Proposal, ...]:
    """The ways to reach ``target``, the one of least damage first; no two are the same.

    Raises:
        OutOfReach: no alphas cost as little.
    """
    ways = [Proposal("by damage", search.choose(target).alphas)]
    plain = _plain_ways(search, layout, target)
    ways += [Proposal(name, tuple(alphas.tolist())) for name, alphas in plain if alphas is not None]
    return tuple({way.alphas: way for way in reversed(ways)}.values())[::-1]


def _plain_ways(search: AlphaSearch, layout: Layout, target: float) -> Iterator[tuple[str, np.ndarray | None]]:
    """None: that way does not reach the target."""
    nothing, everywhere = np.zeros(len(search.curves)), np.ones(len(search.curves), dtype=bool)
    yield "one alpha", search.raised(nothing, everywhere, target)
    low, used = nothing.copy(), list[list[int]]()
    for block in _by_damage(search, layout):
        if search.cost(low) <= target:
            break
        low[block] = 1.0
        used.append(block)
    if not used:
        return
    last = np.isin(np.arange(len(low)), used[-1])
    is_enough = search.cost(low) <= target
    yield "interiors whole-low", search.raised(low, last if is_enough else low == 0, target)
    if len(used) > 1:
        some = nothing.copy()
        some[[index for block in used[: len(used) // 2] for index in block]] = 1.0
        yield "some interiors whole-low, one alpha for the others", search.raised(some, some == 0, target)


def _by_damage(search: AlphaSearch, layout: Layout) -> list[list[int]]:
    """The interior blocks that can be whole-low, those first that do the least damage for the MACs they save."""
    nothing = np.zeros(len(search.curves))
    ranked = []
    for block in interior_blocks(layout):
        members, alphas = sorted(block), nothing.copy()
        alphas[members] = 1.0
        saved = search.cost(nothing) - search.cost(alphas)
        if saved > 0 and (search.most[members] == 1.0).all():
            ranked.append((search.damage(alphas) / saved, members))
    return [members for _, members in sorted(ranked)]
