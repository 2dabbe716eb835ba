"""Chooses an alpha for each tied group, at the least damage for a target share of the source's MACs or time.

*Damage* of a group at some alpha: the sum over its channels that go low, the least damaging first (`selection.damage`).
A tensor that only one convolution writes has no more detail than what that convolution reads: of its damage the share
counts that is not lost before. So neighbours in a block are whole-low together, with one pool and one upsample.
*Cost*: see `octconvert.calibration.target_costs`. Minimises damage + price * cost by coordinate descent; the price is
found by bisection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from octconvert.calibration.target_costs import Costs, group_shares
from octconvert.errors import UsageError
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned

ALPHAS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
EVEN = 0.5
"""Of every group at the start."""
STEPS = 64
"""In which one alpha for several groups is raised."""
_ANY_DAMAGE = 1e12
"""A price of the cost, in the largest damages, at which the damage hardly counts."""


class OutOfReach(UsageError):
    """No alphas cost as little."""


@dataclass(frozen=True, eq=False)
class AlphaChoice:
    """Alphas of the groups, their cost as a share of the source's, and the expected damage."""

    alphas: tuple[float, ...]
    cost: float
    damage: float


class AlphaSearch:
    """Cost and damage of conversions, by the alpha of every group.

    Args:
        layout: with every group split.
        costs: of conversions by their alphas.
        damages: of the components of tied channels; infinite where that is not known; it counts as none.

    Attributes:
        curves: (groups, alphas) damages, each of a group alone.
        most: the largest alpha of each group.
    """

    def __init__(self, layout: Layout, costs: Costs, damages: np.ndarray):
        self._layout, self._costs = layout, costs
        self.curves = _curves(layout, damages)
        self.most = np.array([_most(layout, position) for position in range(len(layout.groups))])
        self._source = self._read_by_writers()
        self._unit = max(float(self.curves.max(initial=0.0)), 1e-30)

    def _read_by_writers(self) -> np.ndarray:
        """(groups, groups): what the one convolution reads that writes a group; zeros where several calls write it."""
        layout = self._layout
        source = np.zeros((len(layout.groups),) * 2)
        joined = _joined_groups(layout)
        for position, (group, _) in enumerate(layout.groups):
            writers = [p.call for p in group.producers if _is_map(layout, p.call.outputs[0])]
            if len(writers) == 1 and position not in joined and layout.reads(writers[0]):
                source[position] = group_shares(layout, writers[0].inputs[0])
        return source

    def cost(self, alphas: np.ndarray) -> float:
        """Share of the source's."""
        return self._costs.share(alphas)

    def damage(self, alphas: np.ndarray) -> float:
        places = alphas * (len(ALPHAS) - 1)  # they are evenly spaced
        before = np.minimum(places.astype(int), len(ALPHAS) - 2)
        share, groups = places - before, np.arange(len(alphas))
        own = (1 - share) * self.curves[groups, before] + share * self.curves[groups, before + 1]
        return float(own @ (1 - self._source @ alphas))

    def raised(self, start: np.ndarray, groups: np.ndarray, target: float) -> np.ndarray | None:
        """``start`` with the least alpha for some groups (a mask), one for all of them, that reaches ``target``.

        None where no such alpha does.
        """
        for step in range(STEPS + 1):
            alphas = np.where(groups, np.minimum(step / STEPS, self.most), start)
            if self.cost(alphas) <= target:
                return alphas
        return None

    @cached_property
    def cheapest(self) -> np.ndarray:
        """The alphas of the least cost, whatever damage they do; in time that need not be whole-low everywhere."""
        if not self._costs.has_overheads:
            return self.most
        return min((self.most, self._descend(_ANY_DAMAGE * self._unit)), key=self.cost)

    def choose(self, target: float) -> AlphaChoice:
        """The least damage at a cost of at most ``target``.

        Raises:
            OutOfReach: no alphas get there.
        """
        if (least := self.cost(self.cheapest)) > target:
            option, unit = self._costs.option, self._costs.unit
            raise OutOfReach(f"{option} {target:g} is out of reach: {least:.2f} of {unit} at the least")
        low, high = 0.0, self._unit
        alphas = self._descend(high)
        while self.cost(alphas) > target and high < _ANY_DAMAGE * self._unit:
            low, high = high, high * 10
            alphas = self._descend(high)
        if self.cost(alphas) > target:  # the damage is unbounded
            alphas = self.cheapest
        for _ in range(24):
            price = (low + high) / 2
            cheaper = self._descend(price)
            if self.cost(cheaper) <= target:
                high, alphas = price, cheaper
            else:
                low = price
        alphas = self._filled(alphas, target)
        return AlphaChoice(tuple(alphas.tolist()), self.cost(alphas), self.damage(alphas))

    def _descend(self, price: float) -> np.ndarray:
        """The alphas of the least damage and cost; from several starts where neighbours gain together alone."""
        even = np.full(len(self.curves), EVEN)
        starts = [even, np.zeros_like(even), self.most] if self._costs.has_overheads else [even]
        ends = [self._descend_from(start.copy(), price) for start in starts]
        return min(ends, key=lambda alphas: self.damage(alphas) + price * self.cost(alphas))

    def _descend_from(self, alphas: np.ndarray, price: float) -> np.ndarray:
        for _ in range(8):
            before = alphas.copy()
            for group, most in enumerate(self.most):
                values = []
                for alpha in (alpha for alpha in ALPHAS if alpha <= most):
                    alphas[group] = alpha
                    values.append(self.damage(alphas) + price * self.cost(alphas))
                least = np.min(values)
                alphas[group] = ALPHAS[np.flatnonzero(values <= least + 1e-12 * abs(least))[-1]]  # low like neighbours
            if np.array_equal(before, alphas):
                break
        return alphas

    def _filled(self, alphas: np.ndarray, target: float) -> np.ndarray:
        """Undo single steps, the most damaging first, as long as the cost allows; with overheads whole groups too."""
        while True:
            better = []
            for group in np.flatnonzero(alphas > 0):
                lower = ALPHAS[ALPHAS.index(alphas[group]) - 1]
                for alpha in (lower, 0.0) if self._costs.has_overheads else (lower,):
                    changed = alphas.copy()
                    changed[group] = alpha
                    if self.cost(changed) <= target:
                        better.append((self.damage(alphas) - self.damage(changed), group, changed))
            if not better or max(better, key=lambda item: item[0])[0] <= 0:
                return alphas
            alphas = max(better, key=lambda item: item[0])[2]


