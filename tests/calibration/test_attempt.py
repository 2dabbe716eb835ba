"""An interrupt ends a calibration, and what it has done is kept."""

import calibration_nets as nets
import pytest

import octconvert
from octconvert.calibration import calibrate
from octconvert.calibration.attempt import Outcome
from octconvert.calibration.steps.refine import Refine
from octconvert.calibration.steps.select import Select
from octconvert.calibration.steps.solve import Solve
from octconvert.system import interrupts

OPTIONS = dict(min_size=1, calibration_budget=3_600.0, calibration_steps=("select", "solve", "refine"))


def interrupted(step, before=lambda self, run, state: None):
    """The step's ``apply``, which the user interrupts once ``before`` is done."""

    def apply(self, run, state):
        assert interrupts.are_kept()
        before(self, run, state)
        raise KeyboardInterrupt

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
    assert not interrupts.are_kept()


def test_a_step_that_is_interrupted_is_kept_where_it_helps(monkeypatch):
    """A fit of the first layers is worth something, too."""
    apply = Solve.apply
    monkeypatch.setattr(Solve, "apply", interrupted(Solve, apply))
    steps = {each.name: each for each in convert().report.calibration.steps}
    assert steps["solve"].kept and steps["refine"].detail == "not begun: interrupted"


def test_the_second_interrupt_ends_it(monkeypatch):
    def measured(self, candidate, in_any_case=False):
        if self.budget.is_interrupted:
            raise KeyboardInterrupt
        return before(self, candidate, in_any_case)

    before = calibrate.Run.measured
    monkeypatch.setattr(calibrate.Run, "measured", measured)
    monkeypatch.setattr(Solve, "apply", interrupted(Solve))
    with pytest.raises(KeyboardInterrupt):
        convert()
    assert not interrupts.are_kept()
