"""``objective='latency'``: the groups that gain time as pairs, and the whole model held against its source."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from octconvert.benchmarking.compare import Subject, compare
from octconvert.costs.cost import cost_of, measure
from octconvert.errors import UsageError
from octconvert.inference.forms import RUNTIMES
from octconvert.latency.choice import Costs, fastest
from octconvert.latency.probes import State, probe
from octconvert.latency.stopwatch import Stopwatch
from octconvert.latency.units import Unit, Units
from octconvert.options.rewriting import RewritingOptions
from octconvert.options.timing import BenchSettings
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.results.bench import Bench
from octconvert.rewriting import rewrite
from octconvert.runtimes.signature import batch_of
from octconvert.system.progress import Progress
from octconvert.text.words import plural

NO_FASTER = "no faster as a pair"
ROUNDS = 15
"""Turns of each whole model."""
NOISE = 0.05
"""What a conversion must gain at the least, as a share of the source's time: less is not worth any accuracy."""
SOURCE, CHOSEN, ALL = "source", "converted", "every group converted"


@dataclass(frozen=True, eq=False)
class Fastest:
    """The fastest plan, the times of the whole models, and a sentence on them before other notes."""

    planned: Planned
    bench: Bench
    notes: tuple[str, ...]


def for_latency(planned: Planned, settings: BenchSettings, tell: Progress) -> Fastest:
    """Leave plain what would gain no time as a pair, measured on this machine.

    Every unit (`octconvert.latency.units`) is timed alone at its real shapes, plain and as a pair; the groups are
    chosen that make the sum least. Then the whole model is timed in its form for inference, with these groups, with
    all of them, and as its source: the fastest is taken, and none is converted where the source is.

    Raises:
        UsageError: the model leaves its sizes open.
    """
    (runtime,) = settings.runtimes
    layout = planned.layout
    sized, cost = measure(layout.graph)
    if cost.assumed_shapes:
        raise UsageError(f"objective latency: model '{planned.plan.model}' leaves its size open: give --input-shape")
    batch = batch_of([layout.graph.model])
    settings = replace(settings, batch=batch, rounds=ROUNDS)
    with Stopwatch(runtime, settings.threads, batch) as watch:
        options = replace(planned.options, min_size=layout.min_size)
        measuring = _Measuring(layout, options, Units(layout, sized), runtime, watch, tell)
        costs = measuring.costs()
    chosen = fastest(costs)
    candidates = {CHOSEN: _with_pairs(planned, chosen, runtime)}
    if not chosen.all():
        candidates[ALL] = planned
    candidates = {name: candidate for name, candidate in candidates.items() if candidate.converts}
    bench = _timed(planned, candidates, settings, tell)
    best = _best(planned, candidates, bench, runtime)
    return replace(best, notes=(*best.notes, *measuring.notes))


def _with_pairs(planned: Planned, pairs: np.ndarray, runtime: str) -> Planned:
    """The same with some of the groups left plain."""
    alone = [group for (group, _), pair in zip(planned.layout.groups, pairs, strict=True) if not pair]
    plain = {producer.call.key: f"{NO_FASTER} ({runtime})" for group in alone for producer in group.producers}
    return planned.leaving_plain(outputs=plain)


def _timed(planned: Planned, candidates: dict[str, Planned], settings: BenchSettings, tell: Progress) -> Bench:
    """The whole models."""
    models = {SOURCE: planned.graph.model}
    models |= {name: rewrite(candidate).model for name, candidate in candidates.items()}
    subjects = [Subject(name, model, cost_of(model).macs) for name, model in models.items()]
    batch = settings.batch or 1
    rows, notes = compare(subjects, settings, batch, tell)
    return Bench(rows, settings.threads, batch, settings.rounds, True, notes)


