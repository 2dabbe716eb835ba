"""A fresh copy of one layer or operation.

A layer's configuration names functions and custom objects. One that is not registered is not found by its name, or
another of that name is taken. The source is at hand here, so the copy gets the objects themselves.
"""

from __future__ import annotations

import inspect
import types
from typing import Any

import keras
from keras import constraints, initializers, regularizers
from keras.src.ops.operation import Operation
from keras.src.saving.serialization_lib import SafeModeScope

from octconvert.loading.known_objects import FOREIGN_CODE
from octconvert.model.functions import put_back, referenced
from octconvert.model.known_functions import standard

_OBJECTS = (types.FunctionType, constraints.Constraint, initializers.Initializer, regularizers.Regularizer)


_EVERY_LAYER_HAS = ("name", "trainable", "dtype", "autocast", "activity_regularizer")


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """The configuration of a layer, with objects in the place of the names of objects and of code."""
    config = _own_config(layer)
    if isinstance(layer, keras.layers.Lambda):
        kept = {"function": layer.function, "mask": layer.mask, "arguments": layer.arguments}
        return {**config, **kept, "output_shape": layer._output_shape}
    if _takes_objects(type(layer)):
        own = {key: getattr(layer, key, None) for key in config}
        own["activation"] = standard(own.get("activation"))
        config = {**config, **{key: value for key, value in own.items() if isinstance(value, _OBJECTS)}}
    return put_back(config, layer)


def _own_config(layer: keras.layers.Layer) -> dict[str, Any]:
    """``get_config``; Keras has none for a layer without a constructor of its own that has a policy of dtypes."""
    try:
        return layer.get_config()
    except NotImplementedError:
        parameters = list(inspect.signature(type(layer).__init__).parameters.values())
        if any(each.kind is not each.VAR_KEYWORD and each.name not in _EVERY_LAYER_HAS for each in parameters[1:]):
            raise
        return {"name": layer.name, "trainable": layer.trainable, "dtype": layer.dtype_policy.name}


def _takes_objects(layer_class: Any) -> bool:
    """Whether ``from_config`` hands these entries on to the constructor, which takes a name or an object."""
    module = layer_class.from_config.__func__.__module__
    built_in = module.startswith("keras.src.layers.") and ".preprocessing." not in module
    return built_in or layer_class.from_config.__func__ is Operation.from_config.__func__


def rebuild(layer_class: Any, config: dict[str, Any]) -> Any:
    """A layer from `config_of`'s answer. Code that is still in there is not from the layer, and is not run."""
    if issubclass(layer_class, keras.layers.Lambda):
        return Operation.from_config.__func__(layer_class, config)  # its own would look for code as text
    scope: dict[str, types.FunctionType] = {}
    kept = {key for key, value in config.items() if _takes_objects(layer_class) and isinstance(value, _OBJECTS)}
    config = {key: value if key in kept else referenced(value, scope) for key, value in config.items()}
    safe = not issubclass(layer_class, FOREIGN_CODE)  # those name what the layer itself has open
    with SafeModeScope(safe), keras.saving.CustomObjectScope(scope):
        return layer_class.from_config(config)


def copy_operation(operation: Operation, name: str, changes: dict[str, Any] | None = None) -> Any:
    """A copy of a raw operation, which has arguments and no weights; not all arguments have a configuration.

    ``changes``: arguments to replace, by attribute name.
    """
    copy = object.__new__(type(operation))
    vars(copy).update({**vars(operation), **(changes or {})}, name=name, _inbound_nodes=[], _outbound_nodes=[])
    written = vars(operation).get("_auto_config")  # what a file is written from
    if changes and written is not None:
        vars(copy)["_auto_config"] = type(written)(**{**written.config, **changes})
    return copy


def renamed(source: Operation, name: str) -> Any:
    """A fresh copy of a layer or raw operation, under another name."""
    if not isinstance(source, keras.layers.Layer):
        return copy_operation(source, name)
    return rebuild(type(source), {**config_of(source), "name": name})


def has_finalized_state(layer: Any) -> bool:
    """Whether the layer (Normalization and the like) keeps numbers that follow from its weights."""
    return callable(getattr(layer, "finalize_state", None))


def finalize(layer: Any) -> None:
    """Compute such numbers again (``layer.finalize_state``), after the weights were assigned."""
    if has_finalized_state(layer):
        layer.finalize_state()
