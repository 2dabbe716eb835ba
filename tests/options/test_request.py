"""Options of a conversion are parsed and checked once, for Python and the command line."""

import pytest

from octconvert.errors import UsageError
from octconvert.options.calibration import STEPS, CalibrationOptions
from octconvert.options.fields import defaults, meanings
from octconvert.options.request import DEFAULTS, ConversionRequest
from octconvert.options.rewriting import RewritingOptions


def test_what_is_not_set_has_its_default():
    request = ConversionRequest.of({})
    assert request.rewriting == RewritingOptions()
    assert request.calibration == CalibrationOptions()
    assert not request.deployment.is_timed and not request.deployment.is_deployed


def test_options_reach_the_value_that_they_belong_to():
    request = ConversionRequest.of(
        {"alpha": 0.25, "calibration_samples": 16, "threads": 3, "output": "a.keras", "unsafe": True, "seed": 7}
    )
    assert request.rewriting.alpha == 0.25
    assert (request.calibration.samples, request.calibration.seed, request.seed) == (16, 7, 7)
    assert request.deployment.threads == 3
    assert request.delivery.output == "a.keras"
    assert request.loading.unsafe


def test_a_plan_stands_in_the_place_of_the_options_it_fixes():
    request = ConversionRequest.of({"plan": "plan.json", "include": ()})
    assert request.rewriting is None and request.plan == "plan.json"


def test_calibration_is_switched_off_by_false_alone():
    assert ConversionRequest.of({"calibration": False}).calibration is None
    assert ConversionRequest.of({"calibration": None}).calibration is not None


def test_preprocessing_belongs_to_labelled_data_where_there_are_no_other():
    request = ConversionRequest.of({"evaluate": "data.npz", "preprocess": "resnet50"})
    assert request.calibration.preprocess is None and request.preprocess == "resnet50"


@pytest.mark.parametrize(
    "arguments, first, second",
    [
        ({"plan": "p.json", "alpha": 0.25}, "alpha", "plan"),
        ({"plan": "p.json", "portable": True}, "portable", "plan"),
        ({"target_macs": 0.5, "alpha_map": {"a": 0.5}}, "alpha_map", "target_macs"),
        ({"max_drop": 0.5, "target_macs": 0.5}, "target_macs", "max_drop"),
        ({"max_drop": 0.5, "plan": "p.json"}, "plan", "max_drop"),
        ({"calibration": False, "max_drop": 0.1}, "max_drop", "calibration=False"),
        ({"calibration": False, "calibration_samples": 9}, "calibration_samples", "calibration=False"),
        ({"calibration": "x.npz", "input_range": (0, 1)}, "input_range", "calibration"),
        ({"weights": "fresh", "target_macs": 0.5}, "target_macs", "weights='fresh'"),
        ({"weights": "fresh", "calibration": "x.npz"}, "calibration", "weights='fresh'"),
        ({"objective": "latency", "plan": "p.json"}, "plan", "objective='latency'"),
    ],
)
def test_contradictions_name_both_options(arguments, first, second):
    with pytest.raises(UsageError, match=f"^`{first}` can not be combined with `{second}`, wh") as error:
        ConversionRequest.of(arguments)
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": "fresh", "calibration": False},
        {"calibration": False, "target_macs": None},
        {"objective": "macs", "plan": "p.json"},
        {"calibration": "x.npz", "target_macs": 0.5},
        {"evaluate": "x.npz", "metric": "mean-iou"},
        {"evaluate": "x.npz", "metric": "sklearn.metrics:f1_score"},
        {"evaluate": "x.npz", "metric": max},
    ],
)
def test_what_goes_together(arguments):
    ConversionRequest.of(arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"alpha": 1.01}, "`alpha` must be from 0 to 1"),
        ({"interior": -0.5}, "`interior` must be from 0 to 1"),
        ({"include": "["}, "not a regular expression"),
        ({"weights": "all"}, "`weights` must be one of slice, fold, fresh"),
        ({"verify": "never"}, "`verify` must be one of quick, deep"),
        ({"objective": "size"}, "`objective` must be one of macs, latency"),
        ({"input_shape": (0, 8, 3)}, "`input_shape` takes positive integers"),
        ({"calibration_steps": ("knead",)}, "calibration_steps"),
        ({"calibration_samples": 0}, "`calibration_samples` takes a whole number"),
        ({"metric": "auc"}, "`metric` is measured on labelled data: give some as `evaluate`"),
        ({"metric": "f1", "evaluate": "x.npz"}, "`metric` must be one of accuracy, .*MODULE:FUNCTION; received 'f1'"),
        ({"metric": 7, "evaluate": "x.npz"}, "`metric` must be one of"),
        ({"metric": "own.py:", "evaluate": "x.npz"}, "`metric` must be one of"),
        ({"metric": "nowhere.py:f", "evaluate": "x.npz"}, "no such file: nowhere.py"),
    ],
)
def test_values_that_make_no_sense(arguments, message):
    with pytest.raises(UsageError, match=message):
        ConversionRequest.of(arguments)


def test_patterns_and_names_are_taken_in_any_form():
    options = RewritingOptions(include="a", elementwise=[len, "Scale"], alpha_map={"b": 0.5})
    assert options.include == ("a",) and options.elementwise == ("len", "Scale")
    assert options.alpha_map == (("b", 0.5),) and options.patterns == ("a", "b")


def test_every_option_has_a_meaning_and_a_default():
    assert defaults(CalibrationOptions)["calibration_steps"] == STEPS
    assert all(meanings(CalibrationOptions).values()) and all(meanings(RewritingOptions).values())
    assert set(defaults(RewritingOptions)) <= set(DEFAULTS)