def _curves(layout: Layout, damages: np.ndarray) -> np.ndarray:
    """(groups, alphas): damage of each."""
    curves = np.zeros((len(layout.groups), len(ALPHAS)))
    for position, (group, _) in enumerate(layout.groups):
        components = np.unique(np.concatenate([layout.components.of[p.channels] for p in group.producers]))
        values = np.sort(damages[components])
        values = np.where(np.isfinite(values), values, 0.0)
        sums = np.concatenate([[0.0], np.cumsum(values)])
        curves[position] = np.interp(np.array(ALPHAS) * len(values), np.arange(len(sums)), sums)
    return curves


def _most(layout: Layout, position: int) -> float:
    """1 where every map of a group has a known size, as a whole-low one needs it; else the largest alpha below."""
    tensors = (t for t, channels in layout.channels.items() if position in layout.components.groups_of(channels))
    sizes = (layout.splits[tensor].size for tensor in tensors if tensor in layout.splits)
    return ALPHAS[-2] if any(None in (size or ()) for size in sizes) else ALPHAS[-1]


def _is_map(layout: Layout, tensor: int) -> bool:
    return layout.graph.is_map(layout.graph.tensors[tensor].shape)


def _joined_groups(layout: Layout) -> set[int]:
    """Positions of the groups that a call joins several maps of."""
    joined: set[int] = set()
    for call in layout.graph.calls:
        maps = [
            t for t in call.inputs if t in layout.channels and not layout.graph.is_vector(layout.graph.tensors[t].shape)
        ]
        if len(maps) > 1:
            joined.update(p for t in maps for p in layout.components.groups_of(layout.channels[t]))
    return joined


def with_alphas(planned: Planned, alphas: tuple[float, ...]) -> Planned:
    """The same with an alpha of its own for each group."""
    plan = planned.plan
    groups = (replace(group, alpha=alpha, selection=None) for group, alpha in zip(plan.groups, alphas, strict=True))
    return planned.following(replace(plan, groups=tuple(groups)))
