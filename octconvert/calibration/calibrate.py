"""Keeps the accuracy of a trained model through its conversion: steps in order, each measured against the state before.

1. *rotate*: the basis of linear tensors (`rotation`);
2. *search*, with a target (``target_macs``, ``target_time``, ``max_drop``): how many channels of each group become low
   (`alphas`);
3. *select*: which of them (`selection`);
4. *solve*: least squares layer by layer (`fitting`);
5. *renormalize*: statistics of BatchNormalization (`renormalization`);
6. *refine*: a short training (`refinement`).

The result is measured on held-out samples after each of 4, 5 and 6, and what does not come closer to the source's
outputs is undone (`attempt`); the base is the better one of sliced and folded weights.

How many samples each step gets is laid out so that all fit into the budget; each also ends by the clock, with what
it has by then (`effort`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.attempt import attempt
from octconvert.calibration.effort import LAID_OUT, OutOfTime
from octconvert.calibration.evidence import errors_by_layer, measures
from octconvert.calibration.run import Run
from octconvert.calibration.start import NotPossible, check_outputs, start
from octconvert.calibration.state import Candidate, State
from octconvert.calibration.steps.max_drop import with_target
from octconvert.calibration.steps.planning import chosen
from octconvert.calibration.steps.refine import Refine
from octconvert.calibration.steps.renormalize import Renormalize
from octconvert.calibration.steps.solve import Solve, accepted
from octconvert.calibration.steps.trust import trusted
from octconvert.calibration.target_costs import Timing
from octconvert.errors import UsageError
from octconvert.options.calibration import CalibrationOptions
from octconvert.planning.planned import Planned
from octconvert.results.plan import Plan
from octconvert.results.report import CalibrationReport
from octconvert.rewriting import Rewritten, rewrite
from octconvert.system import interrupts
from octconvert.system.progress import Progress

COMPARED = 16
"""Samples that the layers are compared on: each has many positions."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A converted model, and what its calibration did.

    Attributes:
        rewritten: the converted model; its source may be a rotated copy.
        report: None where it was not calibrated.
        errors: layer name -> error, see `octconvert.calibration.evidence.errors_by_layer`.
        notes: what the user should know.
    """

    rewritten: Rewritten
    report: CalibrationReport | None
    errors: dict[str, float]
    notes: tuple[str, ...] = ()


def calibrate(
    planned: Planned, settings: CalibrationOptions, progress: Progress, timing: Timing | None = None
) -> Calibrated:
    """Convert a model, and keep as much of its accuracy as possible.

    Args:
        timing: of conversions, for ``target_time``.

    Raises:
        InputError, UsageError: the data can not be used, a target is out of reach, or nothing can be chosen.
    """
    plain = planned.with_options(portable=False)  # the same function, in layers that can be fitted
    try:
        run = replace(start(planned.graph, settings, progress), timing=timing)
        check_outputs(run)
        base = _base(run, plain)
        run.notice(f"calibration on {run.supply.label}, {LAID_OUT * settings.seconds:.0f} s or less")
    except NotPossible as error:
        if settings.searches:
            raise UsageError(f"alphas can not be chosen: {error}") from None
        return _uncalibrated(planned, progress, str(error))
    except OutOfTime:
        if settings.searches:
            raise UsageError(_too_slow(settings)) from None
        budget = f"a budget of {settings.seconds:g} s (`calibration_budget`)"
        return _uncalibrated(planned, progress, f"the model takes too long for {budget}")
    state = State(base.planned.with_options(weights=plain.options.weights), base=base)
    if settings.searches:  # without what is searched for there is nothing to keep
        state = chosen(run, with_target(run, state))
    with interrupts.kept():
        run.notice("an interrupt (Ctrl-C) keeps what is done from now on")
        state = state if settings.searches else chosen(run, state)
        return _calibrated(run, _built(run, state, plain), planned)


def _built(run: Run, state: State, plain: Planned) -> State:
    """The steps that change weights, on a model that is built from the chosen plan."""
    state = replace(state, current=run.candidate(state.planned, "slice"))
    state = attempt(Solve(), run, state)
    state = accepted(run, state)
    state = attempt(Renormalize(), run, state)
    state = attempt(Refine(), run, state)
    return trusted(run, state, plain)


def _too_slow(settings: CalibrationOptions) -> str:
    return f"calibration_budget {settings.seconds:g}: the model takes too long to choose in it"


def prepared_plan(
    planned: Planned, settings: CalibrationOptions, progress: Progress, timing: Timing | None = None
) -> Plan:
    """The plan that `calibrate` follows: channels selected, alphas chosen.

    Raises:
        InputError, UsageError: the data can not be used, or nothing can be chosen by them.
    """
    try:
        run = replace(start(planned.graph, settings, progress), timing=timing)
    except OutOfTime:
        raise UsageError(_too_slow(settings)) from None
    except NotPossible as error:
        raise UsageError(str(error)) from None
    if settings.max_drop is not None:
        raise UsageError("max_drop needs a conversion: it is measured on the converted model")
    return chosen(run, State(planned, settings.target)).planned.plan


def _base(run: Run, planned: Planned) -> Candidate:
    """The better one of sliced and folded weights, channels as planned.

    Raises:
        OutOfTime: there is no time to measure one of them.
    """
    run.progress("calibrate: start", 0, 0)
    candidates: list[Candidate] = []
    for weights in ("slice", "fold"):
        try:
            candidates.append(run.measured(run.candidate(planned, weights)))
        except OutOfTime:
            if not candidates:
                raise
    return min(candidates, key=lambda candidate: candidate.error)


def _uncalibrated(planned: Planned, progress: Progress, reason: str) -> Calibrated:
    return Calibrated(rewrite(planned, progress), None, {}, (f"not calibrated: {reason}",))


def _calibrated(run: Run, state: State, planned: Planned) -> Calibrated:
    """The result; for portable models, which can not be fitted themselves, with the fitted weights moved to one."""
    result = state.candidate.rewritten
    errors = _errors(run, result)
    report = _report(run, state)
    if planned.options.portable:
        portable = Planned(result.layout, replace(result.plan, portable=True), planned.options)
        result = rewrite(portable, run.progress, result.weights())
    return Calibrated(result, report, errors, (*run.supply.notes, *state.unfitted, *state.doubts))


def _errors(run: Run, rewritten: Rewritten) -> dict[str, float]:
    """Of the layers, on some of the held-out samples, for which there is time."""
    run.progress("calibrate: errors of the layers", 0, 0)
    alignment, pace, held_out = Alignment(rewritten), run.budget.pace(), run.supply.held_out
    some = range(min(held_out.count, COMPARED))
    return errors_by_layer(alignment, pace.units(held_out.batches(run.batch, some)))


def _report(run: Run, state: State) -> CalibrationReport:
    assert state.base is not None and state.base.outputs is not None and state.candidate.outputs is not None
    return CalibrationReport(
        data=run.supply.label,
        synthetic=run.settings.synthetic,
        input_range=run.supply.input_range,
        samples=run.supply.count,
        held_out=run.supply.held_out.count,
        measures=measures(run.expected, state.base.outputs, state.candidate.outputs),
        steps=state.reports,
        cut=run.budget.cut,
        base=state.base.planned.options.weights,
        seconds=run.budget.elapsed,
    )
