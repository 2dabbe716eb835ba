"""The one wrapper around every step of a calibration: it times the step, measures the result, keeps or undoes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import keras
import numpy as np

from octconvert.calibration.effort import INTERRUPTED, NOT_MEASURED, OUT_OF_TIME, OutOfTime
from octconvert.calibration.run import Run
from octconvert.calibration.state import Candidate, State
from octconvert.errors import OctconvertError, first_line
from octconvert.results.report import Step
from octconvert.system import interrupts
from octconvert.text.words import fine_percents


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a step.

    Attributes:
        state: behind the step; the state before it where nothing is kept.
        detail: what was done, or why not, for the report.
        kept: whether the state has changed.
    """

    state: State
    detail: str
    kept: bool = True


class CalibrationStep(ABC):
    """One step: from a state to the next one."""

    name: ClassVar[str]
    is_essential: ClassVar[bool] = False
    """Whether there is no result without it; then its errors are not only reported."""

    def is_due(self, run: Run, state: State) -> bool:
        """Whether the step is to be done at all: it is requested."""
        return self.name in run.settings.steps

    @abstractmethod
    def apply(self, run: Run, state: State) -> Outcome:
        """
        Raises:
            OutOfTime: the step can not be finished in time; nothing is kept.
        """


class WeightStep(CalibrationStep):
    """A step that changes the weights of the current model in place; its result is measured."""

    restores: ClassVar[bool] = True
    """Whether the weights are restored where the result is not kept."""

    def judge(self, run: Run, before: State, outcome: Outcome, measured: Candidate) -> Outcome:
        """The outcome by the error of the changed model: it is kept where it is lower."""
        error = before.candidate.error
        change = change_of_error(error, measured.error)
        if measured.error < error:
            return Outcome(replace(outcome.state, current=measured), f"{outcome.detail}: {change}")
        return Outcome(before, f"{outcome.detail}, no nearer to the source: {change}, undone", kept=False)


def attempt(step: CalibrationStep, run: Run, state: State) -> State:
    """The state behind a step, with the step's report: kept, undone, out of time or failed.

    Raises:
        OctconvertError: an error that concerns the user, such as a target out of reach.
        Exception: any other one of an essential step. Of other steps it is reported, and nothing is kept of the step.
    """
    if not step.is_due(run, state):
        return state
    if interrupts.is_requested():
        return replace(state, reports=(*state.reports, Step(step.name, False, f"not begun: {INTERRUPTED}", 0.0)))
    started = run.budget.elapsed
    run.progress(f"calibrate: {step.name}", 0, 0)
    outcome = _measured(step, run, state) if isinstance(step, WeightStep) else _guarded(step, run, state)
    report = Step(step.name, outcome.kept, outcome.detail, run.budget.elapsed - started)
    return replace(outcome.state, reports=(*outcome.state.reports, report))


def _guarded(step: CalibrationStep, run: Run, state: State) -> Outcome:
    """A step that ends by itself, or that the user has ended."""
    try:
        with interrupts.breakable():
            return step.apply(run, state)
    except OctconvertError:
        raise
    except interrupts.Ended:
        return Outcome(state, INTERRUPTED, kept=isinstance(step, WeightStep))  # what it has done by then may be good
    except OutOfTime:
        return Outcome(state, OUT_OF_TIME, kept=False)
    except Exception as error:  # TensorFlow raises many kinds: too little memory, odd shapes
        if step.is_essential:
            raise
        return _failed(state, error)


def _measured(step: WeightStep, run: Run, state: State) -> Outcome:
    """A step whose result is measured; the weights are restored where nothing of it is kept."""
    model = state.candidate.model
    weights = [np.array(weight) for weight in model.weights] if step.restores else []
    outcome = _guarded(step, run, state)
    if outcome.kept:
        outcome = _judged(step, run, state, outcome)
    if step.restores and not outcome.kept:
        _assign(model, weights)
    return outcome


def _judged(step: WeightStep, run: Run, state: State, outcome: Outcome) -> Outcome:
    try:
        return step.judge(run, state, outcome, run.measured(outcome.state.candidate))
    except OctconvertError:
        raise
    except OutOfTime:
        undone = f"{outcome.detail}; {NOT_MEASURED}" if step.restores else OUT_OF_TIME
        return Outcome(outcome.state, undone, kept=False)
    except Exception as error:
        return _failed(outcome.state, error)


def _failed(state: State, error: Exception) -> Outcome:
    return Outcome(state, f"failed: {first_line(error)}", kept=False)


def _assign(model: keras.Model, weights: Sequence[np.ndarray]) -> None:
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)


def change_of_error(before: float, after: float) -> str:
    """For reports; an error that was not measured is infinite, as is that of outputs that are not finite."""
    first, second = fine_percents(before, after)
    return f"error {first if np.isfinite(before) else 'not measured'} -> {second if np.isfinite(after) else 'infinite'}"
