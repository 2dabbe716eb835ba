"""What is kept of a calibration on doubtful data."""

from typing import Any, cast

import pytest

from octconvert.calibration.state import Candidate, State
from octconvert.calibration.steps.trust import Judgement, judged
from octconvert.results.report import Step

NOTHING = cast(Any, None)  # of models: they are not looked at


def calibrated() -> State:
    steps = Step("select", True, "2 groups", 1.0), Step("solve", True, "5 layers", 1.0), Step("refine", False, "-", 1.0)
    return State(NOTHING, base=Candidate(NOTHING), current=Candidate(NOTHING), reports=steps)


def judgements(held_out: float, synthetic: float) -> list[Judgement]:
    return [Judgement("held-out samples", 0.1, held_out), Judgement("synthetic images", 0.2, synthetic)]


def test_what_is_no_worse_on_both_is_kept():
    state = calibrated()
    result = judged(state, judgements(0.1, 0.05), Candidate(NOTHING), "odd data")
    assert result.current is state.current and result.base is state.base and result.reports == state.reports
    (note,) = result.doubts
    assert note.startswith("odd data; the calibration is kept")
    assert "on held-out samples: error 10% -> 10%" in note and "on synthetic images: error 20% -> 5%" in note


@pytest.mark.parametrize("errors", [(0.11, 0.05), (0.01, 0.21), (float("nan"), 0.05)])
def test_what_is_worse_on_one_is_undone(errors):
    sliced = Candidate(NOTHING)
    result = judged(calibrated(), judgements(*errors), sliced, "odd data", lasting=("select",))
    assert result.current is sliced and result.base is sliced
    assert [step.kept for step in result.reports] == [True, False, False]
    (note,) = result.doubts
    assert "the calibration made the model worse on" in note and "the sliced weights are kept" in note
    assert ("held-out" in note) == (not errors[0] <= 0.1) and ("synthetic" in note) == (errors[1] > 0.2)
    assert "; undone, worse on" in result.reports[1].detail
