"""What is written, and how it is checked and evaluated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from octconvert.errors import UsageError
from octconvert.options.evaluation import EvaluationOptions
from octconvert.options.fields import option
from octconvert.options.limits import one_of
from octconvert.options.timing import EXPORT_SUFFIXES
from octconvert.text.nearest import listed
from octconvert.text.printable import printable

Thoroughness = Literal["quick", "deep"]
VERIFY: tuple[str, ...] = get_args(Thoroughness)
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
"""The endings of the files that Keras writes."""


def check_model_suffix(path: str | os.PathLike[str]) -> None:
    """Raises `UsageError` where the ending of a file to write is none of `MODEL_SUFFIXES`."""
    suffix = Path(path).suffix
    if suffix.lower() not in MODEL_SUFFIXES:
        hint = "; octconvert.export writes such files" if suffix.lower() in EXPORT_SUFFIXES else ""
        raise UsageError(
            f"{printable(os.fspath(path))}: the suffix must be {listed(MODEL_SUFFIXES)}; "
            f"received '{printable(suffix)}'{hint}"
        )


@dataclass(frozen=True)
class DeliveryOptions(EvaluationOptions):
    """The options for the checks, the evaluation, and the file that is written.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    output: str | Path | None = option(None, "file to save to (.keras or .h5); written only if every check passes")
    overwrite: bool = option(False, "replace an existing file")
    verify: str = option("quick", "how thoroughly the result is checked: 'quick', or 'deep'")
    strict: bool = option(False, "raise an error where no convolution can be converted")

    @property
    def is_hdf5(self) -> bool:
        """Whether the file that is written is one of HDF5, which holds no operations that are not layers."""
        return self.output is not None and Path(self.output).suffix.lower() != ".keras"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(VERIFY, self.verify, "verify")
