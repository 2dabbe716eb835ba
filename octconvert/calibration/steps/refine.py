"""Step *refine*: a short training towards the source, see `octconvert.calibration.refinement`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octconvert.calibration import refinement
from octconvert.calibration.alignment import Alignment
from octconvert.calibration.attempt import Outcome, WeightStep
from octconvert.calibration.effort import Pace
from octconvert.calibration.refinement import Training
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.text.words import plural


class Refine(WeightStep):
    """Trains the whole model in stages, for as long as that pays."""

    name = "refine"

    def apply(self, run: Run, state: State) -> Outcome:
        pace = run.pace(self.name)
        seconds, sample = run.budget.left, run.budget.seconds_a_sample
        if pace.lacks(seconds):
            seconds = max(pace.left, 0.0)
        plan = refinement.plan_training(run.supply, seconds, sample, run.costs.activation_bytes, run.uses)
        if not plan.steps:
            return Outcome(state, plan.reason, kept=False)
        alignment = Alignment(state.candidate.rewritten)
        training = refinement.training_of(alignment, run.supply, plan, pace, run.settings.seed)
        return _Stages(run, training, plan.batch, pace, tuple(refinement.stages(plan.steps))).next(state)


@dataclass(frozen=True, eq=False)
class _Stages:
    """The stages that are left of a training, by their lengths."""

    run: Run
    training: Training
    batch: int
    pace: Pace
    lengths: tuple[int, ...]

    def next(self, state: State) -> Outcome:
        length, *others = self.lengths
        error = state.candidate.error
        rate = refinement.peak_rate(error if np.isfinite(error) else refinement.USUAL_ERROR)  # it may not be measured
        steps = self.training.run(length, rate, self.pace, self.run.stage("refine"))
        cut = steps < length
        total = f" of {length:,}" if cut else ""
        end = ", then the time was over" if cut else ""
        following = _Stages(self.run, self.training, self.batch, self.pace, tuple(others))
        more = following.next if others and not cut else None
        return Outcome(state, f"{steps:,}{total} steps of {plural(self.batch, 'sample')}{end}", more=more)
