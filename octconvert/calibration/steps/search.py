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
from octconvert.calibration.steps.solve import fit_roughly
from octconvert.calibration.target_costs import MacCosts, Timing
from octconvert.costs.cost import measure
from octconvert.errors import CheckError
from octconvert.planning.planned import Planned

MOST_CHOICES, MOST_TIMED = 10, 5
"""For a share of the time; not all of them differ, and those that do are timed."""
CLOSE, TOO_SLOW = 0.02, 0.05
"""How near to the target is near enough, and how far above it too far, as shares of the source's time."""
DAMAGES = 0.7
"""Share of the time by the clock for measuring what each channel's loss of detail does."""
TRIAL_SHARE, LEAST_TRIED, MOST_TRIED = 0.15, 64, 128
"""Share of the time that counts their samples, fewer than what they take; those of each at least and at most."""
LAID_OUT_TRIALS = 0.25
"""Share of the time for all trials; proposals for which it is too short, the last ones, are left out."""


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
            values, how = damages(run, even, pace.part(DAMAGES), least=1)
            measured = Damages(even.layout, values)
        if run.timing is not None:
            best, share, unit = timed_way(run, run.timing, even, measured, state.target, pace)
        else:
            costs = MacCosts(even.layout, measure(even.graph)[0], even.octave)
            search = AlphaSearch(even.layout, costs, measured.of(even.layout))
            ways = proposals(search, even.layout, state.target)
            best = ways[0] if run.settings.max_drop is not None else nearest(run, even, measured, ways, pace)
            share, unit = search.cost(np.array(best.alphas)), "the MACs"
        detail = f"{best.name}, {min(best.alphas):g} to {max(best.alphas):g}, for {share:.1%} of {unit}"
        return Outcome(replace(state, planned=with_alphas(even, best.alphas), damages=measured), detail + how)


class TimedChoices:
    """Choices whose whole models were timed.

    Args:
        timing: of conversions.
        even: by alphas of one half.

    Attributes:
        timed: alphas -> share of the source's time, and the proposal; infinite where the runtime can not run the model.
    """

    def __init__(self, timing: Timing, even: Planned):
        self.timed: dict[tuple[float, ...], tuple[float, Proposal]] = {}
        self._timing, self._even = timing, even
        self._failure: CheckError | None = None

    def add(self, way: Proposal) -> float:
        """Time it, if it is a new one; its share."""
        if way.alphas not in self.timed:
            try:
                share = self._timing.measured(with_alphas(self._even, way.alphas), np.array(way.alphas))
            except CheckError as error:  # another choice may run
                share, self._failure = np.inf, error
            self.timed[way.alphas] = share, way
        return self.timed[way.alphas][0]

    def nearest(self, target: float) -> tuple[float, Proposal]:
        """The one nearest to ``target`` of those that are fast enough, behind its share.

        Raises:
            OutOfReach: nothing is fast enough.
            CheckError: nothing that was chosen can be run.
        """
        quick = [each for each in self.timed.values() if each[0] <= target + TOO_SLOW]
        if quick:
            return min(quick, key=lambda each: abs(each[0] - target))
        least, costs = min(share for share, _ in self.timed.values()), self._timing.costs()
        if self._failure is not None and least == np.inf:
            raise self._failure
        raise OutOfReach(f"{costs.option} {target:g} is out of reach: {least:.2f} of {costs.unit} was measured")


def timed_way(
    run: Run, timing: Timing, even: Planned, damages: Damages, target: float, pace: Pace
) -> tuple[Proposal, float, str]:
    """A proposal whose whole model takes the share of the source's time; that share, and the unit in words.

    The times of parts do not add up exactly: the whole model is timed, and the estimates are corrected by it. Where
    that is not enough, another share is asked for. What is out of reach by the estimates alone is timed as well.

    Raises:
        OutOfReach: nothing is fast enough.
        CheckError: the source, or all that was chosen, can not be run.
    """
    choices, asked = TimedChoices(timing, even), target
    for number in range(MOST_CHOICES):
        search = AlphaSearch(even.layout, timing.costs(), damages.of(even.layout))
        try:
            ways = proposals(search, even.layout, asked)
        except OutOfReach:
            ways = (Proposal("the fastest", tuple(search.cheapest.tolist())),)
            if ways[0].alphas in choices.timed:
                break
        best = nearest(run, even, damages, ways, pace.part(1 / (MOST_CHOICES - number)))
        is_new = best.alphas not in choices.timed
        share = choices.add(best)
        if abs(share - target) <= CLOSE or len(choices.timed) == MOST_TIMED:
            break
        if share == np.inf:
            asked -= CLOSE
        elif is_new:  # what the estimates are still wrong by, near to this choice
            asked = target - share + timing.costs().share(np.array(best.alphas))
        else:
            asked += target - share
    share, best = choices.nearest(target)
    return best, share, f"{timing.costs().unit}, measured"


def nearest(run: Run, even: Planned, damages: Damages, ways: Sequence[Proposal], pace: Pace) -> Proposal:
    """The proposal whose model, fitted to a few samples, is nearest to the source; the first where there is no time.

    They are tried in order, as many as a share of what is laid out pays for: the calibration needs the rest.
    """
    count = min(run.budget.samples(TRIAL_SHARE / len(ways), SOLVING), MOST_TRIED, run.supply.fit.count)
    if len(ways) == 1 or count < LEAST_TRIED:
        return ways[0]
    distances, least, dearest = list[float](), (1 - LAID_OUT_TRIALS) * run.budget.left, 0.0
    for number, way in enumerate(ways):
        before = run.budget.left
        if before - dearest < least:
            break
        try:
            candidate = _trial(run, even, damages, way, count, pace.part(1 / (len(ways) - number)))
        except OutOfTime:
            return ways[0]
        assert candidate.outputs is not None  # it is measured
        distances.append(run.expected.distance(candidate.outputs))
        dearest = max(dearest, before - run.budget.left)
    return ways[int(np.argmin(distances))]


def _trial(run: Run, even: Planned, damages: Damages, way: Proposal, count: int, pace: Pace) -> Candidate:
    """The proposal's model, its channels selected, roughly fitted and measured."""
    planned = with_alphas(even, way.alphas)
    own = damages.of(planned.layout)
    candidate = run.candidate(planned.following(selection.select(planned.layout, planned.plan, own)), "slice")
    fit_roughly(run, candidate, run.supply.fit.subset(range(count)), pace)
    return run.measured(candidate)
