"""Refuses what can not be loaded without the user's own code, before anything is built from the file."""

from __future__ import annotations

from typing import Any

import keras

from octconvert.io.keys import CLASSES, own_class
from octconvert.io.tree import Job, Record, is_model, name_of, named, walk

ASK = "pass it with --custom-objects module.py:Name"
# Old names that are no classes of Keras 3 but are dealt with elsewhere.
TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}


def check(model: Record, job: Job) -> None:
    """Refuses unknown layer classes, unknown activations and code stored in the file.

    Raises:
        InputError: With the names of the classes and of their layers.
    """
    unknown: dict[str, list[str]] = {}
    for record in walk(model):
        if record["class_name"] == "Lambda" and not job.unsafe and _holds_code(record):
            job.refuse("is a Lambda with Python code in the file; pass --unsafe if you trust the file", name_of(record))
        for name in _unknown_names(record, job):
            unknown.setdefault(name, []).append(name_of(record))
    if unknown:
        what = "; ".join(f"'{name}' ({named(layers)})" for name, layers in unknown.items())
        job.refuse(f"uses {what}, which Keras does not know; {ASK}")


def _holds_code(record: Record) -> bool:
    config = record["config"]
    parts = [config.get(key) for key in ("function", "output_shape", "mask")]
    kinds = [config.get(key) for key in ("function_type", "output_shape_type")]
    if "lambda" in kinds or isinstance(parts[0], list):
        return True
    return any(isinstance(part, dict) and part.get("class_name") == "__lambda__" for part in parts)


def _unknown_names(record: Record, job: Job) -> list[str]:
    kind, config = record["class_name"], record["config"]
    if is_model(record) and kind in ("Functional", "Sequential", "Model"):
        return []
    names = [] if _known_class(record, job) else [kind]
    if isinstance(config, dict) and own_class(record, job) is not None:
        activation = config.get("activation")
        if isinstance(activation, str) and not _known_function(activation, job):
            names.append(activation)
        function = config.get("function")
        if kind == "Lambda" and isinstance(function, str) and function not in job.custom_objects:
            names.append(function)
    return names


def _known_class(record: Record, job: Job) -> bool:
    kind, registered = record["class_name"], record.get("registered_name")
    if kind in TENSORFLOW or (kind in CLASSES and "module" not in record) or own_class(record, job) is not None:
        return True
    module = str(record.get("module") or "")
    if module.split(".")[0] == "keras":  # a raw operation, a loss, ...
        return True
    names = [name for name in (kind, registered) if name]
    return any(name in job.custom_objects or keras.saving.get_registered_object(name) for name in names)


def _known_function(name: str, job: Job) -> bool:
    if name in job.custom_objects or keras.saving.get_registered_object(name):
        return True
    found: Any = getattr(keras.activations, name, None)
    if found is None:
        try:
            found = keras.activations.get(name)
        except ValueError:
            return False
    return callable(found)
