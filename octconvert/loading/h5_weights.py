"""Weights of an .h5 file: matched by name or order, converted to Keras 3's layout, assigned to the model.

Arrays are read one at a time, each after its shape was compared with that of the architecture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from octconvert.errors import one_line
from octconvert.loading.context import LoadingContext
from octconvert.loading.inspection import InspectedFile, StoredWeight

# Name of a variable in old files -> its name in Keras 3. Keras 1's running_std is the variance.
OLD_NAMES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
    "alphas": "alpha",
}
KERAS1 = re.compile(r"^(.*)_(W|b|gamma|beta|running_mean|running_std|depthwise_kernel|pointwise_kernel|alphas)$")
FLIPPED = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose")


@dataclass(frozen=True)
class SavedArray:
    """One array of the file, with the layer and variable of its name; the layer has its name in the model."""

    layer: str
    variable: str
    data: h5py.Dataset


def stored_shapes(file: InspectedFile) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of the weights by layer, with the layer's name in the file."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for layer, weights in file.layers:
        for weight in weights:
            old = KERAS1.match(weight.name.split(":")[0])
            shapes.setdefault(old.group(1) if old else layer, []).append(weight.shape)
    return shapes


def is_from_theano(file: InspectedFile) -> bool:
    """Whether Keras ran on Theano, which convolves with the flipped kernel.

    Keras 2 states it. Keras 1 does not, but names of TensorFlow's variables always end in ``:0``, Theano's never do.
    """
    if file.backend is not None:
        return file.backend == "theano"
    names = [weight.name for _, weights in file.layers for weight in weights]
    return (file.keras_version or "1").startswith("1") and bool(names) and not any(":" in name for name in names)


def assign(source: InspectedFile, model: keras.Model, context: LoadingContext) -> None:
    """Assigns all weights of ``model`` from the file.

    Raises:
        InputError: The weights do not fit the architecture the same file holds, or the file has been changed.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if context.theano:
        context.notes.add("the kernels were flipped, because Theano wrote the file")
    try:
        with h5py.File(context.path, "r") as file:
            source.fingerprint.check(context.path)
            group = file["model_weights"]
            for old, weights in source.layers:
                _assign_layer(group[old], old, weights, layers, context)
            if layers:
                context.refuse("has no weights in the file; save the complete model again", next(iter(layers)))
            if source.top_level_weights:
                _assign_top_level(group["top_level_model_weights"], source.top_level_weights, model, context)
            source.fingerprint.check(context.path)
    except (OSError, KeyError, RuntimeError) as error:
        context.refuse(f"is a damaged or incomplete HDF5 file ({one_line(error)}); download or save it again")


def _assign_layer(
    group: h5py.Group,
    old: str,
    weights: tuple[StoredWeight, ...],
    layers: dict[str, keras.Layer],
    context: LoadingContext,
) -> None:
    """Assigns the weights of one layer, and removes it from the layers that still need theirs."""
    if not weights:
        return
    name = context.renamed.get(old, old)
    if name not in layers:
        context.refuse("has weights in the file but is not in its architecture; save the model again", old)
    _assign_arrays(layers.pop(name), [_saved_array(group, weight.name, context) for weight in weights], context)


def _assign_top_level(
    group: h5py.Group, weights: tuple[StoredWeight, ...], model: keras.Model, context: LoadingContext
) -> None:
    """Assigns weights of the model that belong to none of its layers."""
    inner = {id(variable) for layer in model.layers for variable in layer.weights}
    own = [variable for variable in model.weights if id(variable) not in inner]
    if [weight.shape for weight in weights] != [tuple(v.shape) for v in own]:
        if own:
            context.refuse(
                "has weights outside of its layers that do not fit its architecture; save the complete model again"
            )
        context.notes.add("weights that belong to no layer were left out")
        return
    for variable, weight in zip(own, weights, strict=True):
        variable.assign(np.asarray(group[weight.name]))


def _saved_array(group: h5py.Group, name: str, context: LoadingContext) -> SavedArray:
    plain = name.split(":")[0]
    layer, _, variable = plain.rpartition("/")
    old = KERAS1.match(plain)
    if context.version < 2 and old:
        layer, variable = old.groups()
    return SavedArray(context.renamed.get(layer, layer), OLD_NAMES.get(variable, variable), group[name])


def _leaves(layer: keras.Layer) -> list[keras.Layer]:
    """The layers inside nested models; a wrapper counts as one layer."""
    if isinstance(layer, keras.Model):
        return [leaf for inner in layer.layers for leaf in _leaves(inner)]
    return [layer]


