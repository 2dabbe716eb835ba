"""Step *rotate*: another basis for the channels of linear tensors, see `octconvert.calibration.rotation`."""

from __future__ import annotations

from dataclasses import replace

from octconvert.calibration import rotation
from octconvert.calibration.attempt import CalibrationStep, Outcome
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.calibration.steps.measuring import survey
from octconvert.planning.layout import Layout


class Rotate(CalibrationStep):
    """Replaces the source by a rotated copy that computes the same function."""

    name = "rotate"

    def is_due(self, run: Run, state: State) -> bool:
        return super().is_due(run, state) and state.planned.octave != 1

    def apply(self, run: Run, state: State) -> Outcome:
        planned, layout = state.planned, state.planned.layout
        groups = [group for group in rotation.linear_groups(layout) if _is_free(layout, group)]
        if not groups:
            return Outcome(state, "no tensor that only linear layers touch", kept=False)
        tensors = rotation.measured_tensors(layout, groups)
        moments, cut = survey(run, planned, run.pace(self.name), tensors)
        count = sum(len(group.branches) for group in groups)
        rotated = rotation.rotated(planned, groups, moments)
        return Outcome(replace(state, planned=rotated), f"{len(groups)} groups of {count} convolutions{cut}")


def _is_free(layout: Layout, group: rotation.LinearGroup) -> bool:
    """Whether the user has selected no channels for the group's writers."""
    writers = {branch.writer.key for branch in group.branches}
    for (tied, _), choice in zip(layout.groups, layout.choices, strict=True):
        if choice.selection is not None and any(producer.call.key in writers for producer in tied.producers):
            return False
    return True