def _best(planned: Planned, candidates: dict[str, Planned], bench: Bench, runtime: str) -> Fastest:
    times = {row.model: row.median for row in bench.rows if row.median is not None}
    best = CHOSEN
    if times.get(ALL, math.inf) < (1 - NOISE) * times.get(CHOSEN, math.inf):
        best = ALL
    before, after = times.get(SOURCE, 0.0), times.get(best, math.inf)
    if after > (1 - NOISE) * before:
        failed = next((f" ({row.model}: {row.error})" for row in bench.rows if row.error), "")
        note = f"no conversion was found that is faster than the source on {runtime}: all stays plain{failed}"
        plain = _with_pairs(planned, np.zeros(len(planned.layout.groups), bool), runtime)
        return Fastest(plain, bench, (note,))
    chosen = candidates[best]
    note = (
        f"pairs in {len(chosen.plan.groups)} of {plural(len(planned.plan.groups), 'group')}: {after:.3g} ms in place of"
        f" {before:.3g} ms on {runtime} ({before / after:.2f}x), both in their form for inference"
    )
    return Fastest(chosen, bench, (note,))


class _Measuring:
    """The times of all units in all their states; units that are alike are measured once."""

    def __init__(
        self, layout: Layout, options: RewritingOptions, units: Units, runtime: str, watch: Stopwatch, tell: Progress
    ):
        self._layout, self._options, self._units = layout, options, units
        self._runtime, self._watch, self._tell = runtime, watch, tell
        self._untimed: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be timed, and is taken to cost the same whatever is decided."""
        if not self._untimed:
            return ()
        first, more = next(iter(self._untimed)), len(self._untimed) - 1
        others = f" and {more} more" if more else ""
        return (f"'{first}'{others} could not be timed alone; the choice does without",)

    def costs(self) -> Costs:
        units = self._units.found
        seconds = np.zeros((2, 2, len(units)))
        for number, unit in enumerate(units):
            self._tell(f"time layers on {self._runtime}", number, len(units))
            found = self._seconds(unit)
            if found is None:
                self._untimed[unit.calls[0].layer_name] = None
            else:
                seconds[..., number] = found
        inputs = np.stack([self._read(unit) for unit in units])
        outputs = np.stack([self._written(unit) for unit in units])
        return Costs(inputs, outputs, seconds)

    def _seconds(self, unit: Unit) -> np.ndarray | None:
        """(2, 2): by input and output, plain or a pair; None: it can not be timed."""
        states = {(read, written): self._state(unit, read, written) for read in (0, 1) for written in (0, 1)}
        try:
            model = self._units.model(unit)
            alike = json.dumps(keras.saving.serialize_keras_object(model), sort_keys=True, default=str)
            keys = {state: f"{self._asked()} {state} {alike}" for state in dict.fromkeys(states.values())}
            missing = {key: state for state, key in keys.items() if self._watch.known(key) is None}
            probes = {key: self._probe(model, state) for key, state in missing.items()}
        except Exception:  # layers of others raise of every kind
            return None
        if probes:
            self._watch.measure(probes)
        found = {place: self._watch.known(keys[state]) for place, state in states.items()}
        if None in found.values():
            return None
        return np.array([[found[read, written] for written in (0, 1)] for read in (0, 1)], dtype=float)

    def _asked(self) -> str:
        options = self._options
        asked = (options.octave, options.min_size, options.stride_mode, self._layout.graph.data_format)
        return f"{asked} {RUNTIMES[self._runtime]}"

    def _probe(self, model, state: State):
        return probe(model, state, self._options, self._runtime, self._layout.graph.data_format)

    def _state(self, unit: Unit, read: int, written: int) -> State:
        splits = self._layout.splits
        inputs = tuple(splits[tensor].alpha if read and tensor in splits else 0.0 for tensor in unit.inputs)
        output = max((splits[tensor].alpha for tensor in unit.decides if written), default=0.0)
        frozen = any(call.key in self._layout.decisions.frozen for call in unit.calls)
        return State(inputs, output, frozen)

    def _read(self, unit: Unit) -> np.ndarray:
        return self._mean_shares([tensor for tensor in unit.inputs if tensor in self._layout.splits])

    def _written(self, unit: Unit) -> np.ndarray:
        return self._mean_shares(unit.decides)

    def _mean_shares(self, tensors: Sequence[int]) -> np.ndarray:
        shares = [self._shares(tensor) for tensor in tensors]
        return np.mean(shares, axis=0) if shares else np.zeros(len(self._layout.groups))

    def _shares(self, tensor: int) -> np.ndarray:
        """Share of each group in a tensor's channels that are of any group."""
        groups = self._layout.components.group_of[self._layout.channels[tensor]]
        counts = np.bincount(groups[groups >= 0], minlength=len(self._layout.groups)).astype(float)
        return counts / max(counts.sum(), 1.0)