def _assign_arrays(layer: keras.Layer, arrays: list[SavedArray], context: LoadingContext) -> None:
    variables = _match_by_name(layer, arrays) or _match_by_order(layer, arrays)
    if variables is None:
        context.refuse(f"needs {len(layer.weights)} weights, but the file has {len(arrays)} for it", layer.name)
    for (leaf, variable), array in zip(variables, arrays, strict=True):
        # The layout of an array of the same shape that takes no memory: nothing is read that does not fit.
        shape = _in_keras3_layout(leaf, variable, np.broadcast_to(np.int8(0), array.data.shape), context).shape
        if shape != tuple(variable.shape):
            shapes = f"{shape} in the file and {tuple(variable.shape)} in the architecture"
            context.refuse(f"has '{variable.name}' of shape {shapes}", leaf.name)
        variable.assign(_in_keras3_layout(leaf, variable, _numbers(array.data, leaf, context), context))


def _numbers(data: h5py.Dataset, leaf: keras.Layer, context: LoadingContext) -> np.ndarray:
    """The array; HDF5 has no bfloat16 and keeps two bytes without a type."""
    value = np.asarray(data)
    if value.dtype.kind != "V":
        return value
    if value.dtype.itemsize != 2 or leaf.variable_dtype != "bfloat16":
        context.refuse("has a weight that does not consist of numbers; save the model again", leaf.name)
    return value.view(tf.bfloat16.as_numpy_dtype)


def _match_by_name(layer: keras.Layer, arrays: list[SavedArray]) -> list[tuple[keras.Layer, Any]] | None:
    """(layer, variable) for each array by its name, inside nested models; None if the names are not unique."""
    if not isinstance(layer, keras.Model) or len(layer.weights) != len(arrays):
        return None
    variables: dict[tuple[str, str], tuple[keras.Layer, Any]] = {}
    for leaf in _leaves(layer):
        for variable in leaf.weights:
            # In tf.keras the kernel of a DepthwiseConv2D is named after the layer, in Keras 3 it is just "kernel".
            depthwise = variable.name == "kernel" and "Depthwise" in type(leaf).__name__
            key = (leaf.name, "depthwise_kernel" if depthwise else variable.name)
            if key in variables:
                return None
            variables[key] = (leaf, variable)
    keys = [(array.layer, array.variable) for array in arrays]
    if len(set(keys)) != len(keys) or not all(key in variables for key in keys):
        return None
    return [variables[key] for key in keys]


def _match_by_order(layer: keras.Layer, arrays: list[SavedArray]) -> list[tuple[keras.Layer, Any]] | None:
    """(layer, variable) for each array in the order of all versions: trainable weights, then the others."""
    ordered = [*layer.trainable_weights, *layer.non_trainable_weights]
    if len(ordered) != len(arrays):
        return None
    owner = {id(variable): leaf for leaf in _leaves(layer) for variable in leaf.weights}
    return [(owner.get(id(variable), layer), variable) for variable in ordered]


def _in_keras3_layout(leaf: keras.Layer, variable: Any, value: np.ndarray, context: LoadingContext) -> np.ndarray:
    """The array in the layout of Keras 3; the counterpart of ``preprocess_weights_for_loading`` in Keras 2."""
    kind = next((base.__name__ for base in type(leaf).__mro__ if base.__name__ in FLIPPED), None)
    if kind is None or variable.name != "kernel" or value.ndim < 3:
        return value if value.shape == tuple(variable.shape) else _squeezed(value, tuple(variable.shape))
    if context.version < 2:
        value = _keras1_kernel(kind, value, leaf.data_format == "channels_first")
    if context.theano:
        value = value[(slice(None, None, -1),) * (value.ndim - 2)]
    return value


def _keras1_kernel(kind: str, kernel: np.ndarray, channels_first: bool) -> np.ndarray:
    axes = tuple(range(kernel.ndim))
    if kind == "Conv1D":
        return kernel[:, 0] if kernel.ndim == 4 and kernel.shape[1] == 1 else kernel
    if kind in ("Conv2DTranspose", "Conv3DTranspose"):
        return kernel.transpose(*axes[2:], 0, 1) if channels_first else kernel.transpose(*axes[:-2], axes[-1], axes[-2])
    return kernel.transpose(*axes[2:], 1, 0) if channels_first else kernel


def _squeezed(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Drops axes of length one that other versions saved (PReLU, the count of a Normalization)."""
    fits = [n for n in value.shape if n != 1] == [n for n in shape if n != 1]
    return value.reshape(shape) if fits else value
