"""`Layout`: a call graph in which it is settled which tensors are pairs, and how each of them is split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from octconvert.model.graph import Call, CallGraph
from octconvert.octave.split import ChannelSplit
from octconvert.planning.ledger import Components, GroupChoice, Selection, TiedProducers
from octconvert.rules.base import Trace


@dataclass
class Decisions:
    """Calls that stay plain, settled before and while solving: as a whole, in their output, or in their input.

    All three map a call key to the reason.
    """

    frozen: dict[object, str] = field(default_factory=dict)
    plain_output: dict[object, str] = field(default_factory=dict)
    plain_input: dict[object, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """It only grows while solving, so solving ends."""
        return len(self.frozen) + len(self.plain_output) + len(self.plain_input)


@dataclass(frozen=True, eq=False)
class Layout:
    """The solved graph.

    Attributes:
        graph: the source's calls.
        splits: tensor number -> split, for every tensor that becomes a pair.
        traces: call index -> what the rule says of the call.
        groups: tied producers with the mask of each.
        alphas, selections: what was chosen for each group.
        decisions: why calls stay plain.
        min_size: of the options.
        small: call key -> why its map is too small for a pair.
        channels: tensor number -> number of the component of tied channels that each of its channels belongs to.
        components: the tied channels.
    """

    graph: CallGraph
    splits: dict[int, ChannelSplit]
    traces: dict[int, Trace]
    groups: tuple[tuple[TiedProducers, tuple[np.ndarray, ...]], ...]
    alphas: tuple[float, ...]
    selections: tuple[Selection | None, ...]
    decisions: Decisions
    min_size: int
    small: dict[object, str]
    channels: dict[int, np.ndarray]
    components: Components

    @property
    def choices(self) -> tuple[GroupChoice, ...]:
        """How each group was to be split."""
        return tuple(map(GroupChoice, self.alphas, self.selections))

    def reads(self, call: Call) -> bool:
        """Whether the call reads the pairs among its inputs as pairs."""
        trace = self.traces.get(call.index)
        return trace is not None and trace.reads

    def reason(self, call: Call) -> str:
        """Why the call, or its output, stays plain."""
        trace = self.traces.get(call.index)
        return trace.reason if trace is not None else ""
