"""``max_drop``: the smallest share of the MACs at which no more than that of the agreement is lost, by trial."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from octconvert.calibration.alphas import OutOfReach
from octconvert.calibration.effort import OUT_OF_TIME, OutOfTime, Pace
from octconvert.calibration.run import Run
from octconvert.calibration.state import Candidate, State
from octconvert.calibration.steps.planning import chosen
from octconvert.calibration.steps.solve import fit_layers
from octconvert.errors import UsageError
from octconvert.planning.planned import Planned
from octconvert.results.report import Step

DROP_SHARE = 0.5
"""Share of the time left by the clock for the trials."""
DROP_TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45)
"""Shares of the MACs that are tried."""
DROP_SAMPLES = 512
"""Samples that a trial is fitted to at most."""


def with_target(run: Run, state: State) -> State:
    """The state with the target of MACs that the settings request, found by trial for ``max_drop``.

    Raises:
        UsageError: ``max_drop`` can not be measured, or is exceeded by every trial.
    """
    if run.settings.max_drop is None:
        return replace(state, target=run.settings.target)
    if not run.expected.classes:
        raise UsageError(
            "`max_drop` is about classes, and the model's first output is not one of classes; give `target_macs`"
        )
    reached = 1.0
    pace = run.budget.pace("max_drop", DROP_SHARE, reserve=3 * run.evaluation)
    for target in pace.units(DROP_TARGETS, least=1):
        try:
            tried = chosen(run, replace(state, target=target))
        except OutOfReach:
            break
        state = replace(state, damages=tried.damages)
        if _drop(run, _trial(run, tried.planned, pace)) > run.settings.max_drop:
            break
        reached = target
    if reached == 1.0:
        raise UsageError(f"max_drop {run.settings.max_drop:g}: already {DROP_TARGETS[0]:.0%} of the MACs lose more")
    if not pace.cut:
        return replace(state, target=reached)
    report = Step("max_drop", True, f"tried down to {reached:.0%} of the MACs, then {OUT_OF_TIME}", 0.0)
    return replace(state, target=reached, reports=(*state.reports, report))


def _trial(run: Run, planned: Planned, pace: Pace) -> Candidate:
    """The plan's model, fitted and measured."""
    candidate = run.candidate(planned, "slice")
    few = run.supply.fit.subset(range(min(run.supply.fit.count, DROP_SAMPLES)))
    with suppress(OutOfTime):
        fit_layers(run, candidate, few, pace.part(0.5))
    return run.measured(candidate, in_any_case=True)


def _drop(run: Run, candidate: Candidate) -> float:
    """Share of the held-out samples whose class is another one than the source's."""
    assert candidate.outputs is not None
    return 1 - run.expected.agreement(candidate.outputs)
