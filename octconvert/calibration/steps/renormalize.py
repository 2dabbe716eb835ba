"""Step *renormalize*: statistics of BatchNormalization, see `octconvert.calibration.renormalization`."""

from __future__ import annotations

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.attempt import Outcome, WeightStep
from octconvert.calibration.data.batches import CountedBatches
from octconvert.calibration.effort import OutOfTime
from octconvert.calibration.renormalization import renormalize
from octconvert.calibration.run import Run
from octconvert.calibration.state import State

RENORMALIZING = 2.0
"""Time for each sample, in runs of the source."""


class Renormalize(WeightStep):
    """Moves running means and variances by as much as the inputs have changed."""

    name = "renormalize"

    def is_due(self, run: Run, state: State) -> bool:
        """Not behind layers that are solved: their means are right already."""
        return super().is_due(run, state) and not state.is_kept("solve")

    def apply(self, run: Run, state: State) -> Outcome:
        pace = run.pace(self.name)
        samples = run.samples_to_fit()
        run.budget.spend(samples.count, RENORMALIZING)
        batches = CountedBatches(pace.units(samples.batches(run.batch)))
        layers = renormalize(Alignment(state.candidate.rewritten), batches)
        if not batches.samples:
            raise OutOfTime
        if not layers:
            return Outcome(state, "no BatchNormalization whose statistics could move", kept=False)
        return Outcome(state, f"{layers} layers" + (batches.cut_off(samples.count) if pace.cut else ""))
