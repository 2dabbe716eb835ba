"""Fits the layers of a converted model to the source, in the order in which they run.

Both models run side by side, batch by batch. For each wave of layers (`waves`) all batches are brought up to it, sums
for the regressions are collected, the layers are solved, and the next wave starts with their new weights: each layer
sees the inputs that it really has in the converted model. Between waves only the tensors that are read later are kept
(`Frontier`), so every call runs once for each batch, and memory does not grow with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from keras import ops

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.effort import MACS_A_SECOND, Pace
from octconvert.calibration.fitting.frontier import Frontier
from octconvert.calibration.fitting.least_squares import Solution
from octconvert.calibration.fitting.linear import Regression, regressions
from octconvert.calibration.fitting.problem import Problem, intercept_of
from octconvert.calibration.fitting.waves import FittedLayer, LaterReads, Wave, waves_of
from octconvert.costs.macs import call_macs
from octconvert.model.execution import Uses, run_call
from octconvert.model.graph import SOURCE_INPUT, Call
from octconvert.model.shapes import with_input_shapes
from octconvert.model.tensors import BackendTensor
from octconvert.samples import Samples

WORK = 2e11
"""Multiply-accumulates that go into one Gram matrix at most, which bounds the number of positions."""
LEAST_ROWS, MOST_ROWS, ROWS_A_FEATURE = 4_000, 400_000, 50
"""More rows for each feature change no error: neighbouring positions are alike."""
MOST_NUMBERS = 40_000_000
"""Numbers in one batch's rows at most."""
HELD_OUT, FIRST_HELD_OUT = 4, 1
"""Every fourth batch is for choosing the ridge, the second one is the first of them."""
LAYER_SECONDS = 2e-3
"""To call a Keras layer, whatever it does."""
GATHERED, LEAST_SHARE = 300.0, 0.2
"""Multiply-accumulates that take as long as to gather one number; of the time that is left, for each wave."""
LEAST_SOLVED = FIRST_HELD_OUT + 1
"""Batches at least: one to fit to, one to choose the ridge by."""


@dataclass(frozen=True)
class FitResult:
    """The fit of one output of one layer: its name in the source, which output, and the numbers."""

    name: str
    output: int
    solution: Solution


