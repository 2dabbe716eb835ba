"""``objective='latency'``: the groups that gain time as pairs, and the whole model beside its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from octconvert.benchmarking.compare import Subject, compare
from octconvert.calibration.data.generator import range_samples
from octconvert.costs.cost import cost_of, measure
from octconvert.errors import UsageError
from octconvert.latency.fusing import FusedGraph
from octconvert.latency.groups import fastest_groups
from octconvert.latency.stopwatch import Stopwatch
from octconvert.latency.timing import PartTimer
from octconvert.options.timing import BenchSettings
from octconvert.planning.planned import Planned
from octconvert.results.bench import Bench
from octconvert.results.report import Cost
from octconvert.rewriting import rewrite
from octconvert.runtimes.signature import batch_of
from octconvert.system.progress import Progress
from octconvert.text.words import plural

NO_FASTER = "no faster as a pair"
ROUNDS = 15
"""Turns of each whole model."""
NOISE = 0.05
"""Time that a conversion must gain at least, as a share of the source's: less is not worth any accuracy."""
SOURCE, CHOSEN, ALL = "source", "converted", "every group converted"


@dataclass(frozen=True, eq=False)
class TimedPlan:
    """A plan, with the times that it was chosen by.

    Attributes:
        planned: some groups may be left plain in it.
        bench: the times of the whole models; None: nothing was timed.
        notes: the first one says how much time is gained, or that none is.
    """

    planned: Planned
    bench: Bench | None = None
    notes: tuple[str, ...] = ()


def for_latency(planned: Planned, settings: BenchSettings, progress: Progress) -> TimedPlan:
    """Leave the groups plain that gain no time as pairs, measured on this machine.

    Every part (`octconvert.latency.fusing`) is timed alone at its real shapes, plain and with pairs; the groups with
    the smallest sum are chosen. Then whole models are timed in their form for inference: with these groups, with all
    groups, and the source. The fastest one is taken; where that is the source, no group is converted.

    Args:
        planned: with every group a pair.
        settings: with one runtime.
        progress: called with (stage, done, total).

    Raises:
        UsageError: the model leaves its input sizes open.
    """
    (runtime,) = settings.runtimes
    layout = planned.layout
    sized, cost = measure(layout.graph)
    check_sized(planned, cost, "objective latency")
    batch = batch_of([layout.graph.model])
    settings = replace(settings, batch=batch, rounds=ROUNDS)
    with Stopwatch(runtime, settings.threads, batch, settings.quantize) as watch:
        sized_plan = planned.with_options(min_size=layout.min_size)
        timer = PartTimer(sized_plan, FusedGraph(layout, sized), watch, progress)
        times = timer.times()
    chosen = fastest_groups(times)
    candidates = {CHOSEN: _with_pairs(planned, chosen, runtime)}
    if not chosen.all():
        candidates[ALL] = planned
    candidates = {name: candidate for name, candidate in candidates.items() if candidate.converts}
    bench = _timed(planned, candidates, settings, progress)
    best = _best(planned, candidates, bench, runtime)
    return replace(best, notes=(*best.notes, *timer.notes))


def check_sized(planned: Planned, cost: Cost, option: str) -> None:
    """
    Raises:
        UsageError: the model leaves its input sizes open, and so its time.
    """
    if cost.assumed_shapes:
        raise UsageError(f"{option}: model '{planned.plan.model}' leaves its input size open: give `input_shape`")


def _with_pairs(planned: Planned, pairs: np.ndarray, runtime: str) -> Planned:
    """The same with the other groups left plain."""
    alone = [group for (group, _), pair in zip(planned.layout.groups, pairs, strict=True) if not pair]
    plain = {producer.call.key: f"{NO_FASTER} ({runtime})" for group in alone for producer in group.producers}
    return planned.leaving_plain(outputs=plain)


def _timed(planned: Planned, candidates: dict[str, Planned], settings: BenchSettings, progress: Progress) -> Bench:
    """The whole models."""
    models = {SOURCE: planned.graph.model}
    models |= {name: rewrite(candidate).model for name, candidate in candidates.items()}
    ranges = range_samples(planned.graph.model, settings.quantize)
    subjects = [Subject(name, model, cost_of(model).macs, ranges=ranges) for name, model in models.items()]
    batch = settings.batch or 1
    rows, notes = compare(subjects, settings, batch, progress)
    return Bench(rows, settings.threads, batch, settings.rounds, True, notes, settings.quantize)


def _best(planned: Planned, candidates: dict[str, Planned], bench: Bench, runtime: str) -> TimedPlan:
    times = {row.model: row.median for row in bench.rows if row.median is not None}
    best = CHOSEN
    if times.get(ALL, math.inf) < (1 - NOISE) * times.get(CHOSEN, math.inf):
        best = ALL
    before, after = times.get(SOURCE, 0.0), times.get(best, math.inf)
    if after > (1 - NOISE) * before:
        failed = next((f" ({row.model}: {row.error})" for row in bench.rows if row.error), "")
        note = f"no conversion is faster than the source on {runtime}: everything stays plain{failed}"
        plain = _with_pairs(planned, np.zeros(len(planned.layout.groups), bool), runtime)
        return TimedPlan(plain, bench, (note,))
    chosen = candidates[best]
    note = (
        f"pairs in {len(chosen.plan.groups)} of {plural(len(planned.plan.groups), 'group')}: {after:.3g} ms instead of"
        f" {before:.3g} ms on {runtime} ({before / after:.2f}x), both in their form for inference"
    )
    return TimedPlan(chosen, bench, (note,))
