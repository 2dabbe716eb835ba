"""Which parts of a graph can be folded into one box: nested models, and blocks that repeat.

Blocks are runs of layers whose classes are the same several times in a row, ``Conv2D BatchNormalization ReLU`` for
example. All folds are intervals of the execution order, so a graph with folded ones has no cycle.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from octconvert.results.graph import ModelGraph
from octconvert.text import words

LEAST_PERIOD, LEAST_RUN = 2, 6
"""Layers of a block that repeats, and of all its repetitions."""
MORE_FOR_A_CROSSING = 4
"""How much longer it must be for each further tensor that crosses its borders."""
FAR = 3
"""How many times as long as a run a connection is that has nothing to do with it."""
LEAST_REST = 6
"""Layers between such blocks that are worth a fold of their own."""
OPEN_AT_FIRST = 60
"""Calls of a graph that is drawn without any fold closed."""
TO = " \u2192 "
"""Between the names of the first and the last layer."""


@dataclass(frozen=True)
class Fold:
    """Successive nodes that can be drawn as one box.

    Attributes:
        label: what their names have in common, or the first and the last one.
        detail: how many they are.
        first, last: positions of the first node and behind the last one.
        children: folds inside, in order.
    """

    label: str
    detail: str
    first: int
    last: int
    children: tuple[Fold, ...] = ()


def folds(graph: ModelGraph) -> tuple[Fold, ...]:
    """The outermost folds, in order."""
    return _Folder(graph).inside(0, len(graph.nodes), 0)


@dataclass(frozen=True)
class _Unit:
    """What is not cut: a node, or a nested model as a whole; ``sign`` is equal for equal ones."""

    first: int
    last: int
    sign: str
    nested: bool = False


class _Folder:
    def __init__(self, graph: ModelGraph):
        self.nodes = graph.nodes
        self.last_use: dict[int, int] = {}
        for edge in graph.edges:
            self.last_use[edge.source] = max(self.last_use.get(edge.source, 0), edge.target)
        self.inputs = set(range(len(graph.nodes))) - {edge.target for edge in graph.edges}
        self.crossing = _crossing(self.last_use, len(graph.nodes))

    def inside(self, first: int, last: int, depth: int) -> tuple[Fold, ...]:
        """The folds among the nodes ``first`` to ``last``, which lie in ``depth`` nested models at least."""
        units = self._units(first, last, depth)
        blocks = sorted(self._runs(units, 0, len(units)))
        if len(self.nodes) > OPEN_AT_FIRST:
            blocks = list(_with_rests(units, blocks))
        result, covered = [], {index for block in blocks for index in range(block.first, block.last)}
        for block in blocks:
            result.append(self._run(units, block, depth))
        result += [
            self._nested(unit, depth) for index, unit in enumerate(units) if unit.nested and index not in covered
        ]
        return tuple(sorted(result, key=lambda fold: fold.first))

    def _units(self, first: int, last: int, depth: int) -> list[_Unit]:
        units, index = [], first
        while index < last:
            path = self.nodes[index].path[: depth + 1]
            end = index + 1
            if len(path) > depth:
                while end < last and self.nodes[end].path[: depth + 1] == path:
                    end += 1
            classes = " ".join(node.class_name for node in self.nodes[index:end])
            units.append(_Unit(index, end, classes, nested=len(path) > depth))
            index = end
        return units

    def _nested(self, unit: _Unit, depth: int) -> Fold:
        label = "/".join(self.nodes[unit.first].path[: depth + 1])
        return Fold(label, _layers(unit.first, unit.last), unit.first, unit.last, self._inner(unit, depth + 1))

    def _inner(self, unit: _Unit, depth: int) -> tuple[Fold, ...]:
        return self.inside(unit.first, unit.last, depth)

    def _run(self, units: Sequence[_Unit], run: _Run, depth: int) -> Fold:
        """One fold of all its repetitions, which are folds themselves."""
        parts = [self._block(units[at : at + run.period], depth) for at in run.starts]
        if len(parts) == 1:
            return parts[0]
        first, last = parts[0].first, parts[-1].last
        detail = f"{len(parts):,} x {_layers(parts[0].first, parts[0].last)}"
        return Fold(self._label(first, last), detail, first, last, tuple(parts))

    def _block(self, units: Sequence[_Unit], depth: int) -> Fold:
        first, last = units[0].first, units[-1].last
        if len(units) == 1 and units[0].nested:
            return self._nested(units[0], depth)
        inner = tuple(self._nested(unit, depth) for unit in units if unit.nested)
        return Fold(self._label(first, last), _layers(first, last), first, last, inner)

    def _label(self, first: int, last: int) -> str:
        names = [node.name for node in self.nodes[first:last]]
        common = _common(names)
        return common if len(common) > 2 else f"{names[0]}{TO}{names[-1]}"

    def _runs(self, units: Sequence[_Unit], first: int, last: int) -> Iterator[_Run]:
        """The run of the shortest period among these units, and those before and behind it."""
        run = self._shortest(units, first, last)
        if run is not None:
            yield from self._runs(units, first, run.first)
            yield run
            yield from self._runs(units, run.last, last)

    def _shortest(self, units: Sequence[_Unit], first: int, last: int) -> _Run | None:
        signs = np.unique([unit.sign for unit in units[first:last]], return_inverse=True)[1]
        for period in range(LEAST_PERIOD, len(signs) // 2 + 1):
            stretches = _stretches(signs[:-period] == signs[period:], max(period, LEAST_RUN - period))
            stretches = [(a, b) for a, b in stretches if not _repeats(signs[a : a + period])]
            cut = (self._aligned(units, first + start, first + end + period, period) for start, end in stretches)
            runs = [run for run in cut if run is not None]
            if runs:
                return max(runs, key=lambda run: run.last - run.first)
        return None

    def _aligned(self, units: Sequence[_Unit], first: int, last: int, period: int) -> _Run | None:
        """Cut where the fewest tensors cross, and where the names in a block have most in common.

        None where so many cross that such a short block is no unit to the eye.
        """

        def badness(run: _Run) -> tuple[float, float, int]:
            common = sum(len(_common(self._names(units[at : at + period]))) for at in run.starts) / len(run.starts)
            return self._crossing_of(units, run), -common, -len(run.starts)

        runs = [_Run(first + offset, last, period) for offset in range(period)]
        best = min((run for run in runs if len(run.starts) > 1), key=badness)
        beside = self._passing(units[first].first, units[last - 1].last)
        if period < LEAST_PERIOD + MORE_FOR_A_CROSSING * (self._crossing_of(units, best) - beside - 1):
            return None
        return _Run(best.first, best.first + len(best.starts) * period, period)

    def _crossing_of(self, units: Sequence[_Unit], run: _Run) -> float:
        """Tensors that cross a cut, on average."""
        return sum(self.crossing[units[at].first] for at in run.starts) / len(run.starts)

    def _passing(self, first: int, last: int) -> int:
        """Tensors that only pass by these nodes: other inputs of the model, or skips to far behind, as a U-Net has.

        A residual connection around the nodes is none of these: it belongs to their block.
        """
        far = FAR * (last - first)
        passing = (
            s for s, t in self.last_use.items() if s < first and t >= last and (t - s >= far or s in self.inputs)
        )
        return sum(1 for _ in passing)

    def _names(self, units: Sequence[_Unit]) -> list[str]:
        return [self.nodes[unit.first].name for unit in units]


@dataclass(frozen=True, order=True)
class _Run:
    """Units ``first`` to ``last``, equal again after each ``period``; an incomplete repetition may follow."""

    first: int
    last: int
    period: int

    @property
    def starts(self) -> range:
        """Where each complete repetition begins."""
        return range(self.first, self.last - self.period + 1, self.period)


def _with_rests(units: Sequence[_Unit], runs: Sequence[_Run]) -> Iterator[_Run]:
    """The runs, and as blocks of their own the units between them; of these, equal ones are cut out of longer ones."""
    if not runs:
        return
    edges = [0, *(edge for run in runs for edge in (run.first, run.last)), len(units)]
    rests = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    signs = [tuple(unit.sign for unit in units[a:b]) for a, b in rests]
    pieces = []
    for (a, b), sign in zip(rests, signs, strict=True):
        inner = [other for other in signs if LEAST_REST <= len(other) < len(sign)]
        end = next((b - len(other) for other in inner if sign[-len(other) :] == other), b)
        start = next((a + len(other) for other in inner if sign[: len(other)] == other), a)
        cuts = sorted({a, b, *([start] if start < end else []), end})
        pieces += [_Run(x, y, y - x) for x, y in itertools.pairwise(cuts)]
    yield from sorted([*runs, *(piece for piece in pieces if piece.period >= LEAST_REST)])


def _crossing(last_use: Mapping[int, int], count: int) -> list[int]:
    """For each position the number of tensors that are written before and read there or later."""
    change = [0] * (count + 2)
    for source, target in last_use.items():
        change[source + 1] += 1
        change[target + 1] -= 1
    return list(np.cumsum(change))


def _repeats(signs: np.ndarray) -> bool:
    """Whether they are repetitions of something shorter themselves."""
    count = len(signs)
    shorter = (size for size in range(1, count // 2 + 1) if count % size == 0)
    return any(np.array_equal(signs[size:], signs[:-size]) for size in shorter)


def _stretches(values: np.ndarray, least: int) -> list[tuple[int, int]]:
    """(start, end) of the runs of True that are ``least`` long or longer."""
    padded = np.concatenate(([False], values, [False])).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= least]


def _common(names: Sequence[str]) -> str:
    """The words that all names begin with."""
    parts = [re.split(r"([_/.\-])", name) for name in names]
    equal = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    return "".join(column[0] for column in equal).rstrip("_/.-")


def _layers(first: int, last: int) -> str:
    return words.plural(last - first, "layer")
