"""A fresh copy of one layer or operation, from its configuration.

A configuration names functions and custom objects; one that nobody registered could not be found again by its name, or
another of that name would be taken. The copy is made beside its source, so it gets the objects themselves.
"""

from __future__ import annotations

import types

import keras
from keras import constraints, initializers, regularizers
from keras.src.ops.operation import Operation
from keras.src.saving.serialization_lib import SafeModeScope

_OBJECTS = (types.FunctionType, constraints.Constraint, initializers.Initializer, regularizers.Regularizer)


def config_of(operation) -> dict:
    """The configuration of a layer or operation, with objects in the place of the names of objects."""
    config = operation.get_config()
    if isinstance(operation, keras.layers.Lambda):
        kept = {"function": operation.function, "mask": operation.mask, "arguments": operation.arguments}
        return {**config, **kept, "output_shape": operation._output_shape}
    if type(operation).from_config.__func__ is not Operation.from_config.__func__:
        return config  # it reads its configuration in its own way
    found = {key: getattr(operation, key, None) for key in config}
    return {**config, **{key: value for key, value in found.items() if isinstance(value, _OBJECTS)}}


def rebuild(layer_class, config: dict):
    """A layer or operation from `config_of`'s answer. Nothing in it is new code: the source runs it already."""
    with SafeModeScope(False):
        if issubclass(layer_class, keras.layers.Lambda):
            return Operation.from_config.__func__(layer_class, config)  # its own would look for code as text
        return layer_class.from_config(config)
