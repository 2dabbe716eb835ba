"""Step *search*: alphas for a share of the MACs, see `octconvert.calibration.alphas`."""

from __future__ import annotations

from dataclasses import replace

from octconvert.calibration.alphas import EVEN, AlphaSearch, with_alphas
from octconvert.calibration.attempt import CalibrationStep, Outcome
from octconvert.calibration.run import Run
from octconvert.calibration.state import State
from octconvert.calibration.steps.measuring import damages
from octconvert.costs.cost import measure


class Search(CalibrationStep):
    """Chooses an alpha for every tied group, at the least damage for the target."""

    name = "search"

    def is_due(self, run: Run, state: State) -> bool:
        return state.target is not None

    def apply(self, run: Run, state: State) -> Outcome:
        """
        Raises:
            OutOfReach: no alphas are low enough in MACs.
        """
        assert state.target is not None
        even = with_alphas(state.planned, (EVEN,) * len(state.planned.plan.groups))
        costs, how = damages(run, even, run.pace(self.name), least=1)
        search = AlphaSearch(even.layout, measure(even.graph)[0], costs, even.options.octave)
        choice = search.choose(state.target)
        detail = f"alphas {min(choice.alphas):g} to {max(choice.alphas):g} for {choice.cost:.1%} of the MACs"
        return Outcome(replace(state, planned=with_alphas(even, choice.alphas)), detail + how)
