"""The objects that Keras may build from a configuration, and which of them are harmless in a file of unknown origin.

Keras looks a name up in several places, by rules that differ between its formats. Here a name is harmless only if
every object is that Keras may choose: a part of a network, or an object that the user registered or passed by name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import keras
import keras.src
from keras.src import api_export
from keras.src.layers.preprocessing.index_lookup import IndexLookup
from keras.src.ops.operation import Operation

# Base classes of the parts of a network and of its training settings.
PARTS = (
    keras.Layer,  # and models
    Operation,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.DTypePolicy,
    keras.Loss,
    keras.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.Quantizer,
    keras.quantizers.QuantizationConfig,
    keras.random.SeedGenerator,
)
# Layers that run more than a network of Keras: a SavedModel elsewhere, a pickle, functions of other libraries.
FOREIGN_CODE = (keras.layers.TFSMLayer, keras.layers.TorchModuleWrapper, keras.layers.JaxLayer)
# Layers that open a file, and the arguments that name it.
FILE_READERS = (IndexLookup, keras.layers.TextVectorization, keras.layers.TFSMLayer)
FILE_ARGUMENTS = ("vocabulary", "idf_weights", "filepath")

# Modules of functions on tensors, and what else is in them: functions that build objects from configurations.
FUNCTION_MODULES = {
    "keras.activations",
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.ops",
    "keras.ops.image",
    "keras.quantizers",
    "keras.random",
    "keras.regularizers",
}
BUILDERS = {"get", "serialize", "deserialize"}

# Where Keras looks for a bare name: "relu", "GlorotUniform", "adam".
_BUILT_IN = (
    keras.src.activations,
    keras.src.constraints,
    keras.src.initializers,
    keras.src.losses,
    keras.src.metrics,
    keras.src.optimizers,
    keras.src.regularizers,
)
_KINDS = (
    keras.activations,
    keras.constraints,
    keras.initializers,
    keras.losses,
    keras.metrics,
    keras.optimizers,
    keras.regularizers,
)
FUNCTION_NAMES: list[Mapping[str, Any]] = [*map(vars, _KINDS), *(kind.ALL_OBJECTS_DICT for kind in _BUILT_IN)]
# The old reader of .h5 files accepts anything in the first of these modules as a layer.
CLASS_NAMES: list[Mapping[str, Any]] = [
    vars(keras.src.layers),
    {"Functional": keras.src.models.Functional, "Model": keras.Model, "Sequential": keras.Sequential},
    *map(vars, (keras.layers, keras.dtype_policies, keras.optimizers.schedules, keras.quantizers)),
    *FUNCTION_NAMES,
]


def custom_object(name: Any, custom_objects: Mapping[str, Any]) -> Any:
    """The object that the user passed or registered under a name, or None."""
    return keras.saving.get_registered_object(name, dict(custom_objects)) if isinstance(name, str) else None


def classes(record: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> list[Any]:
    """All objects that Keras may use for this ``class_name``; nothing is imported to find them."""
    name = record["class_name"]
    custom = [custom_object(one, custom_objects) for one in (name, record.get("registered_name"))]
    candidates = [*custom, *_by_module(record, name), *(names.get(name) for names in CLASS_NAMES)]
    return [one for one in candidates if one is not None]


def functions(record: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> list[Any]:
    """All objects that Keras may use for a serialized function; nothing is imported to find them."""
    name = record.get("config")
    if not isinstance(name, str):
        return []
    candidates = [custom_object(one, custom_objects) for one in (name, record.get("registered_name"))]
    if record.get("module") in (None, "builtins"):
        known = {**keras.saving.get_custom_objects(), **custom_objects}
        candidates += [one for key, one in known.items() if key.endswith(f">{name}")]  # Keras 3.6 wrote the name alone
        candidates += [names.get(name) for names in FUNCTION_NAMES]
    return [one for one in [*candidates, *_by_module(record, name)] if one is not None]


def _by_module(record: Mapping[str, Any], name: str) -> list[Any]:
    module = record.get("module")
    if not isinstance(module, str) or module.split(".")[0] != "keras":
        return []
    candidates = [api_export.get_symbol_from_name(f"{module}.{name}"), vars(sys.modules.get(module, object)).get(name)]
    return [one for one in candidates if one is not None]


def is_custom(candidate: Any, custom_objects: Mapping[str, Any]) -> bool:
    """Whether the user passed or registered the object."""
    return any(candidate is one for one in (*custom_objects.values(), *keras.saving.get_custom_objects().values()))


def is_harmless_class(candidate: Any) -> bool:
    """Whether the object of a ``class_name`` is a part of a network and runs no foreign code."""
    if isinstance(candidate, type):
        return issubclass(candidate, PARTS) and not issubclass(candidate, FOREIGN_CODE)
    return is_harmless_function(candidate)


def is_harmless_function(candidate: Any) -> bool:
    """Whether the object is one of Keras' functions on tensors; a class is not, since calling it creates an object."""
    if not isinstance(candidate, FunctionType):
        return False
    if candidate in keras.src.activations.ALL_OBJECTS_DICT.values():
        return True
    module, _, name = str(api_export.get_name_from_symbol(candidate)).rpartition(".")
    return module in FUNCTION_MODULES and name not in BUILDERS


def reads_files(candidate: Any) -> bool:
    """Whether the object is a layer that may open a file named in its configuration."""
    return isinstance(candidate, type) and issubclass(candidate, FILE_READERS)
