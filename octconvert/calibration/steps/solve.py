"""Step *solve*: least squares layer by layer, see `octconvert.calibration.fitting`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.attempt import Outcome, WeightStep, change_of_error
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.calibration.fitting.sweep import FitResult, Sweep
from octconvert.calibration.run import Run
from octconvert.calibration.state import Candidate, State
from octconvert.rewriting import rewrite, weights_by_name
from octconvert.samples import Samples
from octconvert.text.words import plural

LEAST_BATCHES, ROUGH_BATCHES = 4, 2
"""Batches that the samples are divided into at least; the same of a rough fit. Each takes time of its own."""


class Solve(WeightStep):
    """Fits the layers of a model that was built from the chosen plan."""

    name = "solve"
    restores = False  # where the model is no better, `accepted` takes the base in its place

    def apply(self, run: Run, state: State) -> Outcome:
        sweep = _sweep(run, state.candidate, run.samples_to_fit(), run.pace(self.name))
        refined = f", then up to {run.budget.left:.0f} s of refine" if "refine" in run.settings.steps else ""
        run.notice(f"least squares: about {sweep.seconds:.0f} s{refined}")
        detail = _fitted(sweep)
        return Outcome(replace(state, unfitted=sweep.unfitted), detail)

    def judge(self, run: Run, before: State, outcome: Outcome, measured: Candidate) -> Outcome:
        """It has to be better than the base, unless alphas were chosen: the base has others."""
        assert before.base is not None
        kept = measured.error < before.base.error or run.settings.searches
        change = f"no nearer to the source: {change_of_error(before.base.error, measured.error)}, undone"
        return Outcome(replace(outcome.state, current=measured), outcome.detail if kept else change, kept)


def fit_layers(run: Run, candidate: Candidate, samples: Samples, pace: Pace) -> None:
    """Fit the candidate's layers in place.

    Raises:
        OutOfTime: there is no time for it.
    """
    _fitted(_sweep(run, candidate, samples, pace))


def fit_roughly(run: Run, candidate: Candidate, samples: Samples, pace: Pace) -> None:
    """The same sooner, for a comparison with other candidates: in few batches, without folded weights as a prior.

    Raises:
        OutOfTime: there is no time for it.
    """
    _fitted(_sweep(run, candidate, samples, pace, rough=True))


def _sweep(run: Run, candidate: Candidate, samples: Samples, pace: Pace, rough: bool = False) -> Sweep:
    """Of the candidate's layers; its time is set aside."""
    if pace.lacks():
        raise OutOfTime
    priors = () if rough else (_folded(run, candidate),)
    batch = max(1, min(run.batch, samples.count // (ROUGH_BATCHES if rough else LEAST_BATCHES)))
    alignment, progress = Alignment(candidate.rewritten), run.stage("least squares")
    sweep = Sweep(alignment, samples, batch, run.settings.seed, priors, progress, pace)
    run.budget.spend_seconds(sweep.seconds)
    return sweep


def _fitted(sweep: Sweep) -> str:
    """What the report says of the sweep, which is run."""
    return _summary(sweep.run()) + _cut_off(sweep)


def accepted(run: Run, state: State) -> State:
    """The fitted model, or the base where that is nearer to the source; with chosen alphas the former in any case."""
    assert state.base is not None
    candidate = state.candidate
    if Solve.name not in run.settings.steps:
        with suppress(OutOfTime):
            candidate = run.measured(candidate)
    if run.settings.searches and not np.isfinite(candidate.error):
        candidate = run.measured(candidate, in_any_case=True)
    if candidate.error < state.base.error or run.settings.searches:
        return replace(state, current=candidate)
    return replace(state, current=state.base).with_undone(
        ("rotate", "select"), ": undone, the model is no nearer to the source"
    )


def _folded(run: Run, candidate: Candidate) -> dict[int, dict[str, np.ndarray]]:
    """Id of a layer -> its weights by name in a conversion with 'fold' weights."""
    folded = rewrite(candidate.planned.with_options(weights="fold"), run.progress)
    others = {(item.call.key, item.part): item.layer for item in folded.layers}
    matched = {}
    for item in candidate.rewritten.layers:
        same = others.get((item.call.key, item.part))
        if same is not None:
            matched[id(item.layer)] = {name: np.array(value) for name, value in weights_by_name(same).items()}
    return matched


def _summary(results: list[FitResult]) -> str:
    changed = {result.name for result in results if result.solution.changed}
    unchanged = {result.name for result in results} - changed
    left = f", {len(unchanged)} as {'it was' if len(unchanged) == 1 else 'they were'}" if unchanged else ""
    return plural(len(changed), "layer") + left


def _cut_off(sweep: Sweep) -> str:
    """What was left out for lack of time."""
    if not sweep.pace.cut and not sweep.unsolved:
        return ""
    used = min(sweep.batches * sweep.batch_size, sweep.samples.count)
    some = f", {sweep.unsolved} left out" if sweep.unsolved else ""
    return f"{some}, on {used:,} of {plural(sweep.samples.count, 'sample')}: the time was short"
