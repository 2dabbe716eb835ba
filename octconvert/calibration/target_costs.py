"""What a conversion costs by the alphas of its tied groups, as a share of the source's: of its MACs, or of its time."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from octconvert.costs.macs import call_macs
from octconvert.model.graph import CallGraph
from octconvert.octave.geometry import Octave, factors
from octconvert.octave.split import low_shares
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned


class Costs(Protocol):
    """The costs of conversions.

    Attributes:
        option: the option that sets a target for them.
        unit: in words, for messages: 'the MACs'.
        has_overheads: whether a group that is not plain costs something by itself, as poolings do: then neighbours may
            gain only together.
    """

    option: str
    unit: str
    has_overheads: bool

    def share(self, alphas: np.ndarray) -> float:
        """Of the source's; ``alphas``: of every group."""
        ...


class Timing(Protocol):
    """Times of conversions on a runtime, see `octconvert.latency.target`."""

    def costs(self) -> Costs:
        """Estimated from the times of the parts of the model, and of the whole models that were measured."""
        ...

    def measured(self, planned: Planned, alphas: np.ndarray) -> float:
        """The time of a whole model with these alphas, as a share of the source's.

        Raises:
            CheckError: it can not be run.
        """
        ...


def group_shares(layout: Layout, tensor: int | None) -> np.ndarray:
    """Share of a tensor's channels that belong to each group."""
    count = len(layout.groups)
    if tensor is None or tensor not in layout.splits:
        return np.zeros(count)
    groups = layout.components.group_of[layout.channels[tensor]]
    return np.bincount(groups[groups >= 0], minlength=count) / len(groups)


class MacCosts:
    """The MACs of every convolution, which depend on the alphas at both of its ends (paper, section 3.2).

    Args:
        layout: with every group split.
        sized: its graph with all sizes known.
    """

    option, unit, has_overheads = "target_macs", "the MACs", False

    def __init__(self, layout: Layout, sized: CallGraph, octave: Octave):
        self._layout, self._octave = layout, octave
        self._places, self._runs, self._weights = _channel_runs(layout)
        self._set_costs(sized)

    def _set_costs(self, sized: CallGraph) -> None:
        """The calls whose MACs depend on the alphas: MACs, shares of the groups in input and output, kind, cells."""
        macs, ends, fixed = call_macs(sized), list[tuple[int, np.ndarray, np.ndarray, bool, float]](), 0
        for index, value in macs.items():
            call, trace = self._layout.graph.calls[index], self._layout.traces.get(index)
            read = call.inputs[0] if trace is not None and trace.reads else None
            shares = [group_shares(self._layout, number) for number in (read, call.outputs[0])]
            shape = sized.tensors[call.outputs[0]].shape
            if not sized.is_map(shape) or not any(map(any, shares)):
                fixed += value
            else:
                produced = any(p.call.key == call.key for g, _ in self._layout.groups for p in g.producers)
                cells = 1.0 / math.prod(factors(self._octave, len(shape) - 2))
                ends.append((value, shares[0], shares[1], produced, cells))
        empty = np.zeros((0, len(self._layout.groups)))
        self._fixed, self._total = fixed, sum(macs.values())
        self._macs, self._mixes, self._cells = (np.array([end[i] for end in ends]) for i in (0, 3, 4))
        self._reads, self._writes = (np.stack([end[i] for end in ends]) if ends else empty for i in (1, 2))

    def share(self, alphas: np.ndarray) -> float:
        """Of the source's MACs, at whole numbers of low channels."""
        alphas = self._whole_channels(alphas)
        read, written = self._reads @ alphas, self._writes @ alphas
        low = np.where(self._mixes, read + written - read * written, np.maximum(read, written))
        return float(self._fixed + (self._macs * (1 - low * (1 - self._cells))).sum()) / self._total

    def _whole_channels(self, alphas: np.ndarray) -> np.ndarray:
        """The share of low channels that each group really has."""
        return np.bincount(self._places, low_shares(alphas[self._places], self._runs) * self._weights, len(alphas))


def _channel_runs(layout: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each producer: its group, the length of a run (alpha is a share of it), its part of the group."""
    producers = [
        (place, run, len(producer.channels))
        for place, (group, _) in enumerate(layout.groups)
        for producer, run in zip(group.producers, group.runs, strict=True)
    ]
    places, runs, widths = np.array(producers, dtype=int).reshape(-1, 3).T
    return places, runs, widths / np.bincount(places, widths)[places]
