"""``target_time``: what conversions cost in time, estimated from the times of parts, and measured as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from octconvert.benchmarking.compare import Exports, Subject, compare
from octconvert.calibration.alphas import EVEN, with_alphas
from octconvert.calibration.data.generator import range_samples
from octconvert.calibration.target_costs import Costs
from octconvert.costs.cost import measure
from octconvert.errors import CheckError
from octconvert.latency.fusing import FusedGraph
from octconvert.latency.groups import PartTimes
from octconvert.latency.objective import SOURCE, check_sized
from octconvert.latency.stopwatch import Stopwatch
from octconvert.latency.timing import WHOLE, PartTimer
from octconvert.octave.geometry import factors
from octconvert.options.timing import BenchSettings
from octconvert.planning.planned import Planned
from octconvert.rewriting import rewrite
from octconvert.runtimes.signature import batch_of
from octconvert.system.clock import PausableClock
from octconvert.system.progress import Progress

CONVERTED = "converted"
ROUNDS = 11
"""Turns of each whole model."""
LEAST = 0.05
"""Share of a part's time as a plain one that is left of it at least."""
NOISE, DOUBT, LARGEST = 0.01, 0.5, 4.0
"""Standard deviations of a measured share of the source's time, and of the factors before anything is measured; the
largest factor."""


class TimeCosts:
    """The time of conversions by their alphas.

    Within a model, parts with pairs at their ends and whole-low parts take another time than alone: more where maps are
    pooled and upsampled between them, less where they are fused. Each kind has a factor.

    Args:
        times: of the parts, at the levels of `WHOLE`.
        source: seconds of the whole source.
        unit: in words.
        cell: cells of a low map for each of a high one.
        factors: of parts with pairs, and of whole-low ones.
    """

    option, has_overheads = "target_time", True

    def __init__(
        self, times: PartTimes, source: float, unit: str, cell: float, factors: tuple[float, float] = (1.0, 1.0)
    ):
        self.unit, self.factors, self._times, self._cell = unit, factors, times, cell
        plain = float(times.seconds[0, 0].sum())
        self._scale = min(1.0, source / max(plain, 1e-12))
        self._rest = source - self._scale * plain
        self._source, self._decides = source, times.outputs.any(axis=1)

    def share(self, alphas: np.ndarray) -> float:
        """Of the source's time."""
        return float(self._shares(alphas) @ (1.0, *self.factors))

    def fitted(self, measured: Iterable[tuple[np.ndarray, float]]) -> TimeCosts:
        """With the factors that agree with whole models: (alphas, share of the source's time) of each.

        The most likely ones, if a factor is 1 give or take `DOUBT`, and a measured share is right to `NOISE`.
        """
        pairs = list(measured)
        if not pairs:
            return self
        shares = np.stack([self._shares(alphas) for alphas, _ in pairs])
        missing = np.array([share for _, share in pairs]) - shares.sum(axis=1)
        low = shares[:, 1:]
        change = np.linalg.solve(low.T @ low + (NOISE / DOUBT) ** 2 * np.eye(2), low.T @ missing)
        first, second = np.clip(1 + change, 1 / LARGEST, LARGEST).tolist()
        return TimeCosts(self._times, self._source, self.unit, self._cell, (first, second))

    def _shares(self, alphas: np.ndarray) -> np.ndarray:
        """Of plain parts and of what is no part, of parts with pairs, and of whole-low ones; each alone."""
        read, written = self._times.inputs @ alphas, self._times.outputs @ alphas
        levels = np.maximum(_level(read), _level(written))
        seconds = self._scale * np.bincount(levels, self._seconds(read, written), len(WHOLE))
        seconds[0] += self._rest
        return seconds / self._source

    def _seconds(self, read: np.ndarray, written: np.ndarray) -> np.ndarray:
        """Of each part: measured for plain tensors, pairs of alpha 0.5 and whole-low ones; others by their MACs."""
        near = [_level(read), _level(written)]
        parts = self._times.seconds[near[0], near[1], np.arange(len(read))]
        plain = self._times.seconds[0, 0]
        fewer = self._low(read, written) - self._low(near[0] / 2, near[1] / 2)
        return np.maximum(parts - plain * (1 - self._cell) * fewer, LEAST * plain)

    def _low(self, read: np.ndarray, written: np.ndarray) -> np.ndarray:
        """The share of the work at the low resolution (paper, section 3.2)."""
        return np.where(self._decides, read + written - read * written, np.maximum(read, written))


def _level(alphas: np.ndarray) -> np.ndarray:
    """0: plain, 1: pairs, 2: whole-low."""
    return (alphas > 1e-6).astype(int) + (alphas > 1 - 1e-6).astype(int)


class ConversionTimes:
    """Times of the conversions of one model: a `octconvert.calibration.target_costs.Timing`.

    Args:
        planned: by any alpha.
        settings: with one runtime.
        clock: stands still while times are measured.

    Raises:
        UsageError: the model leaves its input sizes open.
        CheckError: the source can not be run.
    """

    def __init__(self, planned: Planned, settings: BenchSettings, clock: PausableClock, progress: Progress):
        (runtime,) = settings.runtimes
        self._planned = with_alphas(planned, (EVEN,) * len(planned.plan.groups))
        sized, cost = measure(self._planned.graph)
        check_sized(planned, cost, "target_time")
        self._batch = batch_of([planned.graph.model])
        self._settings = replace(settings, batch=self._batch, rounds=ROUNDS)
        self._clock, self._progress = clock, progress
        self._exports = Exports()  # of the source
        self._ranges = range_samples(planned.graph.model, settings.quantize)
        layout = self._planned.layout
        with Stopwatch(runtime, settings.threads, self._batch, settings.quantize) as watch:
            sized_plan = self._planned.with_options(min_size=layout.min_size)
            timer = PartTimer(sized_plan, FusedGraph(layout, sized), watch, progress, WHOLE)
            times = timer.times()
        self.notes = timer.notes
        (source,) = self._medians({SOURCE: planned.graph.model})
        precision = f" in {settings.quantize}" if settings.quantize else ""
        unit = f"the source's time on {runtime}{precision}"
        octave = planned.options.octave
        rank = planned.layout.graph.rank if isinstance(octave, int) else len(octave)
        kept = 1 / math.prod(factors(octave, rank))
        self._estimated = TimeCosts(times, source / 1e3, unit, kept)
        self._measured: list[tuple[np.ndarray, float]] = []

    def costs(self) -> Costs:
        """Estimated from the times of the parts, and of the whole models that were measured."""
        return self._estimated.fitted(self._measured)

    def measured(self, planned: Planned, alphas: np.ndarray) -> float:
        """The time of a whole conversion, as a share of the source's; both are run in turns.

        Later estimates agree with it.

        Raises:
            CheckError: it can not be run.
        """
        with self._clock.pause():
            source, converted = self._medians({SOURCE: self._planned.graph.model, CONVERTED: rewrite(planned).model})
        self._measured.append((alphas, converted / source))
        return converted / source

    def _medians(self, models: dict[str, object]) -> list[float]:
        """Milliseconds of each.

        Raises:
            CheckError: one can not be run.
        """
        subjects = [
            Subject(name, model, 0, self._exports if name == SOURCE else None, self._ranges)
            for name, model in models.items()
        ]
        rows, _ = compare(subjects, self._settings, self._batch, self._progress)
        medians = [row.median for row in rows if row.median is not None]
        if len(medians) < len(rows):
            failed = next(row for row in rows if row.median is None)
            raise CheckError(f"target_time: the {failed.model} can not be run on {failed.runtime}: {failed.error}")
        return medians
