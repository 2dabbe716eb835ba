"""Compiles a converted model as its source is."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import keras

from octconvert.errors import first_line


def carry_compilation(source, target, custom_objects: Mapping[str, Any] | None) -> list[str]:
    """Compile ``target`` with copies of the source's optimizer, losses and metrics.

    Not by ``compile_from_config``: that builds the optimizer, and a saved model would carry its empty state.

    Returns:
        What was carried over and what was not, as notes for the report.
    """
    if not getattr(source, "compiled", False):
        return []
    try:
        with keras.saving.custom_object_scope(dict(custom_objects or {})):
            target.compile(**_arguments(source))
    except Exception as error:  # Keras raises many kinds for losses and metrics it can not make again
        return [f"compile() the converted model yourself: its settings could not be copied ({first_line(error)})"]
    return ["compiled as the source is; the optimizer starts afresh"]


def _arguments(source) -> dict[str, Any]:
    arguments = {key: _copied(value) for key, value in source._compile_config.config.items()}
    optimizer = getattr(source, "optimizer", None)
    if optimizer is not None:  # asked of the model: saving a model as .h5 takes it out of its compile settings
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
        arguments["auto_scale_loss"] = False  # the copy scales the loss already where the source's does
    return arguments


def _copied(value):
    """A copy of one setting; functions have no state and are handed on themselves."""
    if isinstance(value, (types.FunctionType, str, int, float, type(None))):
        return value
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
