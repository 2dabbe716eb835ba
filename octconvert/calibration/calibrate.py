"""Keeps the accuracy of a trained model through its conversion: the steps in order, each held against what was before.

1. *rotate*: the basis of linear tensors (`rotation`); 2. *select*: which channels go low (`selection`), and with
``target_macs`` or ``max_drop`` how many in each group (`budget`); 3. *solve*: least squares layer by layer (`sweep`);
4. *renormalize*: BatchNormalization's statistics (`statistics`); 5. *refine*: a short training (`refine`).

The result is measured on held-out samples after each of 3, 4 and 5, and what does not come closer to the source's
outputs is taken back; the start is the better one of sliced and folded weights.

How many samples each of them gets is laid out so that all fit into the budget; each also ends by the clock, with what
it has by then (`effort`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from octconvert.calibration import refinement, rotation, selection
from octconvert.calibration.alignment import Alignment
from octconvert.calibration.alphas import EVEN, AlphaSearch, OutOfReach, with_alphas
from octconvert.calibration.data.doubts import doubt
from octconvert.calibration.data.supply import Generator, Supply, generator_of, given_supply
from octconvert.calibration.effort import FAR, Budget, OutOfTime, Pace, seconds_a_sample, told_seconds
from octconvert.calibration.evidence import ModelOutputs, errors_by_layer, measures
from octconvert.calibration.fitting.sweep import Fit, Sweep
from octconvert.calibration.renormalization import renormalize
from octconvert.calibration.sensitivity import sensitivity
from octconvert.costs.cost import measure
from octconvert.errors import InputError, OctconvertError, UsageError, first_line
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import Settings
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.results.plan import Plan
from octconvert.results.report import CalibrationReport, Cost, Step
from octconvert.rewriting import Rewritten, rewrite, weights_by_name
from octconvert.samples import Samples
from octconvert.system.progress import Progress
from octconvert.text.words import plural

BATCH_BYTES = 2**28
"""Activations of one batch at the most."""
MOST_BATCH, LEAST_BATCHES = 256, 8
SURVEYING, SOLVING, RENORMALIZING, EVALUATING = 2.0, 12.0, 2.0, 8.0
"""What a step takes for each sample, in runs of the source; evaluations of held-out samples all together."""
SENSED, LEAST_SENSED, SENSING, SENSING_SHARE = 256, 8, 8.0, 0.1
"""Samples for the sensitivity at the most and the least, what each takes as above, and its share of the time."""
RENORMALIZED = 256
"""Samples for statistics behind solved layers, whose means are right already: there is little to be had."""
TIMED, TIMED_SHARE = 64, 0.02
"""Samples that are run to measure the time they take, at the most, and their share of the time."""
TRIES = 5
"""Runs at the most for that."""
SHARE, SURVEY_SHARE, EVIDENCE_SHARE = 0.6, 0.2, 0.2
"""Of the time, for everything before the refinement; for one survey; for all evaluations."""
UNIT_SHARE = 0.05
"""Of the time, for one batch at the most: it is the least that can be left out."""
CLOCK_SHARES = {"samples": 0.25, "rotate": 0.15, "search": 0.25, "select": 0.25, "solve": 0.75, "renormalize": 0.3}
"""Of the time that the clock leaves, for each step at the most; the refinement takes the rest."""
LEAST_SYNTHETIC, MOST_SYNTHETIC, LEAST_HELD_OUT, SYNTHETIC_HELD_OUT = 8, 1024, 2, 64
LEAST_GIVEN, LEAST_SURVEYED = 64, 16
"""Samples that are laid out in any case, of the user's own and for a survey; the clock may end them."""
SHORT = "the time was over (--calibration-budget)"
DROP_SHARE = 0.5
"""Of the time that the clock leaves, for trying what ``max_drop`` allows."""
DROP_TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45)
"""Shares of the MACs that are tried for ``max_drop``."""


