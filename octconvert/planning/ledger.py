"""Channel numbers while a model is traced: their producers, which must be split alike, and which become low.

Every channel of every tensor that may become a pair has a number. Layers that carry a split hand the numbers on, so a
Concatenate is the concatenation of two arrays of numbers; element-wise joins tie numbers together. The producers that
tied numbers join are the connected components of a networkx graph: the groups of the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np

from octconvert.errors import UsageError
from octconvert.model.graph import Call
from octconvert.octave.split import low_channels


@dataclass(frozen=True, eq=False)
class Producer:
    """A layer (or several calls of one) whose output channels can be split freely."""

    call: Call
    channels: np.ndarray
    blocks: int


class Ledger:
    """Collects what the rules say in one pass over the graph."""

    def __init__(self) -> None:
        self.count = 0
        self.producers: dict[object, Producer] = {}
        self.fixed_high: list[np.ndarray] = []
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self.balances: list[tuple[Call, np.ndarray, int]] = []

    def _new(self, channels: int) -> np.ndarray:
        self.count += channels
        return np.arange(self.count - channels, self.count)

    def produce(self, call: Call, channels: int, blocks: int) -> np.ndarray:
        """Fresh numbers; calls that share a key share them."""
        if call.key not in self.producers:
            self.producers[call.key] = Producer(call, self._new(channels), blocks)
        return self.producers[call.key].channels

    def high(self, call: Call, channels: int) -> np.ndarray:
        """Fresh numbers that stay high."""
        numbers = self._new(channels)
        self.fixed_high.append(numbers)
        return numbers

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Both arrays must be split alike.

        Raises:
            ValueError: their lengths differ.
        """
        if len(first) != len(second):
            raise ValueError(f"tied tensors have {len(first)} and {len(second)} channels")
        if not np.array_equal(first, second):
            self.ties.append((first, second))

    def balance(self, call: Call, channels: np.ndarray, blocks: int) -> None:
        """Every one of ``blocks`` equal runs must have as many low channels as the others."""
        self.balances.append((call, channels, blocks))


@dataclass(frozen=True, eq=False)
class TiedProducers:
    """Producers whose channels are tied to one another: one group of the plan."""

    producers: tuple[Producer, ...]
    blocks: int

    @property
    def runs(self) -> tuple[int, ...]:
        """For each producer the channels of one of its equal runs; alpha is the low share of each run."""
        return tuple(_run_length(len(producer.channels), self.blocks) for producer in self.producers)


def _run_length(channels: int, blocks: int) -> int:
    """Channels of each of ``blocks`` equal runs; all of them where they do not divide so."""
    return channels // blocks if channels % blocks == 0 else channels


Selection = tuple[tuple[int, ...], ...]
"""For each producer of a tied group the indices of its low channels."""


class GroupChoice(NamedTuple):
    """How a tied group is to be split; without a selection the last channels of each producer become low."""

    alpha: float
    selection: Selection | None = None


Choose = Callable[[TiedProducers], GroupChoice]


class Components:
    """The tied channels of a finished ledger, and the groups of producers they tie together.

    Attributes:
        of: number of a channel -> number of its component (its smallest member).
        groups: in execution order.
        group_of: number of a component -> position of its group; -1 where no producer is in it.
    """

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.of = _smallest_tied(ledger.count, ledger.ties)
        self.group_of = np.full(ledger.count, -1)
        self.groups = self._groups()

    def _groups(self) -> list[TiedProducers]:
        """Producers that share a component."""
        producers = list(self.ledger.producers.values())
        network, owner = nx.Graph(), np.full(self.ledger.count, -1)
        network.add_nodes_from(range(len(producers)))
        for index, producer in enumerate(producers):
            components = self.of[producer.channels]
            network.add_edges_from((index, other) for other in np.unique(owner[components]).tolist() if other >= 0)
            owner[components] = index
        members = sorted(map(sorted, nx.connected_components(network)))
        for position, group in enumerate(members):
            for index in group:
                self.group_of[self.of[producers[index].channels]] = position
        blocks = self._blocks(members)
        return [TiedProducers(tuple(producers[i] for i in g), n) for g, n in zip(members, blocks, strict=True)]

    def _blocks(self, members: list[list[int]]) -> list[int]:
        """Runs of channels that must be split alike, for the grouped convolutions that write or read each group."""
        producers = list(self.ledger.producers.values())
        blocks = [int(np.lcm.reduce([producers[index].blocks for index in group])) for group in members]
        for _, channels, count in self.ledger.balances:
            for position in self.groups_of(channels):
                blocks[position] = int(np.lcm(blocks[position], count))
        return blocks

    def groups_of(self, channels: np.ndarray) -> list[int]:
        """Positions of the groups that some channels belong to."""
        return [position for position in np.unique(self.group_of[self.of[channels]]).tolist() if position >= 0]

    def assign(self, choose: Choose, roughness: np.ndarray | None = None) -> np.ndarray:
        """Low (true) or high (false) for every number.

        ``choose`` returns the choice for a group. Where it selects no channels, the least rough channels of each
        producer become low (without ``roughness``, one value for each component: the last ones), those of narrow
        producers first: a wide tensor may be tied to several narrow ones side by side (an Add with a Concatenate), and
        each of them needs its own high channels.
        """
        state = np.full(self.ledger.count, -1)
        for numbers in self.ledger.fixed_high:
            state[self.of[numbers]] = 0
        for group in self.groups:
            alpha, selection = choose(group)
            if selection is None:
                for producer in sorted(group.producers, key=lambda producer: len(producer.channels)):
                    _assign_producer(state, self.of[producer.channels], alpha, group.blocks, roughness)
            else:
                self._select(state, group, selection)
        return state[self.of] == 1

    def _select(self, state: np.ndarray, group: TiedProducers, selection: Selection) -> None:
        """Make the selected channels of a group low.

        Raises:
            UsageError: the selections of producers whose channels are tied differ.
        """
        for producer, indices in zip(group.producers, selection, strict=True):
            members = self.of[producer.channels]
            low = np.isin(np.arange(len(members)), indices).astype(int)
            decided = state[members]
            state[members] = low
            if np.any((decided >= 0) & (decided != low)) or not np.array_equal(state[members], low):
                name = producer.call.layer_name
                raise UsageError(f"plan: the channels selected for '{name}' are tied to others, selected differently")


def _smallest_tied(count: int, ties: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """For every number the smallest number it is tied to, over any number of steps."""
    component = np.arange(count)
    if not ties:
        return component
    first, second = (np.concatenate(side) for side in zip(*ties, strict=True))
    while not np.array_equal(component[first], component[second]):
        smallest = np.minimum(component[first], component[second])
        for side in (first, second):
            np.minimum.at(component, component[side], smallest)
        while not np.array_equal(component, component[component]):
            component = component[component]
    return component


def _assign_producer(
    state: np.ndarray, members: np.ndarray, alpha: float, blocks: int, roughness: np.ndarray | None
) -> None:
    """Decide one producer's open channels, block by block."""
    for block in members.reshape(-1, _run_length(len(members), blocks)):
        open_channels = block[state[block] < 0]
        if roughness is not None:
            open_channels = open_channels[np.argsort(-roughness[open_channels], kind="stable")]
        missing = low_channels(alpha, len(block)) - int((state[block] == 1).sum())
        members, first, counts = np.unique(open_channels, return_index=True, return_counts=True)
        order = np.argsort(first)[::-1]  # channels of one number are tied to one another, and stay together
        low = np.cumsum(counts[order]) <= missing
        state[members[order]] = low
