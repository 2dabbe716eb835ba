"""``target_time``: what conversions cost in time, estimated from the times of parts, and measured as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from octconvert.benchmarking.compare import Subject, compare
from octconvert.calibration.alphas import EVEN, with_alphas
from octconvert.calibration.target_costs import Costs
from octconvert.costs.cost import measure
from octconvert.errors import CheckError
from octconvert.latency.fusing import FusedGraph
from octconvert.latency.groups import PartTimes
from octconvert.latency.objective import SOURCE, check_sized
from octconvert.latency.stopwatch import Stopwatch
from octconvert.latency.timing import WHOLE, PartTimer
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


class TimeCosts:
    """The time of conversions by their alphas.

    Args:
        times: of the parts, at the levels of `WHOLE`.
        source: seconds of the whole source.
        unit: in words.
        cell: cells of a low map for each of a high one.
    """

    option, has_overheads = "target_time", True

    def __init__(self, times: PartTimes, source: float, unit: str, cell: float):
        self.unit, self._times, self._saved = unit, times, 1 - cell
        plain = times.seconds[0, 0]
        self._scale = min(1.0, source / max(float(plain.sum()), 1e-12))
        self._rest = source - self._scale * float(plain.sum())
        self._source, self._decides = source, times.outputs.any(axis=1)
        self.correction = 1.0

    def share(self, alphas: np.ndarray) -> float:
        """Of the source's time."""
        saved = 1 - (self._rest + self._scale * self._seconds(alphas)) / self._source
        return 1 - self.correction * saved

    def _seconds(self, alphas: np.ndarray) -> float:
        """Of all parts: measured for plain tensors, pairs of alpha 0.5 and whole-low ones; others by their MACs."""
        read, written = self._times.inputs @ alphas, self._times.outputs @ alphas
        near = [_level(read), _level(written)]
        parts = self._times.seconds[near[0], near[1], np.arange(len(read))]
        plain = self._times.seconds[0, 0]
        fewer = self._low(read, written) - self._low(near[0] / 2, near[1] / 2)
        return float(np.maximum(parts - plain * self._saved * fewer, LEAST * plain).sum())

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
        layout = self._planned.layout
        with Stopwatch(runtime, settings.threads, self._batch, settings.quantize) as watch:
            sized_plan = self._planned.with_options(min_size=layout.min_size)
            timer = PartTimer(sized_plan, FusedGraph(layout, sized), watch, progress, WHOLE)
            times = timer.times()
        self.notes = timer.notes
        (source,) = self._medians({SOURCE: planned.graph.model})
        precision = f" in {settings.quantize}" if settings.quantize else ""
        unit = f"the source's time on {runtime}{precision}"
        self._costs = TimeCosts(times, source / 1e3, unit, 1 / planned.options.octave**2)

    def costs(self) -> Costs:
        """Estimated from the times of the parts."""
        return self._costs

    def measured(self, planned: Planned, alphas: np.ndarray) -> float:
        """The time of a whole conversion, as a share of the source's; both are run in turns.

        The estimates are corrected so that they agree with it.

        Raises:
            CheckError: it can not be run.
        """
        with self._clock.pause():
            source, converted = self._medians({SOURCE: self._planned.graph.model, CONVERTED: rewrite(planned).model})
        share = converted / source
        estimated = self._costs.share(alphas)
        if share < 1 and estimated < 1:
            self._costs.correction *= (1 - share) / (1 - estimated)
        return share

    def _medians(self, models: dict[str, object]) -> list[float]:
        """Milliseconds of each.

        Raises:
            CheckError: one can not be run.
        """
        subjects = [Subject(name, model, 0) for name, model in models.items()]
        rows, _ = compare(subjects, self._settings, self._batch, self._progress)
        medians = [row.median for row in rows if row.median is not None]
        if len(medians) < len(rows):
            failed = next(row for row in rows if row.median is None)
            raise CheckError(f"target_time: the {failed.model} can not be run on {failed.runtime}: {failed.error}")
        return medians
