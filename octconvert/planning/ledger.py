"""Channel numbers while a model is traced: who made them, which must be split alike, which are low in the end.

Every channel of every tensor that may become a pair has a number. Layers that carry a split hand the numbers on, so a
Concatenate is the concatenation of two arrays of numbers; element-wise joins tie numbers together. Tied numbers are
the connected components of one networkx graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import networkx as nx
import numpy as np

from octconvert.graph import Call
from octconvert.split import low_channels


@dataclass(frozen=True, eq=False)
class Producer:
    """A layer (or several calls of one) whose output channels can be split freely."""

    call: Call
    channels: np.ndarray
    blocks: int


class Ledger:
    """Collects what the rules say in one pass over the graph."""

    def __init__(self):
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
        numbers = self._new(channels)
        self.fixed_high.append(numbers)
        return numbers

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        if len(first) != len(second):
            raise ValueError(f"tied tensors have {len(first)} and {len(second)} channels")
        if not np.array_equal(first, second):
            self.ties.append((first, second))

    def balance(self, call: Call, channels: np.ndarray, blocks: int) -> None:
        self.balances.append((call, channels, blocks))


@dataclass(frozen=True, eq=False)
class TiedProducers:
    """Producers whose channels are tied to one another: one group of the plan."""

    producers: tuple[Producer, ...]
    blocks: int


class Components:
    """The connected components of a finished ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.of = self._component_of()
        self.groups = self._groups()

    def _component_of(self) -> np.ndarray:
        """Number -> number of its component (its smallest member)."""
        component = np.arange(self.ledger.count)
        network = nx.Graph()
        for first, second in self.ledger.ties:
            network.add_edges_from(zip(first.tolist(), second.tolist(), strict=True))
        for members in nx.connected_components(network):
            component[list(members)] = min(members)
        return component

    def _groups(self) -> list[TiedProducers]:
        """Producers that share a component, in execution order."""
        network = nx.Graph()
        for key, producer in self.ledger.producers.items():
            network.add_node(("producer", key))
            for component in np.unique(self.of[producer.channels]).tolist():
                network.add_edge(("producer", key), ("component", component))
        groups = []
        for members in nx.connected_components(network):
            keys = {key for kind, key in members if kind == "producer"}
            producers = tuple(p for key, p in self.ledger.producers.items() if key in keys)
            groups.append(TiedProducers(producers, self._blocks(producers)))
        return sorted(groups, key=lambda group: group.producers[0].call.index)

    def _blocks(self, producers) -> int:
        """Runs of channels that must be split alike, for the grouped convolutions that write or read the group."""
        mine = set(np.concatenate([self.of[p.channels] for p in producers]).tolist())
        blocks = [p.blocks for p in producers]
        for _, channels, count in self.ledger.balances:
            if mine.intersection(self.of[channels].tolist()):
                blocks.append(count)
        return int(np.lcm.reduce(blocks))

    def assign(self, wanted: Callable[[TiedProducers], tuple[float, tuple | None]]) -> np.ndarray:
        """Low (true) or high (false) for every number.

        ``wanted`` gives a group's alpha and, where channels were selected, the low indices for each producer. Channels
        that an earlier producer of the group decided stay as they are; of the rest the last ones become low.
        """
        state = np.full(self.ledger.count, -1)
        for numbers in self.ledger.fixed_high:
            state[self.of[numbers]] = 0
        for group in self.groups:
            alpha, selection = wanted(group)
            chosen = selection if selection is not None else itertools.repeat(None)
            for producer, indices in zip(group.producers, chosen, strict=selection is not None):
                members = self.of[producer.channels]
                if indices is not None:
                    low = np.zeros(len(members), bool)
                    low[list(indices)] = True
                    state[members] = low
                else:
                    _choose_last(state, members, alpha, group.blocks)
        return state[self.of] == 1


def _choose_last(state: np.ndarray, members: np.ndarray, alpha: float, blocks: int) -> None:
    """Decide one producer's open channels, block by block."""
    blocks = blocks if len(members) % blocks == 0 else 1
    for block in members.reshape(blocks, -1):
        open_channels = block[state[block] < 0]
        missing = low_channels(alpha, len(block)) - int((state[block] == 1).sum())
        cut = len(open_channels) - min(max(missing, 0), len(open_channels))
        state[open_channels[:cut]] = 0
        state[open_channels[cut:]] = 1
