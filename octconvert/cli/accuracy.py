"""The parameters that keep the accuracy, checked before TensorFlow is started for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from octconvert.cli.parameters import ACCURACY, flag, option, whole_number
from octconvert.errors import InputError, UsageError
from octconvert.options import limits
from octconvert.options.calibration import STEPS
from octconvert.text.numerals import parse_number, scale_and_offset

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
"""An option, those that can not be combined with it, and why."""


@dataclass(frozen=True, kw_only=True)
class AccuracyParameters:
    """As they were typed; None or False where they were not."""

    calibrate: Annotated[
        str | None,
        option(
            "Unlabelled inputs to fit the converted model to, a few hundred: .npz, .npy or a directory of images. "
            "Default: synthetic images.",
            group=ACCURACY,
            metavar="DATA",
        ),
    ] = None
    no_calibration: Annotated[bool, option("Only move the weights; fit nothing.", group=ACCURACY)] = False
    preprocess: Annotated[
        str | None,
        option(
            "Preprocessing of the data: the NAME of a module of keras.applications (resnet50), SCALE,OFFSET "
            "(1/127.5,-1), or MODULE:FUNCTION of your own.",
            group=ACCURACY,
            metavar="HOW",
            allow_leading_hyphen=True,
        ),
    ] = None
    input_range: Annotated[
        str | None,
        option(
            "The values of black and white in synthetic images. Default: derived from the model.",
            group=ACCURACY,
            metavar="LO,HI",
            allow_leading_hyphen=True,
        ),
    ] = None
    calibration_samples: Annotated[
        str | None, option("At most this many samples. Default: 2048.", group=ACCURACY, metavar="N")
    ] = None
    calibration_budget: Annotated[
        float | None,
        option("About how long it may take. Default: 60, or 300 with --calibrate.", group=ACCURACY, metavar="SECONDS"),
    ] = None
    calibration_steps: Annotated[
        str | None,
        option(f"Only these steps, separated by commas: {', '.join(STEPS)}.", group=ACCURACY, metavar="LIST"),
    ] = None
    target_macs: Annotated[
        float | None,
        option(
            "Choose each alpha so that this share of the MACs is left, for example 0.6.",
            group=ACCURACY,
            metavar="SHARE",
        ),
    ] = None
    max_drop: Annotated[
        float | None,
        option(
            "Choose each alpha so that at most this share of the top-1 agreement is lost, 0.01 for one point.",
            group=ACCURACY,
            metavar="SHARE",
        ),
    ] = None
    evaluate: Annotated[
        str | None,
        option(
            "Labelled inputs to measure the accuracy on, before and after: .npz, or a directory with a subdirectory "
            "for each class.",
            group=ACCURACY,
            metavar="DATA",
        ),
    ] = None
    seed: Annotated[str | None, option("Seed of all random numbers. Default: 0.", group=ACCURACY, metavar="N")] = None

    @property
    def files(self) -> tuple[str | None, str | None]:
        """What is read."""
        return self.calibrate, self.evaluate

    def arguments(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.convert` has for it; ``others`` are the other options.

        Raises:
            UsageError: a value makes no sense, or two options can not be combined.
        """
        values = {
            "calibration": False if self.no_calibration else self.calibrate,
            "preprocess": _preprocess(self.preprocess),
            "input_range": _range(self.input_range),
            "calibration_samples": whole_number("calibration_samples", self.calibration_samples),
            "calibration_budget": _real("calibration_budget", self.calibration_budget),
            "calibration_steps": _steps(self.calibration_steps),
            "target_macs": _real("target_macs", self.target_macs),
            "max_drop": _real("max_drop", self.max_drop),
            "evaluate": self.evaluate,
            "seed": whole_number("seed", self.seed),
        }
        typed = {**others, **vars(self)}
        _check_together({name for name, value in typed.items() if value is not None and value is not False})
        return {name: value for name, value in values.items() if value is not None}

    def check_files(self) -> None:
        """Raises `InputError` where there are no such data."""
        for name, path in (("calibrate", self.calibrate), ("evaluate", self.evaluate)):
            if path is not None and not Path(path).exists():
                raise InputError(f"{path}: there is no such file or directory ({flag(name)})")


ANY_ACCURACY = AccuracyParameters()
"""The defaults."""


def _check_together(typed: set[str]) -> None:
    for name, refused, why in _CONTRADICTIONS:
        both = [other for other in refused.split() if other in typed]
        if name in typed and both:
            raise UsageError(f"{flag(both[0])} can not be combined with {flag(name)}, {why}")


def _real(name: str, value: float | None) -> float | None:
    return None if value is None else limits.real(name, value, flag(name))


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
    """Only numbers are checked here: names and functions need Keras."""
    if text is None or ":" in text:
        return text
    is_name = bool(text.strip()) and "," not in text and parse_number(text) is None
    if not is_name and scale_and_offset(text) is None:
        forms = "a name from keras.applications, SCALE,OFFSET (for example 1/127.5,-1) or MODULE:FUNCTION"
        raise UsageError(f"--preprocess takes {forms}; received '{text}'")
    return text
