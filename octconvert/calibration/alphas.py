"""Chooses an alpha for each tied group, at the least damage for a target number of MACs.

*Damage* of a group at some alpha: the sum over its channels that go low, the least damaging first (`selection.damage`).
*Cost*: the MACs of every convolution, which depend on the alphas at both of its ends (paper, section 3.2: 1 - 3/4 for
LL, HL and LH). Minimises damage + price * cost by coordinate descent; the price is found by bisection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from octconvert.costs.macs import call_macs
from octconvert.errors import UsageError
from octconvert.model.graph import CallGraph
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned

ALPHAS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
EVEN = 0.5
"""Of every group at the start."""


class OutOfReach(UsageError):
    """No alphas are low enough in MACs."""


@dataclass(frozen=True, eq=False)
class AlphaChoice:
    """Alphas of the groups, their cost as a share of the source's MACs, and the expected damage."""

    alphas: tuple[float, ...]
    cost: float
    damage: float


class AlphaSearch:
    """Cost and damage of every group at every alpha.

    Args:
        layout: with every group split.
        sized: its graph with all sizes known, for the MACs.
        damages: of the components of tied channels; infinite where no call reads the component; it is free.
    """

    def __init__(self, layout: Layout, sized: CallGraph, damages: np.ndarray, octave: int):
        self._layout, self._cell = layout, 1.0 / octave**2
        self.curves = _curves(layout, damages)
        self._ends, self._fixed, self._total = self._costs(sized)

    def _costs(self, sized: CallGraph) -> tuple[list[tuple[Any, ...]], int, int]:
        """Calls whose MACs depend on the alphas: (MACs, shares of groups in the input, in the output, mixes)."""
        macs, ends, fixed = call_macs(sized), [], 0
        for index, value in macs.items():
            call, trace = self._layout.graph.calls[index], self._layout.traces.get(index)
            read = call.inputs[0] if trace is not None and trace.reads else None
            shares = [self._shares(number) for number in (read, call.outputs[0])]
            if len(sized.tensors[call.outputs[0]].shape) != 4 or not any(map(any, shares)):
                fixed += value
            else:
                produced = any(p.call.key == call.key for g, _ in self._layout.groups for p in g.producers)
                ends.append((value, *shares, produced))
        return ends, fixed, sum(macs.values())

    def _shares(self, tensor: int | None) -> np.ndarray:
        """Share of a tensor's channels that belong to each group."""
        count = len(self._layout.groups)
        if tensor is None or tensor not in self._layout.splits:
            return np.zeros(count)
        groups = self._layout.components.group_of[self._layout.channels[tensor]]
        return np.bincount(groups[groups >= 0], minlength=count) / len(groups)

    def cost(self, alphas: np.ndarray) -> float:
        """Share of the source's MACs."""
        total = float(self._fixed)
        for macs, source, target, mixes in self._ends:
            low_in, low_out = float(source @ alphas), float(target @ alphas)
            low = low_in + low_out - low_in * low_out if mixes else max(low_in, low_out)
            total += macs * (1 - low * (1 - self._cell))
        return total / self._total

    def damage(self, alphas: np.ndarray) -> float:
        return float(sum(np.interp(alpha, ALPHAS, curve) for alpha, curve in zip(alphas, self.curves, strict=True)))

    def choose(self, target: float) -> AlphaChoice:
        """The least damage at a cost of at most ``target``.

        Raises:
            OutOfReach: no alphas get there.
        """
        most = np.full(len(self.curves), ALPHAS[-1])
        if self.cost(most) > target:
            least = self.cost(most)
            raise OutOfReach(f"target_macs {target:g} is out of reach: {least:.2f} of the MACs at the least")
        unit = max(float(self.curves.max(initial=0.0)), 1e-30)
        low, high = 0.0, unit
        alphas = self._descend(high)
        while self.cost(alphas) > target and high < 1e12 * unit:
            low, high = high, high * 10
            alphas = self._descend(high)
        if self.cost(alphas) > target:  # the damage is unbounded
            alphas = most
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
        alphas = np.full(len(self.curves), EVEN)
        for _ in range(8):
            before = alphas.copy()
            for group, curve in enumerate(self.curves):
                values = []
                for i, alpha in enumerate(ALPHAS):
                    alphas[group] = alpha
                    values.append(curve[i] + price * self.cost(alphas))
                alphas[group] = ALPHAS[int(np.argmin(values))]
            if np.array_equal(before, alphas):
                break
        return alphas

    def _filled(self, alphas: np.ndarray, target: float) -> np.ndarray:
        """Undo single steps, the most damaging first, as long as the cost allows."""
        while True:
            better = []
            for group in np.flatnonzero(alphas > 0):
                changed = alphas.copy()
                changed[group] = ALPHAS[ALPHAS.index(alphas[group]) - 1]
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


def with_alphas(planned: Planned, alphas: tuple[float, ...]) -> Planned:
    """The same with an alpha of its own for each group."""
    plan = planned.plan
    groups = (replace(group, alpha=alpha, selection=None) for group, alpha in zip(plan.groups, alphas, strict=True))
    return planned.following(replace(plan, groups=tuple(groups)))
