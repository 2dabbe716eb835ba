"""Step *search*: alphas for a share of the MACs or of the time, see `octconvert.calibration.alphas`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from octconvert.calibration import selection
from octconvert.calibration.alphas import EVEN, AlphaSearch, OutOfReach, with_alphas
from octconvert.calibration.attempt import CalibrationStep, Outcome
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.calibration.proposals import Proposal, proposals
from octconvert.calibration.run import SOLVING, Run
from octconvert.calibration.state import Candidate, Damages, State
from octconvert.calibration.steps.measuring import damages
from octconvert.calibration.steps.solve import fit_layers
from octconvert.calibration.target_costs import MacCosts, Timing
from octconvert.costs.cost import measure
from octconvert.errors import CheckError
from octconvert.planning.planned import Planned

MOST_CHOICES, MOST_TIMED = 10, 5
"""For a share of the time; not all of them differ, and those that do are timed."""
CLOSE, TOO_SLOW = 0.02, 0.05
"""How near to the target is near enough, and how far above it too far, as shares of the source's time."""
TRIAL_SHARE, LEAST_TRIED, MOST_TRIED = 0.15, 64, 512
"""Share of the time for all trials; samples that each is fitted to at least and at most."""


class Search(CalibrationStep):
    """Chooses an alpha for every tied group: of several proposals the one that a trial shows to be the best."""

    name, is_essential = "search", True

    def is_due(self, run: Run, state: State) -> bool:
        return state.target is not None

    def apply(self, run: Run, state: State) -> Outcome:
        """
        Raises:
            OutOfReach: no alphas cost as little.
        """
        assert state.target is not None
        even = with_alphas(state.planned, (EVEN,) * len(state.planned.plan.groups))
        pace, measured, how = run.pace(self.name), state.damages, ""
        if measured is None:
            values, how = damages(run, even, pace.part(0.5), least=1)
            measured = Damages(even.layout, values)
        if run.timing is not None:
            best, share, unit = timed_way(run, run.timing, even, measured, state.target, pace)
        else:
            costs = MacCosts(even.layout, measure(even.graph)[0], even.options.octave)
            search = AlphaSearch(even.layout, costs, measured.of(even.layout))
            ways = proposals(search, even.layout, state.target)
            best = ways[0] if run.settings.max_drop is not None else nearest(run, even, measured, ways, pace)
            share, unit = search.cost(np.array(best.alphas)), "the MACs"
        detail = f"{best.name}, {min(best.alphas):g} to {max(best.alphas):g}, for {share:.1%} of {unit}"
        return Outcome(replace(state, planned=with_alphas(even, best.alphas), damages=measured), detail + how)


def timed_way(
    run: Run, timing: Timing, even: Planned, damages: Damages, target: float, pace: Pace
) -> tuple[Proposal, float, str]:
    """A proposal whose whole model takes the share of the source's time; that share, and the unit in words.

    The times of parts do not add up exactly: the whole model is timed, and the estimates are corrected by it. Where
    that is not enough, another share is asked for.

    Raises:
        OutOfReach: nothing is fast enough.
        CheckError: the source, or all that was chosen, can not be run.
    """
    tried, asked, failure = dict[tuple[float, ...], tuple[float, Proposal]](), target, None
    for number in range(MOST_CHOICES):
        costs = timing.costs()
        search = AlphaSearch(even.layout, costs, damages.of(even.layout))
        try:
            ways = proposals(search, even.layout, asked)
        except OutOfReach:
            if not tried:
                raise
            break
        best = nearest(run, even, damages, ways, pace.part(1 / (MOST_CHOICES - number)))
        is_new = best.alphas not in tried
        if is_new:
            try:
                share = timing.measured(with_alphas(even, best.alphas), np.array(best.alphas))
            except CheckError as error:  # the runtime can not run it: another one may do
                share, failure = np.inf, error
            tried[best.alphas] = share, best
        share = tried[best.alphas][0]
        if abs(share - target) <= CLOSE or len(tried) == MOST_TIMED:
            break
        if share == np.inf:
            asked -= CLOSE
        elif is_new:  # what the estimates are still wrong by, near to this choice
            asked = target - share + timing.costs().share(np.array(best.alphas))
        else:
            asked += target - share
    quick = [each for each in tried.values() if each[0] <= target + TOO_SLOW]
    if not quick:
        least = min(share for share, _ in tried.values())
        if failure is not None and least == np.inf:
            raise failure
        raise OutOfReach(f"{costs.option} {target:g} is out of reach: {least:.2f} of {costs.unit} was measured")
    share, best = min(quick, key=lambda each: abs(each[0] - target))
    return best, share, f"{costs.unit}, measured"


def nearest(run: Run, even: Planned, damages: Damages, ways: Sequence[Proposal], pace: Pace) -> Proposal:
    """The proposal whose model, fitted to a few samples, is nearest to the source; the first where there is no time."""
    count = min(run.budget.samples(TRIAL_SHARE / len(ways), SOLVING), MOST_TRIED, run.supply.fit.count)
    if len(ways) == 1 or count < LEAST_TRIED:
        return ways[0]
    distances = []
    for number, way in enumerate(ways):
        try:
            candidate = _trial(run, even, damages, way, count, pace.part(1 / (len(ways) - number)))
        except OutOfTime:
            break
        assert candidate.outputs is not None  # it is measured
        distances.append(run.expected.distance(candidate.outputs))
    return ways[int(np.argmin(distances))] if len(distances) == len(ways) else ways[0]


def _trial(run: Run, even: Planned, damages: Damages, way: Proposal, count: int, pace: Pace) -> Candidate:
    """The proposal's model, its channels selected, fitted and measured."""
    planned = with_alphas(even, way.alphas)
    own = damages.of(planned.layout)
    candidate = run.candidate(planned.following(selection.select(planned.layout, planned.plan, own)), "slice")
    fit_layers(run, candidate, run.supply.fit.subset(range(count)), pace)
    return run.measured(candidate)
