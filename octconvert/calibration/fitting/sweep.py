"""Fits the layers of a converted model to the source, in the order in which they run.

Both models run side by side, batch by batch. The layers whose inputs are there form a *wave*: all batches are brought
up to it, sums for the regressions are collected, the layers are solved and the next wave starts with their new
weights: each layer sees what the converted model really feeds it. Between waves only the tensors that are still to
be read are kept (`Frontier`), so every call runs once for each batch, and memory does not grow with the data.

A layer that is called more than once is fitted to all its calls together, when their inputs are there. Where a later
call reads what the layer itself has a part in, that never comes; such a call is fitted on what it should read: the
source's own tensors, split and pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.calibration.alignment import Alignment, AlignedCall
from octconvert.calibration.effort import CALL_SECONDS, MACS_A_SECOND, Pace
from octconvert.calibration.fitting.frontier import Frontier
from octconvert.calibration.fitting.least_squares import NormalEquations, Solution
from octconvert.calibration.fitting.linear import Regression, draw_positions, regressions
from octconvert.calibration.fitting.targets import Target, target_of
from octconvert.costs.macs import call_macs
from octconvert.model.execution import Uses, run_call
from octconvert.model.graph import SOURCE_INPUT, Call
from octconvert.model.shapes import with_input_shapes
from octconvert.samples import Samples

WORK = 2e11
"""Multiply-accumulates that go into one Gram matrix at most; positions are drawn so that it holds."""
LEAST_ROWS, MOST_ROWS = 4_000, 400_000
MOST_NUMBERS = 40_000_000
"""Numbers in one batch's rows at most."""
HELD_OUT, FIRST_HELD_OUT = 4, 1
"""Every fourth batch is for choosing the ridge, the second one is the first of them."""
GATHERED, LEAST_SHARE = 300.0, 0.2
"""Multiply-accumulates that take as long as to gather one number; of the time that is left, for each wave."""
LEAST_SOLVED = FIRST_HELD_OUT + 1
"""Batches at the least: one to fit to, one to choose the ridge by."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One call of a layer as it is fitted.

    Attributes:
        target: what it should put out.
        ideal: (source tensor, part of it) for each input, where the converted model's own are not there in time.
    """

    target: Target
    ideal: tuple[tuple[int, int], ...] = ()

    @property
    def aligned(self) -> AlignedCall:
        return self.target.aligned

    @property
    def needs(self) -> tuple[int, ...]:
        """Source tensors."""
        return (*self.target.needs(), *(tensor for tensor, _ in self.ideal))

    @property
    def reads(self) -> tuple[int, ...]:
        """Converted tensors."""
        return (*(() if self.ideal else self.aligned.call.inputs), *self.target.borrows())

    def inputs(self, alignment: Alignment, source: dict[int, object], converted: dict[int, object]) -> list:
        if not self.ideal:
            return [converted[number] for number in self.aligned.call.inputs]
        return [
            alignment.parts(source[tensor], alignment.counterparts[tensor].split)[part] for tensor, part in self.ideal
        ]


@dataclass(frozen=True, eq=False)
class Fitting:
    """A layer and all its calls."""

    layer: Any
    readings: tuple[Reading, ...]

    @property
    def name(self) -> str:
        return self.readings[0].aligned.source.layer_name


@dataclass(frozen=True, eq=False)
class Wave:
    """Calls of the converted model that run first, then layers whose inputs are there.

    ``left``: layers that can not be fitted, and why.
    """

    calls: tuple[Call, ...]
    fittings: tuple[Fitting, ...]
    left: tuple[str, ...] = ()

    @property
    def needs(self) -> set[int]:
        """Source tensors that are looked at."""
        return {n for fitting in self.fittings for reading in fitting.readings for n in reading.needs}

    @property
    def reads(self) -> set[int]:
        """Converted tensors that are looked at."""
        return {n for fitting in self.fittings for reading in fitting.readings for n in reading.reads}


@dataclass(frozen=True)
class Fit:
    """What came of one output map of one layer: its source's name, which output, and the numbers."""

    name: str
    output: int
    solution: Solution


