"""Step *select*: the channels of each group that become low, see `octconvert.calibration.selection`."""

from __future__ import annotations

from dataclasses import replace

from octconvert.calibration import selection
from octconvert.calibration.attempt import CalibrationStep, Outcome
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.calibration.steps.measuring import damages


class Select(CalibrationStep):
    """Selects the channels whose loss of detail does the least damage; as many as planned."""

    name = "select"

    def apply(self, run: Run, state: State) -> Outcome:
        planned, groups = state.planned, state.planned.plan.groups
        chosen = sum(map(selection.is_open, groups))
        if not chosen:
            return Outcome(state, "no group has channels to choose", kept=False)
        if state.damages is None:
            damage, how = damages(run, planned, run.pace(self.name))
        else:  # the search for alphas has measured them
            damage, how = state.damages.of(planned.layout), ""
        fixed = sum(group.selection is not None for group in groups)
        plan = selection.select(planned.layout, planned.plan, damage)
        detail = f"{chosen} groups" + (f", {fixed} as planned" if fixed else "") + how
        return Outcome(replace(state, planned=planned.following(plan)), detail)
