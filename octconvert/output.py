"""Saving a converted model: a file gets its name only after it was loaded again and predicted the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from octconvert import io, verify
from octconvert.errors import CheckError
from octconvert.execution import run
from octconvert.report.result import Check


def save_checked(model, path: Path, overwrite: bool, custom_objects: Mapping[str, Any] | None) -> Check:
    """Save beside the target, load that, compare, rename.

    Raises:
        UsageError: the path can not be written, or exists and ``overwrite`` is false.
        CheckError: the saved file does not load or predicts something else; no file is left or changed.
    """
    samples, found = verify.example_inputs(model), []
    expected = run(model, samples)

    def reload(path: Path):
        # The file holds what this process has just written, so nothing foreign can run.
        return keras.saving.load_model(path, custom_objects=custom_objects, compile=False, safe_mode=False)

    def check(temporary: Path) -> None:
        found.append(verify.check_reload(temporary, reload, expected, samples))
        if not found[0].passed:
            raise CheckError(failure(found[0]))

    io.save(model, path, overwrite=overwrite, check=check)
    return found[0]


def failure(check: Check) -> str:
    """The error line for a failed check."""
    return f"check '{check.name}' failed, nothing was written: {check.detail}"
