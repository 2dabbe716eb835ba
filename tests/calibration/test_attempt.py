"""An interrupt ends a calibration, and what it has done is kept."""

import contextlib
import signal

import calibration_nets as nets
import pytest

import octconvert
from octconvert.calibration.attempt import Outcome
from octconvert.calibration.effort import OutOfTime
from octconvert.calibration.steps.refine import Refine
from octconvert.calibration.steps.select import Select
from octconvert.calibration.steps.solve import Solve

OPTIONS = dict(min_size=1, calibration_budget=3_600.0, calibration_steps=("select", "solve", "refine"))


def interrupted(step, before=lambda self, run, state: None):
    """The step's ``apply``, which the user interrupts once ``before`` is done."""

    def apply(self, run, state):
        before(self, run, state)
        signal.raise_signal(signal.SIGINT)

    return apply


def convert():
    return octconvert.convert(nets.small(), calibration=nets.images(32), **OPTIONS)


@pytest.mark.parametrize("step", [Select, Solve, Refine])
def test_what_is_done_is_kept(monkeypatch, step):
    monkeypatch.setattr(Refine, "apply", lambda self, run, state: Outcome(state, "nothing", kept=False))
    monkeypatch.setattr(step, "apply", interrupted(step))
    result = convert()
    steps = {each.name: each for each in result.report.calibration.steps}
    names = [Select.name, Solve.name, Refine.name]
    place = names.index(step.name)
    assert "interrupted" in steps[step.name].detail
    assert steps[step.name].kept == (step is Solve)  # the model that it was to fit is nearer than the base already
    assert all(steps[name].kept for name in names[:place])
    assert all(steps[name].detail == "not begun: interrupted" for name in names[place + 1 :])
    error = next(each for each in result.report.calibration.measures if each.name == "relative error")
    assert error.after <= error.before and (error.after < error.before or place < 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_step_that_is_interrupted_is_kept_where_it_helps(monkeypatch):
    """A fit of the first layers is worth something, too."""
    apply = Solve.apply
    monkeypatch.setattr(Solve, "apply", interrupted(Solve, apply))
    steps = {each.name: each for each in convert().report.calibration.steps}
    assert steps["solve"].kept and steps["refine"].detail == "not begun: interrupted"


def test_the_second_interrupt_ends_it(monkeypatch):
    def judge(self, run, before, outcome, measured):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Solve, "apply", interrupted(Solve))
    monkeypatch.setattr(Solve, "judge", judge)
    with pytest.raises(KeyboardInterrupt):
        convert()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_a_step_is_judged_undoes_nothing(monkeypatch):
    def judge(self, run, before, outcome, measured):
        signal.raise_signal(signal.SIGINT)
        return judged(self, run, before, outcome, measured)

    judged = Solve.judge
    monkeypatch.setattr(Solve, "judge", judge)
    steps = {each.name: each for each in convert().report.calibration.steps}
    assert steps["solve"].kept and steps["refine"].detail == "not begun: interrupted"


def test_an_interrupt_that_a_library_swallows_ends_the_step_all_the_same(monkeypatch):
    """Keras drops exceptions of any kind in some places, and so does Python in ``__del__``."""

    def swallowed(self, run, state):
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Refine, "apply", lambda self, run, state: Outcome(state, "nothing", kept=False))
    apply = Solve.apply
    monkeypatch.setattr(Solve, "apply", lambda self, run, state: swallowed(self, run, state) or apply(self, run, state))
    steps = {each.name: each for each in convert().report.calibration.steps}
    assert steps["solve"].detail.startswith("interrupted") and steps["refine"].detail == "not begun: interrupted"


@pytest.mark.parametrize("target", [{"target_macs": 0.7}, {"max_drop": 0.5}])
def test_an_interrupt_before_alphas_are_chosen_ends_it(monkeypatch, target):
    """Without them the result would miss its target."""
    monkeypatch.setattr(Select, "apply", interrupted(Select))
    with pytest.raises(KeyboardInterrupt):
        octconvert.convert(nets.small(), calibration=nets.images(32), **OPTIONS, **target)


def test_an_interrupt_ends_a_plan():
    """A plan that is not the one a conversion follows is of no use."""
    model = nets.small()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Select, "apply", interrupted(Select))
        octconvert.plan(model, calibration=nets.images(32), **OPTIONS)


def test_a_step_without_time_to_be_measured_says_so_once(monkeypatch):
    def judge(self, run, before, outcome, measured):
        raise OutOfTime

    monkeypatch.setattr(Refine, "judge", judge)
    monkeypatch.setattr(
        Refine, "apply", lambda self, run, state: Outcome(state, "1 of 9 steps, then the time was over")
    )
    refine = next(each for each in convert().report.calibration.steps if each.name == "refine")
    undone = "undone, with no time left to measure it (`calibration_budget`)"
    assert not refine.kept and refine.detail == f"1 of 9 steps, then the time was over; {undone}"
