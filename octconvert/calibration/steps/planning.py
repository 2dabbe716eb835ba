"""The steps that choose what is built, in their order."""

from __future__ import annotations

from octconvert.calibration.attempt import attempt
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.calibration.steps.rotate import Rotate
from octconvert.calibration.steps.search import Search
from octconvert.calibration.steps.select import Select

PLANNING_STEPS = (Rotate(), Search(), Select())


def chosen(run: Run, state: State) -> State:
    """The state with bases rotated, alphas chosen where there is a target, and channels selected.

    Raises:
        OutOfReach: no alphas are low enough in MACs.
    """
    for step in PLANNING_STEPS:
        state = attempt(step, run, state)
    return state
