"""Refuses unsafe and unknown content, before anything is built from the file."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from octconvert.loading import known_objects
from octconvert.loading.context import LoadingContext, listed
from octconvert.loading.records import Record, is_model, name_of, walk
from octconvert.loading.repairs.layer_arguments import RENAMED_CLASSES, own_class
from octconvert.loading.unsafe_content import Finding, Kind, find_unsafe

DEFINE = "pass its Python object in `custom_objects`"
TRUST = "use `unsafe=True` if you trust the file"
# Old names without a class in Keras 3 that other modules handle.
TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}
SETTINGS = "compile_config"


def check(model: Record, context: LoadingContext) -> None:
    """Refuses code, files and foreign objects in the configuration, and unknown layers and activations.

    Training settings with such content are left out; the model is loaded without them.

    Raises:
        InputError: With the names of the classes and of their layers.
    """
    _drop_unsafe_settings(model, context)
    _refuse(context, (finding for finding in _unsafe(model, context) if finding.kind is not Kind.UNKNOWN))
    unknown: dict[str, list[str]] = {}
    for record in walk(model):
        for name in _unknown_names(record, context):
            unknown.setdefault(name, []).append(name_of(record))
    if unknown:
        names = "; ".join(f"'{name}' ({listed(layers)})" for name, layers in unknown.items())
        context.refuse(f"uses {names}, which Keras does not know; {DEFINE}")


def check_repaired(model: Record, context: LoadingContext) -> None:
    """As `check`, of the configuration that Keras will build from: here nothing may be unknown.

    Raises:
        InputError: With the layer and the key.
    """
    _refuse(context, _unsafe(model, context))


def reason_against(settings: Record, context: LoadingContext) -> str | None:
    """Why training settings, or some of them by name, must not be built; None if they are safe."""
    finding = next(_unsafe({"config": settings}, context), None)
    return None if finding is None else f"the file {finding}"


def _unsafe(model: Record, context: LoadingContext) -> Iterator[Finding]:
    return iter(()) if context.unsafe else find_unsafe(model, context.custom_objects)


def _refuse(context: LoadingContext, findings: Iterator[Finding]) -> None:
    for finding in findings:
        context.refuse(f"{finding}; {DEFINE if finding.kind is Kind.UNKNOWN else TRUST}", finding.layer)


def _drop_unsafe_settings(model: Record, context: LoadingContext) -> None:
    for record in walk(model):
        reason = reason_against({SETTINGS: record.get(SETTINGS)}, context)
        if reason is not None:
            del record[SETTINGS]
            context.notes.add(f"the training settings could not be restored ({reason}); the model is not compiled")


# -- unknown layers ----------------------------------------------------------------------------------------------------


def _unknown_names(record: Record, context: LoadingContext) -> list[str]:
    kind, config = record["class_name"], record["config"]
    if is_model(record) and kind in ("Functional", "Sequential", "Model"):
        return []
    names = [] if _known_class(record, context) else [kind]
    if isinstance(config, dict) and own_class(record, context) is not None:
        activation = config.get("activation")
        if isinstance(activation, str) and not _known_function(activation, context):
            names.append(activation)
        function = config.get("function")
        if kind == "Lambda" and isinstance(function, str) and function not in context.custom_objects:
            names.append(function)
    return names


def _known_class(record: Record, context: LoadingContext) -> bool:
    kind = record["class_name"]
    if (
        kind in TENSORFLOW
        or (kind in RENAMED_CLASSES and "module" not in record)
        or own_class(record, context) is not None
    ):
        return True
    module = str(record.get("module") or "")
    if module.split(".")[0] == "keras":  # a raw operation, a loss, ...
        return True
    names = (kind, record.get("registered_name"))
    return any(known_objects.custom_object(name, context.custom_objects) is not None for name in names)


def _known_function(name: str, context: LoadingContext) -> bool:
    if known_objects.custom_object(name, context.custom_objects) is not None:
        return True
    try:
        return callable(keras.activations.get(name))
    except ValueError:
        return False
