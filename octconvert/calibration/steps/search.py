"""Step *search*: alphas for a share of the MACs, see `octconvert.calibration.alphas`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from octconvert.calibration import selection
from octconvert.calibration.alphas import EVEN, AlphaSearch, with_alphas
from octconvert.calibration.attempt import CalibrationStep, Outcome
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.calibration.proposals import Proposal, proposals
from octconvert.calibration.run import SOLVING, Run
from octconvert.calibration.state import Candidate, State
from octconvert.calibration.steps.measuring import damages
from octconvert.calibration.steps.solve import fit_layers
from octconvert.costs.cost import measure
from octconvert.planning.planned import Planned

TRIAL_SHARE, LEAST_TRIED, MOST_TRIED = 0.15, 64, 512
"""Share of the time for all trials; samples that each is fitted to at least and at most."""


class Search(CalibrationStep):
    """Chooses an alpha for every tied group: of several proposals the one that a trial shows to be the best."""

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
        pace = run.pace(self.name)
        costs, how = damages(run, even, pace.part(0.5), least=1)
        search = AlphaSearch(even.layout, measure(even.graph)[0], costs, even.options.octave)
        ways = proposals(search, even.layout, state.target)
        best = ways[0] if run.settings.max_drop is not None else _best(run, even, costs, ways, pace)
        alphas = np.array(best.alphas)
        detail = f"{best.name}, {alphas.min():g} to {alphas.max():g}, for {search.cost(alphas):.1%} of the MACs"
        return Outcome(replace(state, planned=with_alphas(even, best.alphas)), detail + how)


def _best(run: Run, even: Planned, costs: np.ndarray, ways: Sequence[Proposal], pace: Pace) -> Proposal:
    """The proposal whose model, fitted to a few samples, is nearest to the source; the first where there is no time."""
    count = min(run.budget.samples(TRIAL_SHARE / len(ways), SOLVING), MOST_TRIED, run.supply.fit.count)
    if len(ways) == 1 or count < LEAST_TRIED:
        return ways[0]
    distances = []
    for number, way in enumerate(ways):
        try:
            candidate = _trial(run, even, costs, way, count, pace.part(1 / (len(ways) - number)))
        except OutOfTime:
            break
        assert candidate.outputs is not None  # it is measured
        distances.append(run.expected.distance(candidate.outputs))
    return ways[int(np.argmin(distances))] if len(distances) == len(ways) else ways[0]


def _trial(run: Run, even: Planned, costs: np.ndarray, way: Proposal, count: int, pace: Pace) -> Candidate:
    """The proposal's model, its channels selected, fitted and measured."""
    planned = with_alphas(even, way.alphas)
    own = selection.transferred(costs, even.layout, planned.layout)
    candidate = run.candidate(planned.following(selection.select(planned.layout, planned.plan, own)), "slice")
    fit_layers(run, candidate, run.supply.fit.subset(range(count)), pace)
    return run.measured(candidate)
