"""Keeps the accuracy of a trained model through its conversion: the steps in order, each held against what was before.

1. *rotate*: the basis of linear tensors (`rotation`); 2. *select*: which channels go low (`selection`), and with
``target_macs`` or ``max_drop`` how many in each group (`budget`); 3. *solve*: least squares layer by layer (`sweep`);
4. *renormalize*: BatchNormalization's statistics (`statistics`); 5. *refine*: a short training (`refine`).

The result is measured on held-out samples after each of 3, 4 and 5, and what does not come closer to the source's
outputs is taken back; the start is the better one of sliced and folded weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from octconvert.build import Builder, weights_by_name
from octconvert.calibration import budget, refine, rotation, selection
from octconvert.calibration.effort import FAR, Allowance, seconds_a_sample, told_seconds
from octconvert.calibration.evidence import Outputs, errors_by_layer, measures
from octconvert.calibration.pairing import Twins
from octconvert.calibration.sensitivity import sensitivity
from octconvert.calibration.settings import Settings
from octconvert.calibration.statistics import renormalize
from octconvert.calibration.supply import Supply, given_supply, synthetic_supply
from octconvert.calibration.sweep import Fit, Sweep
from octconvert.cost import measure
from octconvert.errors import OctconvertError, UsageError, first_line
from octconvert.graph import CallGraph
from octconvert.planning.make import layout_from_plan, plan_of
from octconvert.planning.solve import Layout
from octconvert.planning.values import Options, Plan
from octconvert.report.result import CalibrationReport, Cost, Step
from octconvert.report.words import plural
from octconvert.samples import Samples

Progress = Callable[[str, int, int], None]
Build = Callable[[Layout, Plan, Options], tuple[Layout, Plan, Builder, Any]]

BATCH_BYTES = 2**28
"""Activations of one batch at the most."""
MOST_BATCH, LEAST_BATCHES = 256, 8
SURVEYING, SOLVING, RENORMALIZING = 2.0, 12.0, 2.0
"""What a step takes for each sample, in runs of the source."""
SENSED, LEAST_SENSED, SENSING, SENSING_SHARE = 256, 8, 8.0, 0.1
"""Samples for the sensitivity at the most and the least, what each takes as above, and its share of the time."""
RENORMALIZED = 256
"""Samples for statistics behind solved layers, whose means are right already: there is little to be had."""
OVERTIME = 2.0
"""The clock ends the refinement after so many budgets."""
TIMED = 64
"""Samples that are run to measure the time they take."""
TRIES = 5
"""Runs at the most for that."""
SHARE = 0.6
"""Of the time, for everything before the refinement."""
LEAST_SYNTHETIC, MOST_SYNTHETIC, SYNTHETIC_HELD_OUT = 8, 1024, 64
DROP_TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45)
"""Shares of the MACs that are tried for ``max_drop``."""


@dataclass(eq=False)
class Candidate:
    """A converted model and how far its outputs are from the source's, on held-out samples."""

    layout: Layout
    plan: Plan
    builder: Builder
    model: Any
    outputs: Outputs
    error: float

    def weights(self) -> list[np.ndarray]:
        return [np.array(weight) for weight in self.model.weights]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What came of a calibration.

    Attributes:
        layout, plan, builder, model: of the converted model; the layout's source may be a rotated copy.
        report: None where nothing could be done.
        errors: layer name -> error, see `octconvert.calibration.evidence.errors_by_layer`.
        notes: what the user should know.
    """

    layout: Layout
    plan: Plan
    builder: Builder
    model: Any
    report: CalibrationReport | None
    errors: dict[str, float]
    notes: tuple[str, ...] = ()


def calibrate(
    layout: Layout, plan: Plan, options: Options, settings: Settings, build: Build, tell: Progress
) -> Calibrated:
    """Convert and keep what can be kept.

    Raises:
        InputError, UsageError: the data can not be used, or a target is out of reach.
    """
    run = _Run.start(layout, settings, tell)
    if run is None:
        note = "not calibrated: no samples can be made up for these inputs; give some with --calibrate"
        return _uncalibrated(layout, plan, options, build, note)
    plain = replace(options, portable=False)  # the same function, and the layers that can be fitted
    best = run.base(layout, plan, plain, build)
    start = best.outputs
    best = run.solved(best, plan, plain, build)
    best = run.renormalized(best)
    best = run.refined(best)
    errors = errors_by_layer(Twins(best.layout, best.builder, best.model), run.supply.held_out, run.batch)
    report = run.report(start, best.outputs)
    if options.portable:
        builder = Builder(best.layout, options, tuned=best.builder.tuned_weights())
        plan = replace(best.plan, portable=True)
        return Calibrated(best.layout, plan, builder, builder.build(), report, errors, run.notes)
    return Calibrated(best.layout, best.plan, best.builder, best.model, report, errors, run.notes)


def prepared_plan(layout: Layout, plan: Plan, options: Options, settings: Settings, tell: Progress) -> Plan:
    """The plan that `calibrate` follows: channels selected, alphas chosen."""
    run = _Run.start(layout, settings, tell)
    if run is None:
        raise UsageError("no samples can be made up for these inputs; give some with --calibrate")
    if settings.max_drop is not None:
        raise UsageError("max_drop needs a conversion: it is measured on the converted model")
    return run.prepared(layout, plan, options, settings.target_macs)[1]


def _uncalibrated(layout: Layout, plan: Plan, options: Options, build: Build, note: str) -> Calibrated:
    layout, plan, builder, model = build(layout, plan, options)
    return Calibrated(layout, plan, builder, model, None, {}, (note,))


@dataclass(eq=False)
class _Run:
    """One calibration while it works."""

    supply: Supply
    settings: Settings
    tell: Progress
    batch: int
    costs: Cost
    allowance: Allowance
    expected: Outputs
    started: float
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def start(cls, layout: Layout, settings: Settings, tell: Progress) -> _Run | None:
        started = time.monotonic()
        tell("calibrate: samples", 0, 0)
        graph = layout.graph
        sized, costs = measure(graph)
        trial = synthetic_supply(graph, settings, TIMED, 2) if settings.synthetic else given_supply(graph, settings)
        if trial is None:
            return None
        costs = _at_size(costs, sized, trial.held_out)
        batch = int(np.clip(BATCH_BYTES // max(costs.peak_activation_bytes, 1), 1, MOST_BATCH))
        told = told_seconds(costs, len(graph.calls) / min(batch, trial.fit.count))
        measured = _measured_seconds(layout, trial, batch, FAR * told)
        allowance = Allowance(settings.seconds, seconds_a_sample(told, measured))
        supply = trial
        if settings.synthetic:
            wanted = allowance.samples(SHARE, SOLVING) // 8 * 8
            count = int(np.clip(wanted, LEAST_SYNTHETIC, min(MOST_SYNTHETIC, settings.samples)))
            made = synthetic_supply(graph, settings, count, SYNTHETIC_HELD_OUT)
            assert made is not None  # as the trial was not
            supply = made
        expected = Outputs.of(graph, supply.held_out, batch)
        return cls(supply, settings, tell, batch, costs, allowance, expected, started)

    @property
    def overtime(self) -> float:
        """Seconds by the clock after which no more is begun."""
        return OVERTIME * self.settings.seconds - (time.monotonic() - self.started)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.supply.notes

    def wants(self, step: str) -> bool:
        return step in self.settings.steps

    @contextmanager
    def timed(self, name: str) -> Iterator[_Outcome]:
        """Adds the step to the report; an error of a library is told there and changes nothing."""
        outcome, started = _Outcome(), time.monotonic()
        self.tell(f"calibrate: {name}", 0, 0)
        try:
            yield outcome
        except OctconvertError:
            raise
        except Exception as error:  # TensorFlow raises many kinds: too little memory, odd shapes
            outcome.kept, outcome.detail = False, f"failed: {first_line(error)}"
        self.steps.append(Step(name, outcome.kept, outcome.detail, time.monotonic() - started))

    # ---- candidates

    def candidate(self, built: tuple[Layout, Plan, Builder, Any]) -> Candidate:
        layout, plan, builder, model = built
        found = Candidate(layout, plan, builder, model, self.expected, np.inf)
        self.measure(found)
        return found

    def measure(self, candidate: Candidate) -> None:
        graph = Twins(candidate.layout, candidate.builder, candidate.model).converted
        candidate.outputs = Outputs.of(graph, self.supply.held_out, self.batch)
        candidate.error = self.expected.error(candidate.outputs)

    def base(self, layout: Layout, plan: Plan, options: Options, build: Build) -> Candidate:
        """The better one of sliced and folded weights, channels as planned."""
        self.tell("calibrate: start", 0, 0)
        ways = ("slice", "fold")
        found = [self.candidate(build(layout, plan, replace(options, weights=way))) for way in ways]
        return min(found, key=lambda candidate: candidate.error)

    # ---- rotate, select

    def prepared(self, layout: Layout, plan: Plan, options: Options, target: float | None) -> tuple[Layout, Plan]:
        """Layout and plan with bases turned, channels selected and alphas chosen."""
        kept = layout, plan
        if self.wants("rotate") and options.octave > 1:
            with self.timed("rotate") as outcome:
                layout, outcome.detail = self._rotated(layout, plan, options)
                outcome.kept = layout is not kept[0]
        if target is not None:
            layout, plan = self._searched(layout, plan, options, target)
        if self.wants("select"):
            with self.timed("select") as outcome:
                plan, outcome.detail = self._selected(layout, plan, options)
                layout = layout_from_plan(layout.graph, plan)
        return layout, plan_of(layout, options)

    def _rotated(self, layout: Layout, plan: Plan, options: Options) -> tuple[Layout, str]:
        groups = [group for group in rotation.linear_groups(layout) if _is_free(layout, group)]
        if not groups:
            return layout, "no tensor that only linear layers touch"
        wanted = rotation.measured_tensors(layout, groups)
        found = self._survey(layout, options, wanted)
        count = sum(len(group.branches) for group in groups)
        return rotation.rotated(layout, plan, groups, found), f"{len(groups)} groups of {count} convolutions"

    def _selected(self, layout: Layout, plan: Plan, options: Options) -> tuple[Plan, str]:
        damages, how = self._damages(layout, options)
        given = sum(group.selection is not None for group in plan.groups)
        chosen = selection.select(layout, plan, damages)
        told = f"{len(plan.groups) - given} groups" + (f", {given} as planned" if given else "") + how
        return chosen, told

    def _damages(self, layout: Layout, options: Options) -> tuple[np.ndarray, str]:
        """Of the components of tied channels, and what the report should tell of how they were found."""
        rough = selection.roughness(layout, self._survey(layout, options))
        sensed = self._sensitivity(layout, options)
        return selection.damage(rough, sensed), ", by the next layers alone" if sensed is None else ""

    def _survey(self, layout: Layout, options: Options, wanted: Iterable[int] | None = None):
        self.allowance.spend(self.supply.fit.count, SURVEYING)
        return selection.survey(layout, self.supply.fit.batches(self.batch), options.octave, wanted, self.settings.seed)

    def _searched(self, layout: Layout, plan: Plan, options: Options, target: float) -> tuple[Layout, Plan]:
        """Alphas for a share of the MACs."""
        with self.timed("search") as outcome:
            even = budget.with_alphas(layout, plan, (budget.EVEN,) * len(plan.groups))
            damages, how = self._damages(even, options)
            market = budget.Market(even, measure(even.graph)[0], damages, options.octave)
            choice = market.choose(target)
            layout = budget.with_alphas(even, plan_of(even, options), choice.alphas)
            plan = plan_of(layout, options)
            found = f"alphas {min(choice.alphas):g} to {max(choice.alphas):g} for {choice.cost:.1%} of the MACs"
            outcome.detail = found + how
        return layout, plan

    def _sensitivity(self, layout: Layout, options: Options) -> np.ndarray | None:
        """On as many samples as the time allows; None where that is too few."""
        count = min(SENSED, self.supply.fit.count, self.allowance.samples(SENSING_SHARE, SENSING))
        if count < LEAST_SENSED:
            return None
        self.allowance.spend(count, SENSING)
        samples, batch = self.supply.fit.subset(range(count)), refine.training_batch(self.costs.activation_bytes)
        tell = lambda done, total: self.tell("calibrate: sensitivity", done, total)  # noqa: E731
        return sensitivity(layout, samples, batch, self.expected.spreads, options.octave, self.settings.seed, tell)

    # ---- solve

    def solved(self, base: Candidate, plan: Plan, options: Options, build: Build) -> Candidate:
        target = self.settings.target_macs
        if self.settings.max_drop is not None:
            target = self._largest_saving(base, plan, options, build)
        layout, chosen = self.prepared(base.layout, base.plan, options, target)
        built = build(layout, chosen, replace(options, weights="slice"))
        candidate = self.candidate(built)
        if self.wants("solve"):
            with self.timed("solve") as outcome:
                fits = self._solve(candidate, options, build, self._fitted_samples())
                self.measure(candidate)
                outcome.kept = candidate.error < base.error or self.settings.searches
                outcome.detail = _told_fits(fits) if outcome.kept else self._no_better(base, candidate)
        if candidate.error < base.error or self.settings.searches:
            return candidate
        for step in self.steps:
            if step.name in ("rotate", "select"):
                self.steps[self.steps.index(step)] = replace(step, kept=False, detail=f"{step.detail}: no better")
        return base

    def _solve(self, candidate: Candidate, options: Options, build: Build, samples) -> list[Fit]:
        twins = Twins(candidate.layout, candidate.builder, candidate.model)
        folded = build(candidate.layout, candidate.plan, replace(options, weights="fold"))[2]
        prior = _matched(candidate.builder, folded)
        batch = max(1, min(self.batch, samples.count // LEAST_BATCHES))
        self.allowance.spend(samples.count, SOLVING)
        tell = lambda done, total: self.tell("calibrate: least squares", done, total)  # noqa: E731
        return Sweep(twins, samples, batch, self.settings.seed, (prior,), tell).run()

    def _fitted_samples(self):
        """All of them, or as many as the time allows."""
        count = max(self.allowance.samples(SHARE, SOLVING), 64 if not self.settings.synthetic else LEAST_SYNTHETIC)
        samples = self.supply.fit
        if count >= samples.count:
            return samples
        copies = samples.count // self.supply.count  # mirror images stand behind their originals, and go first
        return samples.subset(range(0, samples.count, copies)[:count])

    def _largest_saving(self, base: Candidate, plan: Plan, options: Options, build: Build) -> float:
        """The least share of the MACs at which no more than ``max_drop`` of the agreement is lost, by trial."""
        if not self.expected.classes:
            raise UsageError("max_drop is about classes, and the model's first output is none; give target_macs")
        steps, reached = list(self.steps), 1.0
        for target in DROP_TARGETS:
            try:
                layout, chosen = self.prepared(base.layout, base.plan, options, target)
            except budget.OutOfReach:
                break
            candidate = self.candidate(build(layout, chosen, replace(options, weights="slice")))
            few = self.supply.fit.subset(range(min(self.supply.fit.count, 512)))
            self._solve(candidate, options, build, few)
            self.measure(candidate)
            if 1 - self.expected.agreement(candidate.outputs) > (self.settings.max_drop or 0.0):
                break
            reached = target
        self.steps = steps
        if reached == 1.0:
            raise UsageError(
                f"max_drop {self.settings.max_drop:g}: already {DROP_TARGETS[0]:.0%} of the MACs lose more"
            )
        return reached

    # ---- renormalize, refine

    def renormalized(self, best: Candidate) -> Candidate:
        if not self.wants("renormalize"):
            return best
        with self.timed("renormalize") as outcome, self._or_back(best, outcome):
            twins = Twins(best.layout, best.builder, best.model)
            samples = self._fitted_samples()
            if any(step.name == "solve" and step.kept for step in self.steps):
                samples = samples.subset(range(min(samples.count, RENORMALIZED)))
            self.allowance.spend(samples.count, RENORMALIZING)
            outcome.detail = f"{renormalize(twins, samples, self.batch)} layers"
        return best

    def refined(self, best: Candidate) -> Candidate:
        if not self.wants("refine"):
            return best
        twins = Twins(best.layout, best.builder, best.model)
        seconds, sample = self.allowance.left, self.allowance.seconds_a_sample
        training = refine.planned(self.supply, seconds, sample, self.costs.activation_bytes)
        tell = lambda done, total: self.tell("calibrate: refine", done, total)  # noqa: E731
        with self.timed("refine") as outcome:
            if not training.steps:
                outcome.kept, outcome.detail = False, training.reason
                return best
            with self._or_back(best, outcome):
                limits = (best.error, max(self.overtime, seconds), self.settings.seed)
                steps = refine.refine(twins, self.supply, training, *limits, tell)
                cut = steps < training.steps
                of = f" of {training.steps:,}" if cut else ""
                outcome.detail = f"{steps:,}{of} steps of {plural(training.batch, 'sample')}"
                outcome.detail += ", then the time was over" if cut else ""
        return best

    @contextmanager
    def _or_back(self, best: Candidate, outcome: _Outcome) -> Iterator[None]:
        """What is done to the weights inside is taken back unless the error is lower."""
        weights, outputs, error = best.weights(), best.outputs, best.error
        done = False
        try:
            yield
            self.measure(best)
            done = best.error < error
        finally:
            if not done:
                outcome.kept = False
                outcome.detail = outcome.detail and f"{outcome.detail}: {_change(error, best.error)}, taken back"
                for variable, value in zip(best.model.weights, weights, strict=True):
                    variable.assign(value)
                best.outputs, best.error = outputs, error
            else:
                outcome.detail += f": {_change(error, best.error)}"

    def _no_better(self, base: Candidate, candidate: Candidate) -> str:
        return f"{_change(base.error, candidate.error)}, taken back"

    def report(self, before: Outputs, after: Outputs) -> CalibrationReport:
        return CalibrationReport(
            data=self.supply.told,
            synthetic=self.settings.synthetic,
            input_range=self.supply.input_range,
            samples=self.supply.count,
            held_out=self.supply.held_out.count,
            measures=measures(self.expected, before, after),
            steps=tuple(self.steps),
            seconds=time.monotonic() - self.started,
        )


@dataclass(eq=False)
class _Outcome:
    kept: bool = True
    detail: str = ""


def _change(before: float, after: float) -> str:
    return f"error {before:.3g} -> {after:.3g}"


def _told_fits(fits: list[Fit]) -> str:
    changed = {fit.name for fit in fits if fit.solution.changed}
    left = {fit.name for fit in fits} - changed
    return f"{len(changed)} layers" + (f", {len(left)} as they were" if left else "")


def _measured_seconds(layout: Layout, supply: Supply, batch: int, expected: float) -> float:
    """Of one run of the source for one sample, once its operations are warm.

    What takes more than ``expected`` is run again: something else may have held the machine.
    """
    few = supply.fit.subset(range(min(supply.fit.count, TIMED, batch)))
    Outputs.of(layout.graph, few, few.count)
    best = math.inf
    for _ in range(TRIES):
        started = time.perf_counter()
        Outputs.of(layout.graph, few, few.count)
        best = min(best, (time.perf_counter() - started) / few.count)
        if best <= expected:
            break
    return best


def _at_size(costs: Cost, sized: CallGraph, samples: Samples) -> Cost:
    """Of the samples there are, where the model leaves its sizes open and the costs are of some other size."""
    given = sum(math.prod(array.shape[1:]) for array in samples.arrays)
    assumed = sum(math.prod(size or 1 for size in sized.tensors[n].shape[1:]) for n in sized.inputs)
    scale = given / max(assumed, 1)
    return replace(
        costs,
        macs=int(scale * costs.macs),
        activation_bytes=int(scale * costs.activation_bytes),
        peak_activation_bytes=int(scale * costs.peak_activation_bytes),
    )


def _is_free(layout: Layout, group: rotation.LinearGroup) -> bool:
    """Whether no channels were selected by the user for the group's writers."""
    writers = {branch.writer.key for branch in group.branches}
    for (tied, _), chosen in zip(layout.groups, layout.selections, strict=True):
        if chosen is not None and any(producer.call.key in writers for producer in tied.producers):
            return False
    return True


def _matched(builder: Builder, other: Builder) -> dict[int, dict[str, np.ndarray]]:
    """Id of a layer -> the weights by name that the other builder gave the layer in its place."""
    others = {(item.call.key, item.part): item.layer for item in other.made}
    found = {}
    for item in builder.made:
        twin = others.get((item.call.key, item.part))
        if twin is not None:
            found[id(item.layer)] = {name: np.array(v) for name, v in weights_by_name(twin).items()}
    return found