@dataclass(eq=False)
class Candidate:
    """A converted model and how far its outputs are from the source's, on held-out samples."""

    rewritten: Rewritten
    outputs: ModelOutputs
    error: float

    @property
    def planned(self) -> Planned:
        return self.rewritten.planned

    @property
    def model(self) -> Any:
        return self.rewritten.model

    def weights(self) -> list[np.ndarray]:
        return [np.array(weight) for weight in self.model.weights]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What came of a calibration.

    Attributes:
        rewritten: the converted model; its source may be a rotated copy.
        report: None where nothing could be done.
        errors: layer name -> error, see `octconvert.calibration.evidence.errors_by_layer`.
        notes: what the user should know.
    """

    rewritten: Rewritten
    report: CalibrationReport | None
    errors: dict[str, float]
    notes: tuple[str, ...] = ()


def calibrate(planned: Planned, settings: Settings, tell: Progress) -> Calibrated:
    """Convert and keep what can be kept.

    Raises:
        InputError, UsageError: the data can not be used, or a target is out of reach.
    """
    try:
        run = _Run.start(planned.layout, settings, tell)
        if run is None:
            note = "not calibrated: no samples can be made up for these inputs; give some with --calibrate"
            return _uncalibrated(planned, tell, note)
        if run.expected.unusable:
            note = f"not calibrated: {run.check_outputs()}; give samples with --calibrate"
            return _uncalibrated(planned, tell, note)
        plain = planned.with_options(portable=False)  # the same function, and the layers that can be fitted
        best = run.base(plain)
    except OutOfTime:
        note = f"not calibrated: the model takes too long for a budget of {settings.seconds:g} s (--calibration-budget)"
        return _uncalibrated(planned, tell, note)
    start = best.outputs
    best = run.solved(best, plain)
    best = run.renormalized(best)
    best = run.refined(best)
    best = run.trusted(best, plain)
    errors = run.errors(best)
    report = run.report(start, best.outputs)
    result = best.rewritten
    if planned.options.portable:
        portable = Planned(result.layout, replace(result.plan, portable=True), planned.options)
        result = rewrite(portable, tell, result.weights())
    return Calibrated(result, report, errors, run.notes)


def prepared_plan(planned: Planned, settings: Settings, tell: Progress) -> Plan:
    """The plan that `calibrate` follows: channels selected, alphas chosen."""
    try:
        run = _Run.start(planned.layout, settings, tell)
    except OutOfTime:
        raise UsageError(f"calibration_budget {settings.seconds:g}: the model takes too long to choose in it") from None
    if run is None:
        raise UsageError("no samples can be made up for these inputs; give some with --calibrate")
    if settings.max_drop is not None:
        raise UsageError("max_drop needs a conversion: it is measured on the converted model")
    return run.prepared(planned, settings.target_macs).plan


def _uncalibrated(planned: Planned, tell: Progress, note: str) -> Calibrated:
    return Calibrated(rewrite(planned, tell), None, {}, (note,))


@dataclass(eq=False)
class _Run:
    """One calibration while it works."""

    supply: Supply
    settings: Settings
    tell: Progress
    batch: int
    costs: Cost
    budget: Budget
    expected: ModelOutputs
    evaluation: float
    steps: list[Step] = field(default_factory=list)
    left: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @classmethod
    def start(cls, layout: Layout, settings: Settings, tell: Progress) -> _Run | None:
        """None where there are no samples.

        Raises:
            OutOfTime: the source itself is too slow.
        """
        budget, graph = Budget(settings.seconds, settings.clock), layout.graph
        tell("calibrate: samples", 0, 0)
        sized, costs = measure(graph)
        pace = budget.pace(CLOCK_SHARES["samples"])
        generator = generator_of(graph, settings, pace) if settings.synthetic else None
        if settings.synthetic and generator is None:
            return None
        given, trial = _trial(graph, settings, generator, costs, budget)
        costs = _at_size(costs, sized, trial)
        batch = int(np.clip(BATCH_BYTES // max(costs.peak_activation_bytes, 1), 1, MOST_BATCH))
        told = told_seconds(costs, len(graph.calls) / min(batch, trial.count))
        measured = _measured_seconds(layout, trial, batch, FAR * told, budget)
        budget.seconds_a_sample = seconds_a_sample(told, measured)
        batch = int(np.clip(UNIT_SHARE * budget.seconds / budget.seconds_a_sample, 1, batch))
        supply = given if generator is None else _synthetic(generator, settings, budget)
        assert supply is not None  # one of them there is
        evaluated = np.clip(budget.samples(EVIDENCE_SHARE, EVALUATING), LEAST_HELD_OUT, supply.held_out.count)
        if evaluated < supply.held_out.count:
            supply = replace(supply, held_out=supply.held_out.subset(range(int(evaluated))))
        budget.spend(supply.held_out.count, EVALUATING)
        began = budget.elapsed
        expected = ModelOutputs.of(graph, supply.held_out, batch, budget.pace())
        return cls(supply, settings, tell, batch, costs, budget, expected, budget.elapsed - began)

    def pace(self, step: str) -> Pace:
        """The time of a step by the clock; what follows it in any case is set aside."""
        return self.budget.pace(CLOCK_SHARES.get(step, 1.0), reserve=3 * self.evaluation)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.supply.notes, *self.left, *self.doubts)

    def wants(self, step: str) -> bool:
        return step in self.settings.steps

    @contextmanager
    def timed(self, name: str) -> Iterator[_Outcome]:
        """Adds the step to the report; an error of a library is told there and changes nothing."""
        outcome, started = _Outcome(), self.budget.elapsed
        self.tell(f"calibrate: {name}", 0, 0)
        try:
            yield outcome
        except OctconvertError:
            raise
        except OutOfTime:
            told = f"{outcome.detail}; " if outcome.detail else ""
            outcome.kept, outcome.detail = False, told + SHORT
        except Exception as error:  # TensorFlow raises many kinds: too little memory, odd shapes
            outcome.kept, outcome.detail = False, f"failed: {first_line(error)}"
        self.steps.append(Step(name, outcome.kept, outcome.detail, self.budget.elapsed - started))

    # ---- candidates

    def candidate(self, planned: Planned, weights: str) -> Candidate:
        return Candidate(rewrite(planned.with_options(weights=weights), self.tell), self.expected, np.inf)

    def measure(self, candidate: Candidate, in_any_case: bool = False) -> Candidate:
        """
        Raises:
            OutOfTime: it can not be measured in time.
        """
        graph, pace = build_graph(candidate.model), Pace() if in_any_case else self.budget.pace()
        if pace.left < self.evaluation:
            raise OutOfTime
        candidate.outputs = ModelOutputs.of(graph, self.supply.held_out, self.batch, pace)
        candidate.error = self.expected.error(candidate.outputs)
        return candidate

    def base(self, planned: Planned) -> Candidate:
        """The better one of sliced and folded weights, channels as planned."""
        self.tell("calibrate: start", 0, 0)
        found: list[Candidate] = []
        for way in ("slice", "fold"):
            try:
                found.append(self.measure(self.candidate(planned, way)))
            except OutOfTime:
                if not found:
                    raise
        return min(found, key=lambda candidate: candidate.error)

    # ---- rotate, select

    def prepared(self, planned: Planned, target: float | None) -> Planned:
        """With bases turned, channels selected and alphas chosen."""
        start = planned
        if self.wants("rotate") and planned.options.octave > 1:
            with self.timed("rotate") as outcome:
                outcome.kept = False
                planned, outcome.detail = self._rotated(planned)
                outcome.kept = planned is not start
        if target is not None:
            planned = self._searched(planned, target)
        if self.wants("select"):
            with self.timed("select") as outcome:
                plan, outcome.detail = self._selected(planned)
                planned = planned.following(plan)
        return planned

    def _rotated(self, planned: Planned) -> tuple[Planned, str]:
        layout = planned.layout
        groups = [group for group in rotation.linear_groups(layout) if _is_free(layout, group)]
        if not groups:
            return planned, "no tensor that only linear layers touch"
        wanted = rotation.measured_tensors(layout, groups)
        found, cut = self._survey(planned, self.pace("rotate"), wanted)
        count = sum(len(group.branches) for group in groups)
        return rotation.rotated(planned, groups, found), f"{len(groups)} groups of {count} convolutions{cut}"

    def _selected(self, planned: Planned) -> tuple[Plan, str]:
        plan = planned.plan
        damages, how = self._damages(planned, self.pace("select"))
        given = sum(group.selection is not None for group in plan.groups)
        chosen = selection.select(planned.layout, plan, damages)
        told = f"{len(plan.groups) - given} groups" + (f", {given} as planned" if given else "") + how
        return chosen, told

    def _damages(self, planned: Planned, pace: Pace, least: int = 0) -> tuple[np.ndarray, str]:
        """Of the components of tied channels, and what the report should tell of how they were found."""
        found, cut = self._survey(planned, pace.part(0.5), least=least)
        sensed, how = self._sensitivity(planned, pace)
        return selection.damage(selection.roughness(planned.layout, found), sensed), how + cut

    def _survey(self, planned: Planned, pace: Pace, wanted: Iterable[int] | None = None, least: int = 0):
        """Moments, and what the report should tell of where the time was short.

        Raises:
            OutOfTime: not even the ``least`` batches, or one, are done.
        """
        count = min(max(self.budget.samples(SURVEY_SHARE, SURVEYING), LEAST_SURVEYED), self.supply.fit.count)
        self.budget.spend(count, SURVEYING)
        batches = _Counted(pace.units(self.supply.fit.batches(self.batch, range(count)), least))
        found = selection.survey(planned.layout, batches, planned.options.octave, wanted, self.settings.seed)
        if not batches.samples:
            raise OutOfTime
        return found, batches.told(count) if pace.cut else ""

    def _searched(self, planned: Planned, target: float) -> Planned:
        """Alphas for a share of the MACs."""
        with self.timed("search") as outcome:
            even = with_alphas(planned, (EVEN,) * len(planned.plan.groups))
            damages, how = self._damages(even, self.pace("search"), least=1)
            search = AlphaSearch(even.layout, measure(even.graph)[0], damages, even.options.octave)
            choice = search.choose(target)
            planned = with_alphas(even, choice.alphas)
            found = f"alphas {min(choice.alphas):g} to {max(choice.alphas):g} for {choice.cost:.1%} of the MACs"
            outcome.detail = found + how
        return planned

    def _sensitivity(self, planned: Planned, pace: Pace) -> tuple[np.ndarray | None, str]:
        """On as many samples as the time allows; None where that is too few, with what the report should tell."""
        count = min(SENSED, self.supply.fit.count, self.budget.samples(SENSING_SHARE, SENSING))
        if count < LEAST_SENSED:
            return None, ", by the next layers alone"
        self.budget.spend(count, SENSING)
        samples = self.supply.fit.subset(range(count))
        batch = min(self.batch, refinement.training_batch(self.costs.activation_bytes))
        tell = lambda done, total: self.tell("calibrate: sensitivity", done, total)  # noqa: E731
        spreads, seed = self.expected.spreads, self.settings.seed
        found = sensitivity(planned.layout, samples, batch, spreads, planned.options.octave, seed, tell, pace)
        return found, ", by the next layers alone" if found is None else ""

    # ---- solve

    def solved(self, base: Candidate, plain: Planned) -> Candidate:
        start = base.planned.with_options(weights=plain.options.weights)
        target = self.settings.target_macs
        if self.settings.max_drop is not None:
            target = self._largest_saving(start)
        candidate = self.candidate(self.prepared(start, target), "slice")
        if not self.wants("solve"):
            with suppress(OutOfTime):
                self.measure(candidate)
        else:
            with self.timed("solve") as outcome:
                told = self._solve(candidate, self._fitted_samples(), self.pace("solve"))
                self.measure(candidate)
                outcome.kept = candidate.error < base.error or self.settings.searches
                outcome.detail = told if outcome.kept else f"{_change(base.error, candidate.error)}, taken back"
        if self.settings.searches and not np.isfinite(candidate.error):  # it is taken however far it is
            self.measure(candidate, in_any_case=True)
        if candidate.error < base.error or self.settings.searches:
            return candidate
        for step in self.steps:
            if step.name in ("rotate", "select") and step.kept:
                self.steps[self.steps.index(step)] = replace(step, kept=False, detail=f"{step.detail}: no better")
        return base

    def _solve(self, candidate: Candidate, samples: Samples, pace: Pace) -> str:
        """Fit the candidate's layers; what the report should tell."""
        if pace.left <= 0:
            raise OutOfTime
        alignment = Alignment(candidate.rewritten)
        folded = rewrite(candidate.planned.with_options(weights="fold"), self.tell)
        prior = _matched(candidate.rewritten, folded)
        batch = max(1, min(self.batch, samples.count // LEAST_BATCHES))
        self.budget.spend(samples.count, SOLVING)
        tell = lambda done, total: self.tell("calibrate: least squares", done, total)  # noqa: E731
        sweep = Sweep(alignment, samples, batch, self.settings.seed, (prior,), tell, pace)
        fits = sweep.run()
        self.left = sweep.left
        return _told_fits(fits) + _told_cut(sweep)

    def _fitted_samples(self):
        """All of them, or as many as the time allows."""
        least = LEAST_SYNTHETIC if self.settings.synthetic else LEAST_GIVEN
        count = max(self.budget.samples(SHARE, SOLVING), least)
        samples = self.supply.fit
        if count >= samples.count:
            return samples
        copies = samples.count // self.supply.count  # mirror images stand behind their originals, and go first
        return samples.subset(range(0, samples.count, copies)[:count])

    def _largest_saving(self, start: Planned) -> float:
        """The least share of the MACs at which no more than ``max_drop`` of the agreement is lost, by trial."""
        if not self.expected.classes:
            raise UsageError("max_drop is about classes, and the model's first output is none; give target_macs")
        steps, reached = list(self.steps), 1.0
        pace = self.budget.pace(DROP_SHARE, reserve=3 * self.evaluation)
        for target in pace.units(DROP_TARGETS, least=1):
            try:
                chosen = self.prepared(start, target)
            except OutOfReach:
                break
            candidate = self.candidate(chosen, "slice")
            few = self.supply.fit.subset(range(min(self.supply.fit.count, 512)))
            with suppress(OutOfTime):
                self._solve(candidate, few, pace.part(0.5))
            self.measure(candidate, in_any_case=True)
            if 1 - self.expected.agreement(candidate.outputs) > (self.settings.max_drop or 0.0):
                break
            reached = target
        self.steps = steps
        if reached == 1.0:
            raise UsageError(
                f"max_drop {self.settings.max_drop:g}: already {DROP_TARGETS[0]:.0%} of the MACs lose more"
            )
        if pace.cut:
            self.steps.append(Step("max_drop", True, f"tried down to {reached:.0%} of the MACs, then {SHORT}", 0.0))
        return reached

    # ---- renormalize, refine

    def renormalized(self, best: Candidate) -> Candidate:
        if not self.wants("renormalize"):
            return best
        with self.timed("renormalize") as outcome, self._or_back(best, outcome):
            pace = self.pace("renormalize")
            samples = self._fitted_samples()
            if any(step.name == "solve" and step.kept for step in self.steps):
                samples = samples.subset(range(min(samples.count, RENORMALIZED)))
            self.budget.spend(samples.count, RENORMALIZING)
            batches = _Counted(pace.units(samples.batches(self.batch)))
            layers = renormalize(Alignment(best.rewritten), batches)
            if not batches.samples:
                raise OutOfTime
            outcome.detail = f"{layers} layers" + (batches.told(samples.count) if pace.cut else "")
        return best

    def refined(self, best: Candidate) -> Candidate:
        if not self.wants("refine"):
            return best
        with self.timed("refine") as outcome:
            pace = self.pace("refine")
            seconds, sample = min(self.budget.left, max(pace.left, 0.0)), self.budget.seconds_a_sample
            training = refinement.planned(self.supply, seconds, sample, self.costs.activation_bytes)
            if not training.steps:
                outcome.kept, outcome.detail = False, training.reason
                return best
            tell = lambda done, total: self.tell("calibrate: refine", done, total)  # noqa: E731
            alignment = Alignment(best.rewritten)
            with self._or_back(best, outcome):
                steps = refinement.refine(alignment, self.supply, training, best.error, pace, self.settings.seed, tell)
                cut = steps < training.steps
                of = f" of {training.steps:,}" if cut else ""
                outcome.detail = f"{steps:,}{of} steps of {plural(training.batch, 'sample')}"
                outcome.detail += ", then the time was over" if cut else ""
        return best

    # ---- is it of use for other data

    def check_outputs(self) -> str:
        """What is wrong with the source's outputs, if any.

        Raises:
            InputError: they are not finite for data of the user.
        """
        of = f"{self.expected.unusable:,} of {plural(self.supply.held_out.count, 'held-out sample')}"
        told = f"the source's outputs are not finite for {of}"
        if self.settings.synthetic:
            return told
        raise InputError(f"{self.supply.told}: {told}")

    def trusted(self, best: Candidate, plain: Planned) -> Candidate:
        """Sliced weights in place of a calibration on doubtful data, where those do better on synthetic images."""
        reason = "" if self.settings.synthetic else doubt(plain.graph, self.supply, self.batch, self.budget.pace(0.5))
        if not reason:
            return best
        told = f"the data do not look like what the model was trained on ({reason})"
        self.doubts = (f"{told}: what is fitted to them and measured on them may not hold for others",)
        if not any(step.kept for step in self.steps):
            return best
        chosen = ("search", "rotate", "select") if self.settings.searches else ()
        sliced = self.candidate(best.planned if chosen else plain, "slice")
        before, after = self._synthetic_errors(plain.graph, (sliced, best))
        if after <= before:
            return best
        change = f"on synthetic images {_change(before, after)}"
        self.doubts = (f"{told}: the calibration made the model worse ({change}), and the sliced weights are kept",)
        undone = {step for step in self.steps if step.kept and step.name not in chosen}
        self.steps = [replace(s, kept=False, detail=f"{s.detail}; not kept") if s in undone else s for s in self.steps]
        return self.measure(sliced, in_any_case=True)

    def _synthetic_errors(self, graph: CallGraph, candidates: Iterable[Candidate]) -> list[float]:
        """All the same where no samples can be made up; whatever the time: it is little."""
        generator = generator_of(graph, replace(self.settings, preprocess=None))
        graphs = [build_graph(candidate.model) for candidate in candidates]
        if generator is None:
            return [0.0] * len(graphs)
        samples = generator.make(SYNTHETIC_HELD_OUT, self.settings.seed + 2)
        source, *others = (ModelOutputs.of(each, samples, self.batch) for each in (graph, *graphs))
        return [source.error(other) for other in others]

    def errors(self, best: Candidate) -> dict[str, float]:
        """Of the layers, on the held-out samples that there is time for."""
        self.tell("calibrate: errors of the layers", 0, 0)
        alignment, pace = Alignment(best.rewritten), self.budget.pace()
        return errors_by_layer(alignment, pace.units(self.supply.held_out.batches(self.batch)))

    @contextmanager
    def _or_back(self, best: Candidate, outcome: _Outcome) -> Iterator[None]:
        """What is done to the weights inside is taken back unless the error is lower."""
        weights, outputs, error = best.weights(), best.outputs, best.error
        best.error = np.inf
        try:
            yield
            self.measure(best)
        finally:
            if best.error < error:
                outcome.detail += f": {_change(error, best.error)}"
            else:
                outcome.kept = False
                told = _change(error, best.error) if np.isfinite(best.error) else "not measured"
                outcome.detail = outcome.detail and f"{outcome.detail}: {told}, taken back"
                for variable, value in zip(best.model.weights, weights, strict=True):
                    variable.assign(value)
                best.outputs, best.error = outputs, error

    def report(self, before: ModelOutputs, after: ModelOutputs) -> CalibrationReport:
        return CalibrationReport(
            data=self.supply.told,
            synthetic=self.settings.synthetic,
            input_range=self.supply.input_range,
            samples=self.supply.count,
            held_out=self.supply.held_out.count,
            measures=measures(self.expected, before, after),
            steps=tuple(self.steps),
            seconds=self.budget.elapsed,
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


class _Counted:
    """Batches that count the samples they hand out."""

    def __init__(self, batches: Iterable[list[np.ndarray]]):
        self._batches, self.samples = batches, 0

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        for batch in self._batches:
            self.samples += len(batch[0])
            yield batch

    def told(self, total: int) -> str:
        """Where they were cut off."""
        return f", on {self.samples:,} of {plural(total, 'sample')}, then the time was over"


def _told_cut(sweep: Sweep) -> str:
    """What was left out for the time."""
    if not sweep.pace.cut and not sweep.unsolved:
        return ""
    used = min(sweep.batches * sweep.batch_size, sweep.samples.count)
    some = f", {sweep.unsolved} left out" if sweep.unsolved else ""
    return f"{some}, on {used:,} of {plural(sweep.samples.count, 'sample')}: the time was short"


def _trial(
    graph: CallGraph, settings: Settings, generator: Generator | None, costs: Cost, budget: Budget
) -> tuple[Supply | None, Samples]:
    """The user's own samples, all that can be of use, and samples that are timed."""
    told = told_seconds(costs, 0.0)
    if generator is not None:
        return None, generator.noise(int(np.clip(TIMED_SHARE * budget.seconds / told, 1, TIMED)))
    given = given_supply(graph, settings, int(budget.seconds / told), budget.pace(CLOCK_SHARES["samples"]))
    return given, given.fit


def _synthetic(generator: Generator, settings: Settings, budget: Budget) -> Supply:
    """As many samples as the budget allows; made so that the time for each counts with what is done with it."""
    held_out = budget.samples(EVIDENCE_SHARE, EVALUATING, generator.seconds)
    held_out = int(np.clip(held_out, LEAST_HELD_OUT, SYNTHETIC_HELD_OUT))
    wanted = budget.samples(SHARE, SOLVING, generator.seconds)
    count = int(np.clip(wanted // 8 * 8, LEAST_SYNTHETIC, min(MOST_SYNTHETIC, settings.samples)))
    supply = generator.supply(count, held_out, settings.seed, budget.pace(CLOCK_SHARES["samples"]))
    budget.spend_seconds((supply.count + supply.held_out.count) * generator.seconds)
    return supply


def _measured_seconds(layout: Layout, samples: Samples, batch: int, expected: float, budget: Budget) -> float:
    """Of one run of the source for one sample, once its operations are warm.

    Begins with one sample and goes on to as many as a batch of the model may take. What takes more than ``expected`` is
    run again: something else may have held the machine.
    """

    def seconds(count: int) -> float:
        if budget.pace().left <= 0:
            raise OutOfTime
        few, started = samples.subset(range(count)), budget.elapsed
        ModelOutputs.of(layout.graph, few, count)
        return budget.elapsed - started

    most, allowed = min(samples.count, TIMED, batch), UNIT_SHARE * budget.seconds
    count, took = 1, seconds(1)
    if took <= budget.seconds / 2:  # else the warm one may not fit, nor change anything
        took = seconds(1)
    while count < most and 2 * took <= allowed:
        count = min(2 * count, most)
        took = seconds(count)
    best = took / count
    for _ in budget.pace(UNIT_SHARE).units(range(TRIES)):
        if best <= expected:
            break
        best = min(best, seconds(count) / count)
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


def _matched(rewritten: Rewritten, other: Rewritten) -> dict[int, dict[str, np.ndarray]]:
    """Id of a layer -> the weights by name of the layer in its place in the other model."""
    others = {(item.call.key, item.part): item.layer for item in other.layers}
    found = {}
    for item in rewritten.layers:
        twin = others.get((item.call.key, item.part))
        if twin is not None:
            found[id(item.layer)] = {name: np.array(v) for name, v in weights_by_name(twin).items()}
    return found
