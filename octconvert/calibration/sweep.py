"""Fits the layers of a converted model to the source, in the order in which they run.

Both models run side by side, batch by batch. The layers whose inputs are there form a *wave*: all batches are brought
up to it, sums for the regressions are collected, the layers are solved and the next wave starts with their new
weights: each layer sees what the converted model really feeds it. Between waves only the tensors that are still to
be read are kept (`Frontier`), so every call runs once for each batch, and memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from octconvert.calibration.frontier import Frontier
from octconvert.calibration.least_squares import NormalEquations, Solution
from octconvert.calibration.linear import Regression, draw_positions, regressions
from octconvert.calibration.pairing import Twins, Unit
from octconvert.calibration.targets import Target, target_of
from octconvert.execution import Uses, run_call
from octconvert.graph import SOURCE_INPUT, Call
from octconvert.samples import Samples

WORK = 2e11
"""Multiply-accumulates that go into one Gram matrix at most; positions are drawn so that it holds."""
LEAST_ROWS, MOST_ROWS = 4_000, 400_000
MOST_NUMBERS = 40_000_000
"""Numbers in one batch's rows at most."""
HELD_OUT = 4
"""Every fourth batch is for choosing the ridge."""


@dataclass(frozen=True, eq=False)
class Wave:
    """Calls of the converted model that run first, then units whose inputs are there."""

    calls: tuple[Call, ...]
    units: tuple[Unit, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Fit:
    """What came of one output map of one layer: its source's name, which output, and the numbers."""

    name: str
    output: int
    solution: Solution


@dataclass(eq=False)
class _Problem:
    """One regression of one unit while rows come in."""

    regression: Regression
    shift: _Shift | None
    equations: NormalEquations | None = None

    def add(self, rng, inputs: Sequence, target, limit: int, fold: int) -> None:
        regression = self.regression
        positions = draw_positions(rng, regression.last(target).shape, limit)
        rows = ops.cast(regression.rows(inputs, positions), "float32")
        targets = ops.cast(regression.targets(target, positions), "float32")
        if self.shift is not None:
            rows = ops.concatenate([rows, ops.ones((*rows.shape[:2], 1))], axis=-1)
        if self.equations is None:
            self.equations = NormalEquations(rows.shape[0], rows.shape[-1], targets.shape[-1])
        self.equations.add(rows, targets, fold)

    def prior(self, values=None) -> np.ndarray:
        weights = self.regression.weights(values)
        if self.shift is None:
            return weights
        return np.concatenate([weights, self.shift.get().reshape(len(weights), 1, -1)], axis=1)

    def solve(self, others: Sequence[Mapping[str, np.ndarray]]) -> Solution | None:
        if self.equations is None:
            return None
        solution = self.equations.solve([self.prior(), *map(self.prior, others)])
        if solution.changed:
            weights = solution.weights
            if self.shift is not None:
                self.shift.put(weights[:, -1].reshape(-1))
                weights = weights[:, :-1]
            self.regression.assign(weights)
        return solution


class _Shift:
    """Where an intercept goes: the layer's bias, or the moving mean of the normalisation that follows it."""

    def __init__(self, variable, mean: np.ndarray | None = None):
        """``mean``: what the moving mean is in the source, None for a bias."""
        self._variable, self._mean = variable, mean

    def get(self) -> np.ndarray:
        value = np.asarray(ops.convert_to_numpy(self._variable), dtype="float64")
        return value if self._mean is None else self._mean - value

    def put(self, values: np.ndarray) -> None:
        self._variable.assign(values if self._mean is None else self._mean - values)


def shift_of(twins: Twins, unit: Unit, regression: Regression) -> _Shift | None:
    """Where the intercept of a regression goes; None: nowhere."""
    if regression.bias_variable is not None:
        return _Shift(regression.bias_variable)
    tensor = unit.call.outputs[regression.output]
    consumers = twins.converted.consumers.get(tensor, ())
    if len(consumers) != 1 or tensor in twins.converted.outputs:
        return None
    following = next((each for each in twins.units if each.call is consumers[0]), None)
    if following is None or not isinstance(following.layer, keras.layers.BatchNormalization):
        return None
    mean = np.asarray(ops.convert_to_numpy(following.source.operation.moving_mean), dtype="float64")
    split = twins.layout.splits.get(following.source.inputs[0])
    if following.part != "clone" and split is not None:
        mean = mean[split.low if following.part == "clone-L" else split.high]
    variable = following.layer.moving_mean
    return _Shift(variable, mean) if mean.shape == tuple(variable.shape) else None


def waves_of(twins: Twins) -> list[Wave]:
    """All waves, planned before anything runs."""
    units = {unit.call.index: unit for unit in twins.units if regressions(unit.layer)}
    available = set(twins.converted.inputs)
    pending = [call for call in twins.converted.calls if call.kind != SOURCE_INPUT]
    released: set[int] = set()
    waves = []
    while pending:
        ran, waiting, blocked = [], [], []
        for call in pending:
            if not available.issuperset(call.inputs):
                blocked.append(call)
            elif call.index in units and call.index not in released:
                waiting.append(units[call.index])
                blocked.append(call)
            else:
                ran.append(call)
                available.update(call.outputs)
        found = [(unit, target_of(twins, unit, available)) for unit in waiting]
        fitted = [(unit, target) for unit, target in found if target is not None]
        waves.append(Wave(tuple(ran), tuple(u for u, _ in fitted), tuple(t for _, t in fitted)))
        released.update(unit.call.index for unit in waiting)
        pending = blocked
    return waves


@dataclass(eq=False)
class Sweep:
    """One pass of layer-by-layer least squares.

    Attributes:
        twins: the two models; the converted one's weights are changed.
        samples: what is fitted to.
        batch_size: samples that are brought forward at a time.
        seed: for drawing positions.
        priors: other weights the ridge may pull to: id of a layer -> weights by name.
        progress: called with (waves done, waves in all).
    """

    twins: Twins
    samples: Samples
    batch_size: int
    seed: int = 0
    priors: Sequence[Mapping[int, Mapping[str, np.ndarray]]] = ()
    progress: Callable[[int, int], None] = lambda done, total: None

    def run(self) -> list[Fit]:
        """Solve every wave; what came of each layer."""
        waves = waves_of(self.twins)
        source_calls = [call for call in self.twins.source.calls if call.kind != SOURCE_INPUT]
        self._frontiers, self._source_left = (Frontier(), Frontier()), source_calls
        fits: list[Fit] = []
        for number in range(len(waves)):
            self.progress(number, len(waves))
            if any(later.units for later in waves[number:]):
                fits += self._wave(number, waves)
        return fits

    def _wave(self, number: int, waves: list[Wave]) -> list[Fit]:
        wave, kept = waves[number], _Kept.after(self.twins, waves, number)
        wanted = {n for target in wave.targets for n in target.needs()}
        last = max((self.twins.source.tensors[n].producer for n in wanted), default=-1)
        ahead = [call for call in self._source_left if call.index <= last]
        self._source_left = self._source_left[len(ahead) :]
        source_kept = kept.source | {n for call in self._source_left for n in call.inputs}
        problems = [
            [_Problem(r, shift_of(self.twins, unit, r)) for r in regressions(unit.layer)] for unit in wave.units
        ]
        rng = np.random.default_rng((self.seed, number))
        for batch in range(self._batches):
            source, converted = self._values(batch, first=number == 0)
            _advance(ahead, source, source_kept | wanted)
            _advance(wave.calls, converted, kept.converted | _read_by(wave))
            for target, each in zip(wave.targets, problems, strict=True):
                self._collect(target, each, source, converted, rng, batch)
            if any(later.units for later in waves[number + 1 :]):
                self._frontiers[0].put(batch, {n: v for n, v in source.items() if n in source_kept})
                self._frontiers[1].put(batch, {n: v for n, v in converted.items() if n in kept.converted})
        return [fit for unit, each in zip(wave.units, problems, strict=True) for fit in self._solved(unit, each)]

    @property
    def _batches(self) -> int:
        return -(-self.samples.count // self.batch_size)

    def _values(self, batch: int, first: bool):
        """(source's, converted model's) tensors of a batch as the last wave left them; the inputs for the first."""
        if not first:
            return self._frontiers[0].take(batch), self._frontiers[1].take(batch)
        rows = range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.samples.count))
        tensors = [ops.convert_to_tensor(x) for x in next(self.samples.batches(self.batch_size, rows))]
        graphs = (self.twins.source, self.twins.converted)
        source, converted = (dict(zip(graph.inputs, tensors, strict=True)) for graph in graphs)
        return source, converted

    def _collect(self, target: Target, problems: list[_Problem], source, converted, rng, batch: int) -> None:
        wanted = target.compute(self.twins, source, converted)
        inputs = [converted[n] for n in target.unit.call.inputs]
        for problem, y in zip(problems, wanted, strict=False):
            if bool(ops.all(ops.isfinite(y))):
                problem.add(rng, inputs, y, self._rows(problem.regression), int(batch % HELD_OUT == HELD_OUT - 1))

    def _rows(self, regression: Regression) -> int:
        """Positions to draw from one batch."""
        size = regression.blocks * regression.weights().shape[1]
        total = int(np.clip(WORK / (size * size / regression.blocks), LEAST_ROWS, MOST_ROWS))
        return max(1, min(total // self._batches, MOST_NUMBERS // size))

    def _solved(self, unit: Unit, problems: list[_Problem]) -> Iterator[Fit]:
        others = [prior[id(unit.layer)] for prior in self.priors if id(unit.layer) in prior]
        for problem in problems:
            solution = problem.solve(others)
            if solution is not None:
                yield Fit(unit.source.layer_name, problem.regression.output, solution)


@dataclass(frozen=True)
class _Kept:
    """Tensors that the waves after one still read, for their targets (source) or as calls and targets (converted)."""

    source: frozenset[int]
    converted: frozenset[int]

    @classmethod
    def after(cls, twins: Twins, waves: list[Wave], number: int) -> _Kept:
        later = waves[number + 1 :]
        targets = [target for wave in later for target in wave.targets]
        reads = {n for wave in later for call in wave.calls for n in call.inputs}
        reads |= {n for wave in waves[number:] for unit in wave.units for n in unit.call.inputs}
        return cls(
            frozenset(n for target in targets for n in target.needs()),
            frozenset(reads | {n for target in targets for n in target.borrows()}),
        )


def _read_by(wave: Wave) -> set[int]:
    inputs = {n for unit in wave.units for n in unit.call.inputs}
    return inputs | {n for target in wave.targets for n in target.borrows()}


def _advance(calls: Sequence[Call], values: dict[int, object], kept) -> None:
    """Run calls; drop what neither they nor anybody in ``kept`` will read."""
    uses = Uses(calls, kept)
    for call in calls:
        run_call(call, values)
        uses.drop(call, values)
