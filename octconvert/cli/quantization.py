"""The parameters of an export that is quantized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from cyclopts import Group, Parameter

from octconvert.cli.accuracy import preprocessing, value_range
from octconvert.cli.data_files import check_data
from octconvert.cli.parameters import FileName, option, typed, whole_number
from octconvert.options.fields import parse
from octconvert.options.quantization import PrecisionName, QuantizationOptions

QUANTIZATION = Group("Rounding the numbers", sort_key=2)
_option: Callable[..., Parameter] = partial(option, group=QUANTIZATION, options=QuantizationOptions)


@dataclass(frozen=True, kw_only=True)
class QuantizationParameters:
    """As they were typed; None or False where they were not."""

    quantize: Annotated[PrecisionName | None, _option("quantize", unset="they stay as they are")] = None
    integer_io: Annotated[bool, _option("integer_io", "For .tflite files.")] = False
    calibrate: Annotated[
        FileName | None,
        _option(
            "calibration",
            "An .npz or .npy file or a directory of images.",
            unset="synthetic images",
            metavar="PATH",
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        _option(
            "preprocess", "As for a conversion.", unset="nothing is done", metavar="HOW", allow_leading_hyphen=True
        ),
    ] = None
    input_range: Annotated[
        str | None,
        _option("input_range", unset="derived from the model", metavar="LO,HI", allow_leading_hyphen=True),
    ] = None
    calibration_samples: Annotated[str | None, _option("calibration_samples", metavar="INT")] = None
    evaluate: Annotated[
        FileName | None,
        _option(
            "evaluate",
            "An .npz file, or a directory with a subdirectory for each class.",
            unset="nothing is measured",
            metavar="PATH",
        ),
    ] = None
    metric: Annotated[str | None, _option("metric", "As for a conversion.", metavar="NAME")] = None
    seed: Annotated[str | None, _option("seed", metavar="INT")] = None

    @property
    def files(self) -> tuple[str | None, str | None]:
        """What is read."""
        return self.calibrate, self.evaluate

    def arguments(self) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.export` has for it.

        Raises:
            UsageError: a value makes no sense, or two flags contradict each other.
            InputError: there are no such data, or no labels.
        """
        values = typed(
            {
                "quantize": self.quantize,
                "integer_io": self.integer_io,
                "calibration": self.calibrate,
                "preprocess": preprocessing(self.preprocess),
                "input_range": value_range(self.input_range),
                "calibration_samples": whole_number(self.calibration_samples),
                "evaluate": self.evaluate,
                "metric": self.metric,
                "seed": whole_number(self.seed),
            }
        )
        parse(QuantizationOptions, values)  # refused before TensorFlow is started for it
        check_data(self.calibrate, self.evaluate)
        return values


DEFAULT_QUANTIZATION = QuantizationParameters()
"""None of the flags typed."""
