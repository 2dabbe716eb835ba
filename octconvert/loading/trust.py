"""Refuses what can not be loaded without the user's own code, before anything is built from the file."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from octconvert.loading import known_objects
from octconvert.loading.configuration import Job, Record, is_model, name_of, named, walk
from octconvert.loading.repairs.layer_arguments import CLASSES, own_class
from octconvert.loading.unsafe_content import Finding, Kind, findings

ASK = "pass it with --custom-objects module.py:Name"
TRUST = "pass --unsafe if you trust the file"
# Old names that are no classes of Keras 3 but are dealt with elsewhere.
TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}
SETTINGS = "compile_config"


def check(model: Record, job: Job) -> None:
    """Refuses code, files and foreign objects in the configuration, and the layers and activations nobody knows.

    Training settings of that sort are left out; the model does without.

    Raises:
        InputError: With the names of the classes and of their layers.
    """
    _check_settings(model, job)
    _refuse(job, (finding for finding in _untrusted(model, job) if finding.kind is not Kind.UNKNOWN))
    unknown: dict[str, list[str]] = {}
    for record in walk(model):
        for name in _unknown_names(record, job):
            unknown.setdefault(name, []).append(name_of(record))
    if unknown:
        what = "; ".join(f"'{name}' ({named(layers)})" for name, layers in unknown.items())
        job.refuse(f"uses {what}, which Keras does not know; {ASK}")


def check_repaired(model: Record, job: Job) -> None:
    """As `check`, of the configuration that Keras is about to build from: here nothing may be unknown any more.

    Raises:
        InputError: With the layer and the key.
    """
    _refuse(job, _untrusted(model, job))


def reason_against(settings: Record, job: Job) -> str | None:
    """Why training settings, or some of them by name, must not be built; None if they are harmless."""
    found = next(_untrusted({"config": settings}, job), None)
    return None if found is None else f"the file {found}"


def _untrusted(model: Record, job: Job) -> Iterator[Finding]:
    return iter(()) if job.unsafe else findings(model, job.custom_objects)


def _refuse(job: Job, found: Iterator[Finding]) -> None:
    for finding in found:
        job.refuse(f"{finding}; {ASK if finding.kind is Kind.UNKNOWN else TRUST}", finding.layer)


def _check_settings(model: Record, job: Job) -> None:
    for record in walk(model):
        reason = reason_against({SETTINGS: record.get(SETTINGS)}, job)
        if reason is not None:
            del record[SETTINGS]
            job.notes.add(f"the training settings could not be restored ({reason}); the model is not compiled")


# -- layers that nobody knows ------------------------------------------------------------------------------------------


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
    kind = record["class_name"]
    if kind in TENSORFLOW or (kind in CLASSES and "module" not in record) or own_class(record, job) is not None:
        return True
    module = str(record.get("module") or "")
    if module.split(".")[0] == "keras":  # a raw operation, a loss, ...
        return True
    names = (kind, record.get("registered_name"))
    return any(known_objects.of_the_user(name, job.custom_objects) is not None for name in names)


def _known_function(name: str, job: Job) -> bool:
    if known_objects.of_the_user(name, job.custom_objects) is not None:
        return True
    try:
        return callable(keras.activations.get(name))
    except ValueError:
        return False