@dataclass(eq=False)
class Sweep:
    """One pass of layer-by-layer least squares.

    Attributes:
        alignment: the two models; the converted one's weights are changed.
        samples: that are fitted to.
        batch_size: samples that are brought forward at once.
        seed: for drawing positions.
        priors: other weights the ridge may pull to: id of a layer -> weights by name.
        progress: called with (waves done, waves in all).
        pace: the time it may take. Where that is short, batches are left out from some wave on, and in the end layers.
        batches: that were used to the end.
        unsolved: number of layers that were left out for lack of time.
        unfitted: notes on layers that can not be fitted.
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
    unfitted: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.batches = -(-self.samples.count // self.batch_size)

    def run(self) -> list[FitResult]:
        """Solve every wave."""
        waves, weights = self._waves, self._weights
        self.unfitted = tuple(note for wave in waves for note in wave.unfitted)
        source_calls = [call for call in self.alignment.source.calls if call.kind != SOURCE_INPUT]
        self._frontiers, self._source_left = (Frontier(), Frontier()), source_calls
        results: list[FitResult] = []
        for number in range(len(waves)):
            self.progress(number, len(waves))
            following = sum(len(later.layers) for later in waves[number:])
            if not following:
                break
            share = max(2 * weights[number] / sum(weights[number:]), LEAST_SHARE)  # the weights are rough
            fits = self._wave(number, waves, self.pace.part(share))
            if fits is None:
                self.unsolved += following
                break
            results += fits
        return results

    @property
    def seconds(self) -> float:
        """About how long it takes on a usual machine."""
        return sum(self._weights)

    @cached_property
    def _waves(self) -> list[Wave]:
        return waves_of(self.alignment)

    @cached_property
    def _weights(self) -> list[float]:
        """Estimated seconds of each wave."""
        shapes = [(None, *array.shape[1:]) for array in self.samples.arrays]
        macs = call_macs(with_input_shapes(self.alignment.source, shapes))
        return [self._weight(wave, macs) for wave in self._waves]

    def _weight(self, wave: Wave, macs: Mapping[int, int]) -> float:
        work = 0.0
        for fitted in wave.layers:
            sources = {call.aligned.source.index for call in fitted.calls}
            work += 3.0 * self.samples.count * sum(macs.get(index, 0) for index in sources)
            for regression in regressions(fitted.layer):
                features = regression.features
                rows = self._rows(regression, len(fitted.calls)) * self.batches * len(fitted.calls)
                work += regression.blocks * features**2 * (rows + 10 * features)  # the Gram matrix, and to solve it
                work += GATHERED * regression.blocks * features * rows
        return work / MACS_A_SECOND + self.batches * LAYER_SECONDS * (1 + len(wave.calls) + 4 * len(wave.layers))

    def _wave(self, number: int, waves: list[Wave], pace: Pace) -> list[FitResult] | None:
        """Fit one wave's layers, on fewer batches where the time is short; None where it is over."""
        wave, later = waves[number], LaterReads.after(waves, number)
        needs = wave.needs
        last = max((self.alignment.source.tensors[n].producer for n in needs), default=-1)
        ahead = [call for call in self._source_left if call.index <= last]
        self._source_left = self._source_left[len(ahead) :]
        source_kept = later.source | {n for call in self._source_left for n in call.inputs}
        problems = [self._problems(fitted) for fitted in wave.layers]
        rng = np.random.default_rng((self.seed, number))
        is_last = not any(each.layers for each in waves[number + 1 :])
        done = 0
        for batch in self._in_time(pace):
            source, converted = self._values(batch, first=number == 0)
            _advance(ahead, source, source_kept | needs)
            _advance(wave.calls, converted, later.converted | wave.reads)
            for fitted, each in zip(wave.layers, problems, strict=True):
                self._collect(fitted, each, source, converted, rng, batch)
            if not is_last:
                self._frontiers[0].put(batch, {n: v for n, v in source.items() if n in source_kept})
                self._frontiers[1].put(batch, {n: v for n, v in converted.items() if n in later.converted})
            done += 1
        for batch in range(done, self.batches):
            for frontier in self._frontiers:
                frontier.forget(batch)
        if done < min(self.batches, LEAST_SOLVED):
            return None
        self.batches = done
        results: list[FitResult] = []
        for count, (fitted, each) in enumerate(zip(wave.layers, problems, strict=True)):
            if self.pace.lacks():
                self.unsolved += len(wave.layers) - count
                break
            results += self._solved(fitted, each)
        return results

    def _in_time(self, pace: Pace) -> Iterator[int]:
        """The batches; the first ones end with the sweep's time, the others with the wave's."""
        took = 0.0
        for batch in range(self.batches):
            started = self.pace.clock()
            if started + took >= (self.pace if batch < LEAST_SOLVED else pace).until:
                self.pace.leave_out()
                return
            yield batch
            took = self.pace.clock() - started

    def _problems(self, fitted: FittedLayer) -> list[Problem]:
        calls = [call.aligned for call in fitted.calls]
        return [Problem(each, intercept_of(self.alignment, calls, each)) for each in regressions(fitted.layer)]

    def _values(self, batch: int, first: bool) -> tuple[dict[int, BackendTensor], dict[int, BackendTensor]]:
        """(source's, converted model's) tensors of a batch as the last wave left them; the inputs for the first."""
        if not first:
            return self._frontiers[0].take(batch), self._frontiers[1].take(batch)
        rows = range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.samples.count))
        tensors = [ops.convert_to_tensor(x) for x in next(self.samples.batches(self.batch_size, rows))]
        graphs = (self.alignment.source, self.alignment.converted)
        source, converted = (dict(zip(graph.inputs, tensors, strict=True)) for graph in graphs)
        return source, converted

    def _collect(
        self,
        fitted: FittedLayer,
        problems: list[Problem],
        source: dict[int, BackendTensor],
        converted: dict[int, BackendTensor],
        rng: np.random.Generator,
        batch: int,
    ) -> None:
        """Add the rows of one batch to a layer's problems."""
        folds = (0, 1) if self._all_batches == 1 else (int(batch % HELD_OUT == FIRST_HELD_OUT),)
        for call in fitted.calls:
            targets = call.target.compute(self.alignment, source, converted)
            inputs = call.inputs(self.alignment, source, converted)
            for problem, y in zip(problems, targets, strict=False):
                if bool(ops.all(ops.isfinite(y))):
                    limit = self._rows(problem.regression, len(fitted.calls)) // len(folds)
                    for fold in folds:
                        problem.add(rng, inputs, y, max(limit, 1), fold)

    def _rows(self, regression: Regression, calls: int) -> int:
        """Positions to draw from one batch at each of the layer's calls."""
        size = regression.blocks * regression.features
        most = min(WORK / (size * size / regression.blocks), ROWS_A_FEATURE * size / regression.blocks)
        total = int(np.clip(most, LEAST_ROWS, MOST_ROWS))
        return max(1, min(total // self._all_batches // calls, MOST_NUMBERS // size))

    @property
    def _all_batches(self) -> int:
        return -(-self.samples.count // self.batch_size)

    def _solved(self, fitted: FittedLayer, problems: list[Problem]) -> Iterator[FitResult]:
        others = [prior[id(fitted.layer)] for prior in self.priors if id(fitted.layer) in prior]
        for problem in problems:
            solution = problem.solve(others)
            if solution is not None:
                yield FitResult(fitted.name, problem.regression.output, solution)


def _advance(calls: Sequence[Call], values: dict[int, BackendTensor], kept: AbstractSet[int]) -> None:
    """Run calls; drop the values that neither they nor the readers of ``kept`` will read."""
    uses = Uses(calls, kept)
    for call in calls:
        run_call(call, values)
        uses.drop(call, values)
