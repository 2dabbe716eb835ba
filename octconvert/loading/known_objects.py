"""What Keras takes the objects of a configuration for, and which of them are harmless in a file from a stranger.

Keras looks a name up in several places, by rules that differ between its formats. Here an object is harmless only if
everything that Keras could take it for is: a part of a network, or what the user registered or passed by name.
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

# The bases of what a network and its training settings are made of.
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
# Layers that run what is no network of Keras: a SavedModel elsewhere, a pickle, functions of other libraries.
OUTSIDE = (keras.layers.TFSMLayer, keras.layers.TorchModuleWrapper, keras.layers.JaxLayer)
# Layers that open the file that one of these arguments names.
READERS = (IndexLookup, keras.layers.TextVectorization, keras.layers.TFSMLayer)
FILES = ("vocabulary", "idf_weights", "filepath")

# Where functions on tensors are; what else is there builds objects from configurations.
FUNCTIONS = {
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

# Functions that are named alone are looked for here, and so are objects: "relu", "GlorotUniform", "adam".
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
# The old reader of .h5 files takes layers out of whatever is in this module of Keras.
CLASS_NAMES: list[Mapping[str, Any]] = [
    vars(keras.src.layers),
    {"Functional": keras.src.models.Functional, "Model": keras.Model, "Sequential": keras.Sequential},
    *map(vars, (keras.layers, keras.dtype_policies, keras.optimizers.schedules, keras.quantizers)),
    *FUNCTION_NAMES,
]


def of_the_user(name: Any, custom_objects: Mapping[str, Any]) -> Any:
    """What the user passed or registered under a name, or None."""
    return keras.saving.get_registered_object(name, dict(custom_objects)) if isinstance(name, str) else None


def classes(record: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> list[Any]:
    """Everything that Keras could build an object with this ``class_name`` from; nothing is imported for it."""
    name = record["class_name"]
    mine = [of_the_user(one, custom_objects) for one in (name, record.get("registered_name"))]
    found = [*mine, *_by_module(record, name), *(names.get(name) for names in CLASS_NAMES)]
    return [one for one in found if one is not None]


def functions(record: Mapping[str, Any], custom_objects: Mapping[str, Any]) -> list[Any]:
    """Everything that Keras could take a serialised function for; nothing is imported for it."""
    name = record.get("config")
    if not isinstance(name, str):
        return []
    found = [of_the_user(one, custom_objects) for one in (name, record.get("registered_name"))]
    if record.get("module") in (None, "builtins"):
        known = {**keras.saving.get_custom_objects(), **custom_objects}
        found += [one for key, one in known.items() if key.endswith(f">{name}")]  # Keras 3.6 wrote the name alone
        found += [names.get(name) for names in FUNCTION_NAMES]
    return [one for one in [*found, *_by_module(record, name)] if one is not None]


def _by_module(record: Mapping[str, Any], name: str) -> list[Any]:
    module = record.get("module")
    if not isinstance(module, str) or module.split(".")[0] != "keras":
        return []
    found = [api_export.get_symbol_from_name(f"{module}.{name}"), vars(sys.modules.get(module, object)).get(name)]
    return [one for one in found if one is not None]


def is_of_the_user(found: Any, custom_objects: Mapping[str, Any]) -> bool:
    """Whether the user passed or registered it: then it is the user's own word."""
    return any(found is one for one in (*custom_objects.values(), *keras.saving.get_custom_objects().values()))


def is_harmless_class(found: Any) -> bool:
    """Whether what a ``class_name`` names is a part of a network: it runs no foreign code."""
    if isinstance(found, type):
        return issubclass(found, PARTS) and not issubclass(found, OUTSIDE)
    return is_harmless_function(found)


def is_harmless_function(found: Any) -> bool:
    """Whether it is one of Keras' functions on tensors; no class is, as whoever calls it makes an object."""
    if not isinstance(found, FunctionType):
        return False
    if found in keras.src.activations.ALL_OBJECTS_DICT.values():
        return True
    module, _, name = str(api_export.get_name_from_symbol(found)).rpartition(".")
    return module in FUNCTIONS and name not in BUILDERS


def is_reader(found: Any) -> bool:
    """Whether a layer may open a file that its configuration names."""
    return isinstance(found, type) and issubclass(found, READERS)