@dataclass(eq=False)
class _Problem:
    """One regression of one call while rows come in."""

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


def shift_of(alignment: Alignment, calls: Sequence[AlignedCall], regression: Regression) -> _Shift | None:
    """Where the intercept of a regression goes; None: nowhere. ``calls``: all calls of its layer."""
    if regression.bias_variable is not None:
        return _Shift(regression.bias_variable)
    following = [_normalization_behind(alignment, aligned, regression.output) for aligned in calls]
    first = following[0]
    if first is None or any(other is None or other.layer is not first.layer for other in following):
        return None
    if not any(group[0].layer is first.layer and len(group) == len(calls) for group in alignment.layers):
        return None  # it normalises what other layers put out as well
    mean = np.asarray(ops.convert_to_numpy(first.source.operation.moving_mean), dtype="float64")
    split = alignment.layout.splits.get(first.source.inputs[0])
    if first.part != "clone" and split is not None:
        mean = mean[split.low if first.part == "clone-L" else split.high]
    variable = first.layer.moving_mean
    return _Shift(variable, mean) if mean.shape == tuple(variable.shape) else None


def _normalization_behind(alignment: Alignment, aligned: AlignedCall, output: int) -> AlignedCall | None:
    """The BatchNormalization that alone reads an output of a call."""
    tensor = aligned.call.outputs[output]
    consumers = alignment.converted.consumers.get(tensor, ())
    if len(consumers) != 1 or tensor in alignment.converted.outputs:
        return None
    following = next((each for each in alignment.calls if each.call is consumers[0]), None)
    is_one = following is not None and isinstance(following.layer, keras.layers.BatchNormalization)
    return following if is_one else None


def waves_of(alignment: Alignment) -> list[Wave]:
    """All waves, planned before anything runs."""
    left = {id(calls[0].layer): calls for calls in alignment.layers if regressions(calls[0].layer)}
    of_call = {aligned.call.index: key for key, calls in left.items() for aligned in calls}
    available = set(alignment.converted.inputs)
    pending = [call for call in alignment.converted.calls if call.kind != SOURCE_INPUT]
    waves = []
    while pending:
        ran, blocked = [], []
        for call in pending:
            if of_call.get(call.index) in left or not available.issuperset(call.inputs):
                blocked.append(call)
            else:
                ran.append(call)
                available.update(call.outputs)
        begun = [key for key, calls in left.items() if any(available.issuperset(u.call.inputs) for u in calls)]
        ready = [key for key in begun if all(available.issuperset(u.call.inputs) for u in left[key])]
        fittings, reasons = [], []
        for key in ready or begun[:1]:  # a layer that waits for itself goes when nothing else can
            found = _fitting(alignment, left.pop(key), available)
            if isinstance(found, Fitting):
                fittings.append(found)
            elif found:
                reasons.append(found)
        waves.append(Wave(tuple(ran), tuple(fittings), tuple(reasons)))
        pending = blocked
    return waves


def _fitting(alignment: Alignment, calls: list[AlignedCall], available: set[int]) -> Fitting | str:
    """The layer with all its calls, or why it can not be fitted."""
    origins = {n: (tensor, i) for tensor, c in alignment.counterparts.items() for i, n in enumerate(c.numbers)}
    readings = []
    for aligned in calls:
        target = target_of(alignment, aligned, available)
        there = available.issuperset(aligned.call.inputs)
        if target is None or not (there or all(number in origins for number in aligned.call.inputs)):
            name, reason = aligned.source.layer_name, "reads its own output in a form that the source does not have"
            return f"'{name}' is not fitted: one of its calls {reason}" if len(calls) > 1 else ""
        readings.append(Reading(target, () if there else tuple(origins[number] for number in aligned.call.inputs)))
    return Fitting(calls[0].layer, tuple(readings))


