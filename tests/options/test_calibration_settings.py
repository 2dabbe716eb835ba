import inspect

import pytest

import octconvert
from octconvert.errors import UsageError
from octconvert.options.calibration import DATA_BUDGET, SEARCH_BUDGET, SYNTHETIC_BUDGET, CalibrationOptions


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(steps=("solve", "polish")), "`calibration_steps` takes some of rotate, .*, received 'polish'"),
        (dict(samples=1), "`calibration_samples` takes a whole number from 2 to 10000000, received 1"),
        (dict(samples=2.5), "calibration_samples"),
        (dict(samples=True), "calibration_samples"),
        (dict(budget=0), "`calibration_budget` takes a number of seconds above 0, of less than 30 days, received 0"),
        (dict(budget=float("nan")), "calibration_budget"),
        (dict(budget="1"), "calibration_budget"),
        (dict(seed=-1), "`seed` takes a whole number from 0"),
        (dict(seed=2**32), "seed"),
        (dict(seed=0.0), "seed"),
        (dict(target_macs=1.0), "`target_macs` takes a share above 0 and below 1, received 1.0"),
        (dict(target_macs=0), "target_macs"),
        (dict(max_drop=-0.1), "`max_drop` takes a share above 0 and below 1"),
        (dict(max_drop=True), "max_drop"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        CalibrationOptions(**wrong)


def test_budgets():
    assert CalibrationOptions(target_macs=0.5).seconds == SYNTHETIC_BUDGET + SEARCH_BUDGET
    assert CalibrationOptions().seconds == SYNTHETIC_BUDGET and CalibrationOptions().synthetic
    assert CalibrationOptions(data="x.npz").seconds == DATA_BUDGET and not CalibrationOptions(data="x.npz").synthetic
    assert CalibrationOptions(budget=1.5).seconds == 1.5


def test_searches_where_alphas_are_to_be_chosen():
    assert not CalibrationOptions().searches
    assert CalibrationOptions(target_macs=0.5).searches and CalibrationOptions(max_drop=0.01).searches


def test_no_step_is_a_choice_as_well():
    assert CalibrationOptions(steps=()).steps == ()


def test_the_help_of_convert_has_the_usual_budgets():
    text = " ".join(inspect.getdoc(octconvert.convert).split())
    assert f"None: {SYNTHETIC_BUDGET:g} on synthetic images, {DATA_BUDGET:g} on data, {SEARCH_BUDGET:g} more" in text
