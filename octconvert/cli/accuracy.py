"""The parameters that keep the accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from octconvert.cli.data_files import check_data
from octconvert.cli.parameters import ACCURACY, FileName, flag, option, typed, whole_number
from octconvert.errors import UsageError
from octconvert.options.references import check_application, check_reference
from octconvert.text.numerals import parse_number, scale_and_offset


@dataclass(frozen=True, kw_only=True)
class AccuracyParameters:
    """As they were typed; None or False where they were not."""

    calibrate: Annotated[
        FileName | None,
        option(
            "calibration",
            "An .npz or .npy file or a directory of images.",
            unset="synthetic images",
            group=ACCURACY,
            metavar="PATH",
        ),
    ] = None
    no_calibration: Annotated[bool, flag("Only move the weights; fit nothing.", group=ACCURACY)] = False
    preprocess: Annotated[
        str | None,
        option(
            "preprocess",
            "The NAME of a module of keras.applications (resnet50), SCALE,OFFSET (1/127.5,-1), or MODULE:FUNCTION of "
            "your own.",
            unset="nothing is done",
            group=ACCURACY,
            metavar="HOW",
            allow_leading_hyphen=True,
        ),
    ] = None
    input_range: Annotated[
        str | None,
        option(
            "input_range",
            "",
            unset="derived from the model",
            group=ACCURACY,
            metavar="LO,HI",
            allow_leading_hyphen=True,
        ),
    ] = None
    calibration_samples: Annotated[str | None, option("calibration_samples", group=ACCURACY, metavar="INT")] = None
    calibration_budget: Annotated[float | None, option("calibration_budget", group=ACCURACY, metavar="FLOAT")] = None
    calibration_steps: Annotated[
        str | None,
        option("calibration_steps", "Separated by commas.", unset="all of them", group=ACCURACY, metavar="STEP,..."),
    ] = None
    target_macs: Annotated[
        float | None, option("target_macs", "For example 0.6.", unset="none", group=ACCURACY, metavar="FLOAT")
    ] = None
    target_time: Annotated[
        float | None, option("target_time", "For example 0.6.", unset="none", group=ACCURACY, metavar="FLOAT")
    ] = None
    max_drop: Annotated[float | None, option("max_drop", unset="none", group=ACCURACY, metavar="FLOAT")] = None
    evaluate: Annotated[
        FileName | None,
        option(
            "evaluate",
            "An .npz file, or a directory with a subdirectory for each class.",
            unset="nothing is measured",
            group=ACCURACY,
            metavar="PATH",
        ),
    ] = None
    metric: Annotated[
        str | None, option("metric", "MODULE:FUNCTION names one of your own.", group=ACCURACY, metavar="NAME")
    ] = None
    seed: Annotated[str | None, option("seed", group=ACCURACY, metavar="INT")] = None

    @property
    def files(self) -> tuple[str | None, str | None]:
        """What is read."""
        return self.calibrate, self.evaluate

    def arguments(self) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.convert` has for it.

        Raises:
            UsageError: a value is not of its form, or both --calibrate and --no-calibration were typed.
        """
        if self.no_calibration and self.calibrate is not None:
            raise UsageError("--calibrate can not be combined with --no-calibration, which only moves the weights")
        values = {
            "calibration": False if self.no_calibration else self.calibrate,
            "preprocess": preprocessing(self.preprocess),
            "input_range": value_range(self.input_range),
            "calibration_samples": whole_number(self.calibration_samples),
            "calibration_budget": self.calibration_budget,
            "calibration_steps": _steps(self.calibration_steps),
            "target_macs": self.target_macs,
            "target_time": self.target_time,
            "max_drop": self.max_drop,
            "evaluate": self.evaluate,
            "metric": self.metric,
            "seed": whole_number(self.seed),
        }
        return typed(values)

    def check_files(self) -> None:
        """Raises `InputError` where there are no such data, or no labels."""
        check_data(self.calibrate, self.evaluate)


DEFAULT_ACCURACY = AccuracyParameters()
"""The groups of flags with none of them typed."""


def value_range(text: str | None) -> tuple[float, float] | None:
    """Of --input-range.

    Raises:
        UsageError: it is not of the form LO,HI.
    """
    if text is None:
        return None
    numbers = [parse_number(part) for part in text.split(",")]
    match numbers:
        case [float(low), float(high)] if low < high:
            return low, high
    raise UsageError(f"--input-range takes two numbers LO,HI with LO below HI, for example -1,1; received '{text}'")


def _steps(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def preprocessing(text: str | None) -> str | None:
    """Of --preprocess; functions are not imported here.

    Raises:
        UsageError: it is of none of its forms.
    """
    if text is None:
        return text
    if ":" in text:
        check_reference(text, "preprocess")
        return text
    is_name = bool(text.strip()) and "," not in text and parse_number(text) is None
    if not is_name and scale_and_offset(text) is None:
        forms = "a name from keras.applications, SCALE,OFFSET (for example 1/127.5,-1) or MODULE:FUNCTION"
        raise UsageError(f"--preprocess takes {forms}; received '{text}'")
    if is_name:
        check_application(text)
    return text
