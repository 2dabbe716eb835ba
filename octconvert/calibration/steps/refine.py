"""Step *refine*: a short training towards the source, see `octconvert.calibration.refinement`."""

from __future__ import annotations

import numpy as np

from octconvert.calibration import refinement
from octconvert.calibration.alignment import Alignment
from octconvert.calibration.attempt import Outcome, WeightStep
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.text.words import plural


class Refine(WeightStep):
    """Trains the whole model for what is left of the time."""

    name = "refine"

    def apply(self, run: Run, state: State) -> Outcome:
        pace, candidate = run.pace(self.name), state.candidate
        traced = refinement.TRACED * run.calls
        seconds, sample = run.budget.left - traced, run.budget.seconds_a_sample
        if pace.lacks(seconds + traced):
            seconds = max(pace.left - traced, 0.0)
        alignment = Alignment(candidate.rewritten)
        training = refinement.plan_training(run.supply, seconds, sample, run.costs.activation_bytes, run.uses)
        error = candidate.error if np.isfinite(candidate.error) else refinement.USUAL_ERROR  # it may not be measured
        if training.steps and run.settings.synthetic and run.settings.budget is None:
            training = training.shortened(error, len(refinement.inner_tensors(alignment)))
        if not training.steps:
            return Outcome(state, training.reason, kept=False)
        progress = run.stage("refine")
        trained = refinement.refine(alignment, run.supply, training, error, pace, run.settings.seed, progress)
        if trained.diverges:
            return Outcome(state, f"the loss grew at every learning rate, {plural(trained.steps, 'step')}", kept=False)
        cut = trained.steps < training.steps
        total = f" of {training.steps:,}" if cut else ""
        slower = ", at a lower rate as the loss grew" if trained.restarts else ""
        end = ", then the time was over" if cut else ""
        return Outcome(state, f"{trained.steps:,}{total} steps of {plural(training.batch, 'sample')}{slower}{end}")
