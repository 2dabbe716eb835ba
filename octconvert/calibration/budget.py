"""Chooses alpha for each tied group, at the least damage for a wanted number of MACs.

*Damage* of a group at some alpha: the error of the source's own outputs when the detail of the group's low channels is
taken away (each map pooled and upsampled again), measured at one alpha; between alphas it grows as the roughness of the
channels that go low. *Cost*: the MACs of every convolution, which depend on the alphas at both of its ends
(paper, section 3.2: 1 - 3/4 for LL, HL and LH). Minimises damage + price * cost by coordinate descent; the price is
found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from keras import ops

from octconvert.calibration.evidence import Outputs
from octconvert.calibration.selection import readers
from octconvert.cost import call_macs
from octconvert.errors import UsageError
from octconvert.execution import Uses, run_call
from octconvert.graph import SOURCE_INPUT, CallGraph
from octconvert.layers.spatial import crop_to, pool_octave, upsample
from octconvert.planning.make import layout_from_plan
from octconvert.planning.solve import Layout
from octconvert.planning.values import Plan
from octconvert.samples import Samples

ALPHAS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
MEASURED = 0.5
"""Where the damage of a group is measured."""


class OutOfReach(UsageError):
    """No alphas are low enough in MACs."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Alphas of the groups, the cost they give as a share of the source's MACs, and the damage to expect."""

    alphas: tuple[float, ...]
    cost: float
    damage: float


class Market:
    """Cost and damage of every group at every alpha.

    Args:
        layout: with every group at `MEASURED`, sizes known.
        sized: its graph with all sizes known, for the MACs.
        rough: of the components of tied channels.
        damage: (groups,) measured output errors; None: take the roughness as it is.
    """

    def __init__(self, layout: Layout, sized: CallGraph, rough: np.ndarray, octave: int, damage: np.ndarray | None):
        self._layout, self._cell = layout, 1.0 / octave**2
        self.curves = _curves(layout, rough, damage)
        self._ends, self._fixed, self._total = self._costs(sized)

    def _costs(self, sized: CallGraph):
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

    def choose(self, target: float) -> Choice:
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
        if self.cost(alphas) > target:  # damage without any bound
            alphas = most
        for _ in range(24):
            price = (low + high) / 2
            found = self._descend(price)
            if self.cost(found) <= target:
                high, alphas = price, found
            else:
                low = price
        alphas = self._filled(alphas, target)
        return Choice(tuple(alphas.tolist()), self.cost(alphas), self.damage(alphas))

    def _descend(self, price: float) -> np.ndarray:
        alphas = np.full(len(self.curves), MEASURED)
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
        """Take back single steps, the most damaging first, for as long as the cost allows."""
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


def _curves(layout: Layout, rough: np.ndarray, damage: np.ndarray | None) -> np.ndarray:
    """(groups, alphas): damage of each."""
    found = np.zeros((len(layout.groups), len(ALPHAS)))
    for position, (group, _) in enumerate(layout.groups):
        components = np.unique(np.concatenate([layout.components.of[p.channels] for p in group.producers]))
        values = np.sort(rough[components])
        values = np.where(np.isfinite(values), values, 0.0)
        sums = np.concatenate([[0.0], np.cumsum(values)])
        found[position] = np.interp(np.array(ALPHAS) * len(values), np.arange(len(sums)), sums)
        if damage is not None:
            at = found[position][ALPHAS.index(MEASURED)]
            found[position] *= damage[position] / at if at > 0 else 0.0
    return found


def measured_damage(
    layout: Layout, rough: np.ndarray, samples: Samples, batch_size: int, octave: int, progress: Callable
) -> np.ndarray:
    """Error of the source's outputs with each group alone at `MEASURED`, (groups,)."""
    places = readers(layout)
    expected = Outputs.of(layout.graph, samples, batch_size)
    found = np.zeros(len(layout.groups))
    for position in range(len(layout.groups)):
        progress(position, len(layout.groups))
        low = {tensor: _low_channels(layout, tensor, position) for tensor in places}
        low = {tensor: channels for tensor, channels in low.items() if len(channels)}
        if low:
            parts = [_degraded(layout.graph, batch, low, octave) for batch in samples.batches(batch_size)]
            outputs = Outputs(tuple(np.concatenate(each) for each in zip(*parts, strict=True)))
            found[position] = expected.error(outputs)
    return found


def _low_channels(layout: Layout, tensor: int, group: int) -> np.ndarray:
    split = layout.splits.get(tensor)
    if split is None:
        return np.zeros(0, dtype=int)
    own = layout.components.group_of[layout.channels[tensor]] == group
    return np.flatnonzero(own & split.mask)


def _degraded(graph: CallGraph, batch: list[np.ndarray], low: dict[int, np.ndarray], octave: int) -> list[np.ndarray]:
    """Outputs of the model without the detail of some channels."""
    values: dict[int, object] = {n: ops.convert_to_tensor(x) for n, x in zip(graph.inputs, batch, strict=True)}
    uses = Uses(graph.calls, graph.outputs)
    for call in graph.calls:
        if call.kind != SOURCE_INPUT:
            run_call(call, values)
        for number in call.outputs:
            if number in low:
                values[number] = _without_detail(values[number], low[number], octave, graph)
        uses.drop(call, values)
    return [np.asarray(ops.convert_to_numpy(ops.cast(values[n], "float32"))) for n in graph.outputs]


def _without_detail(x, channels: np.ndarray, octave: int, graph: CallGraph):
    data_format = graph.data_format
    smooth = crop_to(upsample(pool_octave(x, octave, data_format), octave, data_format), x, data_format)
    mask = np.zeros(x.shape[graph.channel_axis], dtype=bool)
    mask[channels] = True
    shape = [1, 1, 1, 1]
    shape[graph.channel_axis] = -1
    return ops.where(ops.reshape(ops.convert_to_tensor(mask), shape), smooth, x)


def with_alphas(layout: Layout, plan: Plan, alphas: tuple[float, ...]) -> Layout:
    """The layout with an alpha of its own for each group."""
    groups = (replace(group, alpha=alpha, selection=None) for group, alpha in zip(plan.groups, alphas, strict=True))
    return layout_from_plan(layout.graph, replace(plan, groups=tuple(groups)))
