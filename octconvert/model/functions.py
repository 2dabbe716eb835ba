"""The Python functions that a model in memory holds, and how they look in its configuration.

A configuration holds the byte code of such a function, or its name. Neither needs to be turned into a function again,
which is how foreign code would come in: the function itself is at hand.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any

import keras
from keras.src.saving import object_registration, serialization_lib
from keras.src.utils import python_utils

from octconvert.loading.unsafe_content import InMemory

_HOLDERS = (
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.Loss,
    serialization_lib.SerializableDict,  # the settings of compile()
)
LAMBDA = "<lambda>"  # Keras writes the code of these, and the names of others


def held(model: keras.Model) -> InMemory:
    """What a model in memory holds that would be code, or the name of a file, in its configuration."""
    layers = model._flatten_layers(include_self=False)
    own = frozenset(functions(layers))
    codes = (python_utils.func_dump(function)[0] for function in own if function.__name__ == LAMBDA)
    files = (layer.filepath for layer in layers if isinstance(layer, keras.layers.TFSMLayer))
    return InMemory(frozenset(codes), own.union(map(type, layers)), frozenset(files))


def functions(layers: Iterable[Any]) -> Iterator[FunctionType]:
    """The Python functions among the attributes of layers, and in the objects that a configuration is made from."""
    for layer in layers:
        waiting, seen = list(vars(layer).values()), set()
        while waiting:
            value = waiting.pop()
            if isinstance(value, FunctionType):
                yield value
            elif id(value) not in seen:
                seen.add(id(value))
                waiting += _inside(value)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return vars(value).values() if isinstance(value, _HOLDERS) else ()


def put_back(config: dict[str, Any], layer: Any) -> dict[str, Any]:
    """A layer's configuration with the functions themselves, at any depth, where their code or name is written."""
    forms: dict[Hashable, set[FunctionType]] = {}
    for function in functions(layer._flatten_layers()):
        forms.setdefault(_form(function), set()).add(function)
    forms.pop(None, None)

    def written(value: Any) -> FunctionType | None:
        form = _written_form(value) if isinstance(value, dict) else None
        meant = forms.get(form, set())
        known = len(meant) == 1 or not isinstance(form, str)  # two of one name may differ, two of one code do not
        return next(iter(meant), None) if known else None

    return _replaced(config, written)


def referenced(config: Any, scope: dict[str, FunctionType]) -> Any:
    """The reverse: names in the place of functions, in the form in which Keras finds them in a custom object scope.

    Args:
        scope: Gets the functions by name.
    """

    def reference(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, FunctionType):
            return None
        name = f"octconvert>function_{len(scope)}"
        scope[name] = value
        return {"class_name": "function", "module": "builtins", "config": name, "registered_name": name}

    return _replaced(config, reference)


def _replaced(value: Any, change: Any) -> Any:
    new = change(value)
    if new is not None:
        return new
    if isinstance(value, dict):
        return {key: _replaced(item, change) for key, item in value.items()}
    return type(value)(_replaced(item, change) for item in value) if type(value) in (list, tuple) else value


def _form(function: FunctionType) -> Hashable:
    if function.__name__ == LAMBDA:
        return _code_form(*python_utils.func_dump(function))
    return object_registration.get_registered_name(function)


def _written_form(value: dict[str, Any]) -> Hashable:
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__lambda__" and isinstance(config, dict):
        dumped = config.get("value") or [config.get(key) for key in ("code", "defaults", "closure")]
        return _code_form(*dumped) if len(dumped) == 3 else None
    return config if kind == "function" and isinstance(config, str) else None


def _code_form(code: Any, defaults: Any, closure: Any) -> Hashable:
    try:
        values = [serialization_lib.serialize_keras_object(part) for part in (defaults, closure)]
        return code, json.dumps(values, default=repr, sort_keys=True)
    except Exception:  # what Keras can not write is in no configuration
        return None
