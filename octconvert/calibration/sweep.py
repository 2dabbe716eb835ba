"""Fits the layers of a converted model to the source, in the order in which they run.

Both models run side by side, batch by batch. The layers whose inputs are there form a *wave*: all batches are brought
up to it, sums for the regressions are collected, the layers are solved and the next wave starts with their new
weights: each layer sees what the converted model really feeds it. Between waves only the tensors that are still to
be read are kept (`Frontier`), so every call runs once for each batch, and memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
from octconvert.rules import rule_of

WORK = 2e11
"""Multiply-accumulates that go into one Gram matrix at most; positions are drawn so that it holds."""
LEAST_ROWS, MOST_ROWS = 4_000, 400_000
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
    """What came of one output map of one layer."""

    name: str
    output: int
    before: float
    after: float
    ridge: float


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

    def solve(self, others: Sequence[dict]) -> Solution | None:
        if self.equations is None:
            return None
        solution = self.equations.solve([self.prior(), *map(self.prior, others)])
        if solution.ridge != np.inf or solution.after < solution.before:
            weights = solution.weights
            if self.shift is not None:
                self.shift.put(weights[:, -1].reshape(-1))
                weights = weights[:, :-1]
            self.regression.assign(weights)
        return solution


class _Shift:
    """Where an intercept goes: the layer's bias, or the moving mean of the normalisation that follows it."""

    def __init__(self, bias, normalization):
        self._bias, self._normalization = bias, normalization

    def get(self) -> np.ndarray:
        if self._bias is not None:
            return np.asarray(ops.convert_to_numpy(self._bias), dtype="float64")
        return np.zeros(self._normalization.moving_mean.shape)

    def put(self, values: np.ndarray) -> None:
        if self._bias is not None:
            self._bias.assign(values)
        else:
            self._normalization.moving_mean.assign(ops.convert_to_numpy(self._normalization.moving_mean) - values)


def shift_of(twins: Twins, unit: Unit, regression: Regression) -> _Shift | None:
    """Where the intercept of a regression goes; None: nowhere."""
    if regression.bias_variable is not None:
        return _Shift(regression.bias_variable, None)
    tensor = unit.call.outputs[regression.output]
    consumers = twins.converted.consumers.get(tensor, ())
    if len(consumers) != 1 or tensor in twins.converted.outputs:
        return None
    layer = consumers[0].operation
    alone = isinstance(layer, keras.layers.BatchNormalization) and len(layer._inbound_nodes) == 1
    return _Shift(None, layer) if alone else None


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
        batches: function to an iterator over the batches (a list of arrays each), called once.
        seed: for drawing positions.
        priors: other weights the ridge may pull to: layer id -> weights by name, each.
        progress: called with (waves done, waves in all).
    """

    twins: Twins
    batches: Callable[[], object]
    seed: int = 0
    priors: Sequence[dict[int, dict[str, np.ndarray]]] = ()
    progress: Callable[[int, int], None] = lambda done, total: None
    fits: list[Fit] = field(default_factory=list)

    def run(self) -> list[Fit]:
        """Solve every wave; returns what came of each layer."""
        waves = waves_of(self.twins)
        self._prepare(waves)
        for number, wave in enumerate(waves):
            self.progress(number, len(waves))
            if not wave.units and number == len(waves) - 1:
                break
            self._wave(number, wave)
        return self.fits

    def _prepare(self, waves: list[Wave]) -> None:
        twins = self.twins
        needed = [number for wave in waves for target in wave.targets for number in target.needs()]
        others = [n for wave in waves for t in wave.targets for numbers in t.others for n in numbers]
        self._needed, self._others = needed, others
        self._frontiers = Frontier(), Frontier()
        self._position = 0  # source calls that have run
        self._source_order = [call for call in twins.source.calls if call.kind != SOURCE_INPUT]
        self._count = 0

    def _wave(self, number: int, wave: Wave) -> None:
        twins = self.twins
        problems = [
            [_Problem(r, shift_of(twins, unit, r)) for r in regressions(unit.layer)] for unit in wave.units
        ]
        wanted = {n for target in wave.targets for n in target.needs()}
        last = max((twins.source.tensors[n].producer for n in wanted), default=-1)
        ahead = [call for call in self._source_order if call.index <= last]
        rng = np.random.default_rng((self.seed, number))
        if number == 0:
            batches = enumerate(self.batches())
        else:
            batches = ((b, None) for b in range(self._count))
        for batch, samples in batches:
            source, converted = self._values(batch, samples)
            for call in ahead:
                run_call(call, source)
            for call in wave.calls:
                run_call(call, converted)
            for unit, target, each in zip(wave.units, wave.targets, problems, strict=True):
                self._collect(unit, target, each, source, converted, rng, batch)
            self._store(batch, source, converted, ahead, wave)
        self._source_order = self._source_order[len(ahead) :]
        for target in wave.targets:
            for n in target.needs():
                self._needed.remove(n)
            for numbers in target.others:
                for n in numbers:
                    self._others.remove(n)
        for unit, each in zip(wave.units, problems, strict=True):
            self._solve(unit, each)

    def _values(self, batch: int, samples):
        if samples is None:
            return self._frontiers[0].take(batch), self._frontiers[1].take(batch)
        self._count = batch + 1
        tensors = [ops.convert_to_tensor(x) for x in samples]
        inputs = zip(self.twins.source.inputs, self.twins.converted.inputs, tensors, strict=True)
        source, converted = {}, {}
        for a, b, tensor in inputs:
            source[a], converted[b] = tensor, tensor
        return source, converted

    def _store(self, batch, source, converted, ahead, wave) -> None:
        left = {n for call in self._source_order[len(ahead) :] for n in call.inputs} | set(self._needed)
        self._frontiers[0].put(batch, {n: v for n, v in source.items() if n in left})
        ran = {call.index for call in wave.calls}
        self._ran = getattr(self, "_ran", set()) | ran
        later = {n for call in self.twins.converted.calls if call.index not in self._ran for n in call.inputs}
        later |= set(self._others)
        self._frontiers[1].put(batch, {n: v for n, v in converted.items() if n in later})

    def _collect(self, unit, target, problems, source, converted, rng, batch) -> None:
        rule = rule_of(unit.source)
        wanted = target.compute(self.twins, rule, source, converted) if rule is not None else []
        inputs = [converted[n] for n in unit.call.inputs]
        for problem, y in zip(problems, wanted, strict=False):
            if not np.isfinite(float(ops.sum(y))):
                continue
            features = problem.regression.weights().shape[1] + 1
            blocks = problem.regression.blocks
            total = int(np.clip(WORK / (blocks * features**2), LEAST_ROWS, MOST_ROWS))
            limit = max(1, min(total // max(self._expected, 1), int(4e7 / (blocks * features))))
            problem.add(rng, inputs, y, limit, int(batch % HELD_OUT == HELD_OUT - 1))

    @property
    def _expected(self) -> int:
        return getattr(self, "expected_batches", 8)

    def _solve(self, unit: Unit, problems: list[_Problem]) -> None:
        for problem in problems:
            others = [prior[id(unit.layer)] for prior in self.priors if id(unit.layer) in prior]
            solution = problem.solve(others)
            if solution is not None:
                r = problem.regression
                self.fits.append(Fit(unit.source.layer_name, r.output, solution.before, solution.after, solution.ridge))
