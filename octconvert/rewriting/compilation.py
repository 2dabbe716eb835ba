"""A converted model gets the class of its source, and is compiled as its source is."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional, functional_like_constructor

from octconvert.errors import first_line

_NOT_OWN = ("keras", "tensorflow", "builtins")


def carry_class(
    source: keras.Model, target: keras.Model, custom_objects: Mapping[str, Any] | None
) -> tuple[keras.Model, list[str]]:
    """The converted model as an instance of the source's class, as `keras.models.clone_model` makes it.

    Returns:
        ``target`` itself where the class is one of Keras or can not be kept; and notes on what is lost then.
    """
    own = [base for base in type(source).__mro__ if base.__module__.split(".")[0] not in _NOT_OWN]
    if not own:
        return target, []
    reason = _reason_against(source, dict(custom_objects or {}))
    if reason is None:
        try:
            model = type(source)(
                target._inputs_struct, target._outputs_struct, name=target.name, trainable=target.trainable
            )
            if len(model.weights) == len(target.weights):
                return model, []
            reason = "has weights besides those of its layers"
        except Exception as error:
            reason = f"can not be created from inputs and outputs: {first_line(error)}"
    methods = sorted({name for base in own for name in vars(base) if hasattr(Functional, name) and name[:2] != "__"})
    lost = f", and with it {', '.join(methods)}" if methods else ""
    note = f"the class {type(source).__name__} was left out{lost}: it {reason}; the result is a plain functional model"
    return target, [note]


def _reason_against(source: keras.Model, custom_objects: dict[str, Any]) -> str | None:
    name = keras.saving.get_registered_name(type(source))
    if not isinstance(source, Functional):
        return "is built layer by layer"
    if not functional_like_constructor(type(source)):
        return "takes other arguments than inputs and outputs"
    if keras.saving.get_registered_object(name, custom_objects) is None:
        return "is neither registered (keras.saving.register_keras_serializable) nor a custom object"
    return None


def carry_compilation(source: keras.Model, target: keras.Model, custom_objects: Mapping[str, Any] | None) -> list[str]:
    """Compile ``target`` with copies of the source's optimizer, losses and metrics.

    Not by ``compile_from_config``: that builds the optimizer, and a saved model would carry its empty state.

    Returns:
        Notes for the report: what was carried over, and what was not.
    """
    if not getattr(source, "compiled", False):
        return []
    try:
        with keras.saving.custom_object_scope(dict(custom_objects or {})):
            target.compile(**_arguments(source))
    except Exception as error:  # Keras raises many kinds for losses and metrics it can not make again
        return [f"compile() the converted model yourself: its settings could not be copied ({first_line(error)})"]
    return ["compiled as the source is; the optimizer starts afresh"]


def _arguments(source: keras.Model) -> dict[str, Any]:
    arguments = {key: _copied(value) for key, value in source._compile_config.config.items()}
    optimizer = getattr(source, "optimizer", None)
    if optimizer is not None:  # from the model: saving as .h5 removes it from the compile settings
        arguments["optimizer"] = type(optimizer).from_config(optimizer.get_config())
        arguments["auto_scale_loss"] = False  # the copied optimizer scales the loss where the source's does
    return arguments


def _copied(value: Any) -> Any:
    """A copy of one setting; functions have no state and are used themselves."""
    if isinstance(value, (types.FunctionType, str, int, float, type(None))):
        return value
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
