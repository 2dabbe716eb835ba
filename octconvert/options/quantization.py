"""How the numbers of a deployed model are rounded, checked before TensorFlow is started for it.

The names of the precisions are written here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.calibration import CalibrationOptions
from octconvert.options.evaluation import EvaluationOptions
from octconvert.options.fields import option

PrecisionName = Literal["int8", "float16", "dynamic"]
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
"""int8: weights and activations; float16: weights; dynamic: weights int8, activations as each run has them."""
SAMPLES = 128
"""For the ranges of activations; the least and the largest value hardly change with more."""


def check_precision(name: str) -> str:
    """``name``, if it is that of a precision.

    Raises:
        UsageError: it is not.
    """
    return limits.one_of(PRECISIONS, name, "quantize")


@dataclass(frozen=True)
class QuantizationOptions(EvaluationOptions):
    """The options for the rounding of an export, and for the data that it is measured on.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    precision: str | None = option(None, f"round the numbers to one of {', '.join(PRECISIONS)}", "quantize")
    integer_io: bool = option(False, "int8 inputs and outputs too, with the scales that the file names")
    calibration: Any = option(
        None, "unlabelled inputs to measure the ranges of activations on, and the result; without any, synthetic images"
    )
    preprocess: Any = option(None, "how the data are preprocessed for the model")
    input_range: tuple[float, float] | None = option(None, "the values of black and white in synthetic images")
    samples: int = option(SAMPLES, "the largest number of samples that are used", "calibration_samples")
    seed: int = option(0, "seed of all random numbers")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision is not None:
            check_precision(self.precision)
        for name in ("calibration", "preprocess", "input_range", "evaluate"):
            if getattr(self, name) is not None and self.precision is None:
                raise UsageError(f"`{name}` is for an export that is quantized: choose one with `quantize`")
        if self.integer_io and self.precision != "int8":
            raise UsageError("`integer_io` needs `quantize` int8")
        limits.whole("calibration_samples", self.samples)
        limits.whole("seed", self.seed)

    @property
    def for_samples(self) -> CalibrationOptions:
        """How the samples are read or generated."""
        preprocess = None if self.calibration is None and self.evaluate is not None else self.preprocess
        return CalibrationOptions(
            data=self.calibration,
            preprocess=preprocess,
            input_range=self.input_range,
            samples=self.samples,
            seed=self.seed,
        )
