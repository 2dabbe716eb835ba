"""Saving a converted model: a file gets its name only after it was loaded again and predicted the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from octconvert.errors import CheckError, UsageError
from octconvert.loading.trust import SETTINGS
from octconvert.loading.unsafe_content import NOTHING, Finding, InMemory, Kind, find_unsafe
from octconvert.model import examples, functions
from octconvert.model.execution import run
from octconvert.model.graph import OPERATION, CallGraph
from octconvert.results.report import Check
from octconvert.verification import checks
from octconvert.verification.keras_files import save


def check_holds(path: Path, graph: CallGraph) -> None:
    """Refuse a target whose format can not hold the model, before there is any long work for it.

    Raises:
        UsageError: HDF5, and an operation that Keras would look for among its layers when it loads the file.
    """
    if path.suffix == ".keras":
        return
    for call in graph.calls:
        raw = call.kind == OPERATION and not isinstance(call.operation, keras.layers.Layer)
        if raw and not (hasattr(keras.layers, call.class_name) and len(call.node.arguments.args) == 1):
            raise UsageError(
                f"{path}: HDF5 does not hold operations of keras.ops, as '{call.name}' ({call.class_name}) is; "
                "name a .keras file"
            )


def save_checked(model: keras.Model, path: Path, overwrite: bool, custom_objects: Mapping[str, Any] | None) -> Check:
    """Save beside the target, load that file, compare its outputs with the model's, rename.

    Raises:
        UsageError: the path can not be written, or exists and ``overwrite`` is false.
        CheckError: the saved file does not load, predicts something else, or holds code that the model does not run;
            no file is left or changed.
    """
    samples = examples.example_inputs(model)
    expected = run(model, samples)

    def check(temporary: Path) -> Check:
        safe = _is_safe(temporary, model, custom_objects)

        def reload(path: Path) -> keras.Model:
            return keras.saving.load_model(path, custom_objects=custom_objects, compile=False, safe_mode=safe)

        result = checks.check_reload(temporary, reload, expected, samples)
        if not result.passed:
            raise CheckError(failure(result))
        return result

    return save(model, path, overwrite=overwrite, check=check)


def failure(check: Check) -> str:
    """The error line for a failed check."""
    return f"check '{check.name}' failed, nothing was written: {check.detail}"


def _is_safe(path: Path, model: keras.Model, custom_objects: Mapping[str, Any] | None) -> bool:
    """Whether a file just written holds no code and names no file; if it does, they must be the model's own.

    A model may have come from a file that Keras did not decode wholly. The next reader may: .h5 and .keras differ.
    """
    written, own = _configuration(path), dict(custom_objects or {})
    new = next(_unsafe(written, own, functions.held(model)), None)
    if new is not None:
        raise CheckError(
            f"nothing was written: layer '{new.layer}' {new}, and none of the model's own functions is that; "
            "build that layer again"
        )
    return next(_unsafe(written, own, NOTHING), None) is None


def _unsafe(config: dict[str, Any], custom_objects: Mapping[str, Any], in_memory: InMemory) -> Iterator[Finding]:
    findings = find_unsafe(config, custom_objects, in_memory)
    return (finding for finding in findings if finding.kind is not Kind.UNKNOWN)


def _configuration(path: Path) -> dict[str, Any]:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        return {**config, SETTINGS: None}  # not loaded
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["model_config"])