@dataclass(eq=False)
class Sweep:
    """One pass of layer-by-layer least squares.

    Attributes:
        alignment: the two models; the converted one's weights are changed.
        samples: what is fitted to.
        batch_size: samples that are brought forward at a time.
        seed: for drawing positions.
        priors: other weights the ridge may pull to: id of a layer -> weights by name.
        progress: called with (waves done, waves in all).
        pace: the time it may take. Where that is short, batches are left out from some wave on, and in the end layers.
        batches: that were used to the end.
        unsolved: layers that were left out for the time.
        left: layers that can not be fitted, and why.
    """

    alignment: Alignment
    samples: Samples
    batch_size: int
    seed: int = 0
    priors: Sequence[Mapping[int, Mapping[str, np.ndarray]]] = ()
    progress: Callable[[int, int], None] = lambda done, total: None
    pace: Pace = field(default_factory=Pace)
    batches: int = field(init=False)
    unsolved: int = field(init=False, default=0)
    left: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self):
        self.batches = -(-self.samples.count // self.batch_size)

    def run(self) -> list[Fit]:
        """Solve every wave; what came of each layer."""
        waves = waves_of(self.alignment)
        self.left = tuple(reason for wave in waves for reason in wave.left)
        source_calls = [call for call in self.alignment.source.calls if call.kind != SOURCE_INPUT]
        self._frontiers, self._source_left = (Frontier(), Frontier()), source_calls
        weights = self._weights(waves)
        fits: list[Fit] = []
        for number in range(len(waves)):
            self.progress(number, len(waves))
            following = sum(len(later.fittings) for later in waves[number:])
            if not following:
                break
            share = max(2 * weights[number] / sum(weights[number:]), LEAST_SHARE)  # the weights are rough
            found = self._wave(number, waves, self.pace.part(share))
            if found is None:
                self.unsolved += following
                break
            fits += found
        return fits

    def _weights(self, waves: list[Wave]) -> list[float]:
        """About how long each wave takes, in seconds."""
        shapes = [(None, *array.shape[1:]) for array in self.samples.arrays]
        macs = call_macs(with_input_shapes(self.alignment.source, shapes))
        return [self._weight(wave, macs) for wave in waves]

    def _weight(self, wave: Wave, macs: Mapping[int, int]) -> float:
        work = 0.0
        for fitting in wave.fittings:
            sources = {reading.aligned.source.index for reading in fitting.readings}
            work += 3.0 * self.samples.count * sum(macs.get(index, 0) for index in sources)
            for regression in regressions(fitting.layer):
                features = regression.weights().shape[1]
                rows = self._rows(regression, len(fitting.readings)) * self.batches * len(fitting.readings)
                work += regression.blocks * features**2 * (rows + 10 * features)  # the Gram matrix, and to solve it
                work += GATHERED * regression.blocks * features * rows
        return work / MACS_A_SECOND + self.batches * CALL_SECONDS * (1 + len(wave.calls) + 10 * len(wave.fittings))

    def _wave(self, number: int, waves: list[Wave], pace: Pace) -> list[Fit] | None:
        """Fit one wave's layers, on fewer batches where the time is short; None where it is over."""
        wave, kept = waves[number], _Kept.after(self.alignment, waves, number)
        wanted = wave.needs
        last = max((self.alignment.source.tensors[n].producer for n in wanted), default=-1)
        ahead = [call for call in self._source_left if call.index <= last]
        self._source_left = self._source_left[len(ahead) :]
        source_kept = kept.source | {n for call in self._source_left for n in call.inputs}
        problems = [self._problems(fitting) for fitting in wave.fittings]
        rng = np.random.default_rng((self.seed, number))
        is_last = not any(later.fittings for later in waves[number + 1 :])
        done = 0
        for batch in self._in_time(pace):
            source, converted = self._values(batch, first=number == 0)
            _advance(ahead, source, source_kept | wanted)
            _advance(wave.calls, converted, kept.converted | wave.reads)
            for fitting, each in zip(wave.fittings, problems, strict=True):
                self._collect(fitting, each, source, converted, rng, batch)
            if not is_last:
                self._frontiers[0].put(batch, {n: v for n, v in source.items() if n in source_kept})
                self._frontiers[1].put(batch, {n: v for n, v in converted.items() if n in kept.converted})
            done += 1
        for batch in range(done, self.batches):
            for frontier in self._frontiers:
                frontier.forget(batch)
        if done < min(self.batches, LEAST_SOLVED):
            return None
        self.batches = done
        fits: list[Fit] = []
        for count, (fitting, each) in enumerate(zip(wave.fittings, problems, strict=True)):
            if self.pace.left <= 0:
                self.pace.cut, self.unsolved = True, self.unsolved + len(wave.fittings) - count
                break
            fits += self._solved(fitting, each)
        return fits

    def _in_time(self, pace: Pace) -> Iterator[int]:
        """The batches; the first ones end with the sweep's time, the others with the wave's."""
        took = 0.0
        for batch in range(self.batches):
            started = self.pace.clock()
            if started + took >= (self.pace if batch < LEAST_SOLVED else pace).until:
                self.pace.cut = True
                return
            yield batch
            took = self.pace.clock() - started

    def _problems(self, fitting: Fitting) -> list[_Problem]:
        calls = [reading.aligned for reading in fitting.readings]
        return [_Problem(each, shift_of(self.alignment, calls, each)) for each in regressions(fitting.layer)]

    def _values(self, batch: int, first: bool):
        """(source's, converted model's) tensors of a batch as the last wave left them; the inputs for the first."""
        if not first:
            return self._frontiers[0].take(batch), self._frontiers[1].take(batch)
        rows = range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.samples.count))
        tensors = [ops.convert_to_tensor(x) for x in next(self.samples.batches(self.batch_size, rows))]
        graphs = (self.alignment.source, self.alignment.converted)
        source, converted = (dict(zip(graph.inputs, tensors, strict=True)) for graph in graphs)
        return source, converted

    def _collect(self, fitting: Fitting, problems: list[_Problem], source, converted, rng, batch: int) -> None:
        folds = (0, 1) if self._all_batches == 1 else (int(batch % HELD_OUT == FIRST_HELD_OUT),)
        for reading in fitting.readings:
            wanted = reading.target.compute(self.alignment, source, converted)
            inputs = reading.inputs(self.alignment, source, converted)
            for problem, y in zip(problems, wanted, strict=False):
                if bool(ops.all(ops.isfinite(y))):
                    limit = self._rows(problem.regression, len(fitting.readings)) // len(folds)
                    for fold in folds:
                        problem.add(rng, inputs, y, max(limit, 1), fold)

    def _rows(self, regression: Regression, calls: int) -> int:
        """Positions to draw from one batch at each of the layer's calls."""
        size = regression.blocks * regression.weights().shape[1]
        total = int(np.clip(WORK / (size * size / regression.blocks), LEAST_ROWS, MOST_ROWS))
        return max(1, min(total // self._all_batches // calls, MOST_NUMBERS // size))

    @property
    def _all_batches(self) -> int:
        return -(-self.samples.count // self.batch_size)

    def _solved(self, fitting: Fitting, problems: list[_Problem]) -> Iterator[Fit]:
        others = [prior[id(fitting.layer)] for prior in self.priors if id(fitting.layer) in prior]
        for problem in problems:
            solution = problem.solve(others)
            if solution is not None:
                yield Fit(fitting.name, problem.regression.output, solution)


@dataclass(frozen=True)
class _Kept:
    """Tensors that the waves after one still read, for their targets (source) or as calls and targets (converted)."""

    source: frozenset[int]
    converted: frozenset[int]

    @classmethod
    def after(cls, alignment: Alignment, waves: list[Wave], number: int) -> _Kept:
        later = waves[number + 1 :]
        reads = {n for wave in later for call in wave.calls for n in call.inputs}
        reads |= {
            n for wave in waves[number:] for f in wave.fittings for r in f.readings for n in r.aligned.call.inputs
        }
        return cls(
            frozenset(n for wave in later for n in wave.needs),
            frozenset(reads.union(*(wave.reads for wave in later))),
        )


def _advance(calls: Sequence[Call], values: dict[int, object], kept) -> None:
    """Run calls; drop what neither they nor anybody in ``kept`` will read."""
    uses = Uses(calls, kept)
    for call in calls:
        run_call(call, values)
        uses.drop(call, values)
