"""The command line's options that keep the accuracy, checked before TensorFlow is started for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from octconvert.errors import InputError, UsageError
from octconvert.options import limits
from octconvert.options.calibration import STEPS
from octconvert.text.numerals import parse_number, scale_and_offset

GROUP = Group("Keeping the accuracy", sort_key=2)

_ALPHAS = "which chooses every alpha itself"
_CONTRADICTIONS = (
    (
        "no_calibration",
        "calibrate input_range calibration_samples calibration_budget calibration_steps target_macs max_drop",
        "which only moves the weights",
    ),
    ("calibrate", "input_range", "whose values are taken as they are"),
    ("target_macs", "alpha alpha_map plan", _ALPHAS),
    ("max_drop", "alpha alpha_map plan target_macs", _ALPHAS),
)
"""An option, those that can not be given with it, and why."""


def _option(help: str, metavar: str | None = None, **more: Any) -> Parameter:
    return Parameter(help=help, group=GROUP, metavar=metavar, **more)


@dataclass(frozen=True, kw_only=True)
class AccuracyOptions:
    """As they were typed; None or False where they were not."""

    calibrate: Annotated[
        str | None,
        _option(
            "Unlabelled inputs to fit the converted model to, a few hundred: .npz, .npy or a directory of images. "
            "Default: synthetic images.",
            "DATA",
        ),
    ] = None
    no_calibration: Annotated[bool, _option("Move the weights and leave it at that.")] = False
    preprocess: Annotated[
        str | None,
        _option(
            "What is done to the data before the model gets them: a NAME from keras.applications (resnet50), "
            "SCALE,OFFSET (1/127.5,-1) or MODULE:FUNCTION of your own.",
            "HOW",
            allow_leading_hyphen=True,
        ),
    ] = None
    input_range: Annotated[
        str | None,
        _option(
            "What black and white are to the model, for synthetic images. Default: found in the model.",
            "LO,HI",
            allow_leading_hyphen=True,
        ),
    ] = None
    calibration_samples: Annotated[str | None, _option("The most samples that are used.", "N")] = None
    calibration_budget: Annotated[float | None, _option("About how long it may take.", "SECONDS")] = None
    calibration_steps: Annotated[
        str | None, _option(f"Only these, with commas between them: {', '.join(STEPS)}.", "LIST")
    ] = None
    target_macs: Annotated[
        float | None, _option("Choose each alpha so that this share of the MACs is left, 0.6 for example.", "SHARE")
    ] = None
    max_drop: Annotated[
        float | None,
        _option("Choose each alpha so that no more of the top-1 agreement is lost, 0.01 for one point.", "SHARE"),
    ] = None
    evaluate: Annotated[
        str | None,
        _option(
            "Labelled inputs to measure the accuracy on, before and after: .npz, or a directory with a subdirectory "
            "for each class.",
            "DATA",
        ),
    ] = None
    seed: Annotated[str | None, _option("Of everything that is drawn by chance.", "N")] = None

    @property
    def files(self) -> tuple[str | None, str | None]:
        """What is read."""
        return self.calibrate, self.evaluate

    def arguments(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """What was given, by the names that `octconvert.convert` has for it; ``others`` are the other options.

        Raises:
            UsageError: a value makes no sense, or two options can not be given together.
        """
        found = {
            "calibration": False if self.no_calibration else self.calibrate,
            "preprocess": _preprocess(self.preprocess),
            "input_range": _range(self.input_range),
            "calibration_samples": whole_number("calibration-samples", self.calibration_samples),
            "calibration_budget": _real("calibration-budget", self.calibration_budget),
            "calibration_steps": _steps(self.calibration_steps),
            "target_macs": _real("target-macs", self.target_macs),
            "max_drop": _real("max-drop", self.max_drop),
            "evaluate": self.evaluate,
            "seed": whole_number("seed", self.seed),
        }
        given = {**others, **vars(self)}
        _check_together({name for name, value in given.items() if value is not None and value is not False})
        return {name: value for name, value in found.items() if value is not None}

    def check_files(self) -> None:
        """Raises `InputError` where there are no such data."""
        for option, path in (("calibrate", self.calibrate), ("evaluate", self.evaluate)):
            if path is not None and not Path(path).exists():
                raise InputError(f"{path}: there is no such file or directory ({_flag(option)})")


NONE_GIVEN = AccuracyOptions()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_together(given: set[str]) -> None:
    for name, refused, why in _CONTRADICTIONS:
        both = [other for other in refused.split() if other in given]
        if name in given and both:
            raise UsageError(f"{_flag(both[0])} can not be given together with {_flag(name)}, {why}")


def whole_number(name: str, text: str | None) -> int | None:
    """The value of an option as it was typed; cyclopts would make 2 of 2.5."""
    if text is None:
        return None
    try:
        value: Any = int(text)
    except ValueError:
        value = text
    return limits.whole(name.replace("-", "_"), value, f"--{name}")


def _real(name: str, value: float | None) -> float | None:
    return None if value is None else limits.real(name.replace("-", "_"), value, f"--{name}")


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    numbers = [parse_number(part) for part in text.split(",")]
    match numbers:
        case [float(low), float(high)] if low < high:
            return low, high
    raise UsageError(f"--input-range takes two numbers LO,HI with LO below HI, for example -1,1; received '{text}'")


def _steps(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise UsageError(f"--calibration-steps has no step '{unknown[0]}'; there are {', '.join(STEPS)}")
    return names


def _preprocess(text: str | None) -> str | None:
    """Only numbers are checked here: names and functions can not be found without Keras."""
    if text is None or ":" in text:
        return text
    is_name = bool(text.strip()) and "," not in text and parse_number(text) is None
    if not is_name and scale_and_offset(text) is None:
        forms = "a name from keras.applications, SCALE,OFFSET (for example 1/127.5,-1) or MODULE:FUNCTION"
        raise UsageError(f"--preprocess takes {forms}; received '{text}'")
    return text


__all__ = ["GROUP", "NONE_GIVEN", "STEPS", "AccuracyOptions", "whole_number"]
