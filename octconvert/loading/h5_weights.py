"""Weights of an .h5 file: found by name, brought to Keras 3's layout, put into the model.

An array is read only after its shape has been compared with the one that the architecture needs, and one at a time.
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
from octconvert.loading.configuration import Job
from octconvert.loading.inspection import Contents, Weight

# What old files call a variable -> what Keras 3 calls it. Keras 1's running_std holds the variance.
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
class Saved:
    """One array of the file: ``layer`` and ``variable`` as its name says, the layer's name as it is in the model."""

    layer: str
    variable: str
    data: h5py.Dataset


def stored_shapes(contents: Contents) -> dict[str, list[tuple]]:
    """The shapes of each layer's weights, by the layer's name in the file."""
    shapes: dict[str, list[tuple]] = {}
    for layer, weights in contents.layers:
        for weight in weights:
            old = KERAS1.match(weight.name.split(":")[0])
            shapes.setdefault(old.group(1) if old else layer, []).append(weight.shape)
    return shapes


def from_theano(contents: Contents) -> bool:
    """Whether Theano wrote the file; it convolves with the kernel turned round.

    Keras 2 says so. Keras 1 does not, but TensorFlow's variables always end in ``:0`` and Theano's never do.
    """
    if contents.backend is not None:
        return contents.backend == "theano"
    names = [weight.name for _, weights in contents.layers for weight in weights]
    return (contents.version or "1").startswith("1") and bool(names) and not any(":" in name for name in names)


def put(contents: Contents, model: Any, job: Job) -> None:
    """Sets all weights of ``model`` from the file.

    Raises:
        InputError: The weights do not fit the architecture the same file holds, or the file has been changed.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if job.theano:
        job.notes.add("the kernels were turned round, because Theano wrote the file")
    try:
        with h5py.File(job.path, "r") as file:
            contents.stamp.check(job.path)
            group = file["model_weights"]
            for old, weights in contents.layers:
                _put_layer(group[old], old, weights, layers, job)
            if layers:
                job.refuse("has no weights in the file; save the whole model again", next(iter(layers)))
            if contents.top:
                _top_level(group["top_level_model_weights"], contents.top, model, job)
            contents.stamp.check(job.path)
    except (OSError, KeyError, RuntimeError) as error:
        job.refuse(f"is a damaged or incomplete HDF5 file ({one_line(error)}); download or save it again")


def _put_layer(group: h5py.Group, old: str, weights: tuple[Weight, ...], layers: dict[str, Any], job: Job) -> None:
    """Sets the weights of one layer, and takes it out of those that wait for theirs."""
    if not weights:
        return
    name = job.renamed.get(old, old)
    if name not in layers:
        job.refuse("has weights in the file but no place in its architecture; save the model again", old)
    _fill(layers.pop(name), [_saved(group, weight.name, job) for weight in weights], job)


def _top_level(group: h5py.Group, weights: tuple[Weight, ...], model: Any, job: Job) -> None:
    """Weights that belong to the model and to no layer of it."""
    inner = {id(variable) for layer in model.layers for variable in layer.weights}
    own = [variable for variable in model.weights if id(variable) not in inner]
    if [weight.shape for weight in weights] != [tuple(v.shape) for v in own]:
        if own:
            job.refuse("has weights of its own that do not fit its architecture; save the whole model again")
        job.notes.add("weights that belong to no layer were left out")
        return
    for variable, weight in zip(own, weights, strict=True):
        variable.assign(np.asarray(group[weight.name]))


def _saved(group: h5py.Group, name: str, job: Job) -> Saved:
    plain = name.split(":")[0]
    layer, _, variable = plain.rpartition("/")
    old = KERAS1.match(plain)
    if job.version < 2 and old:
        layer, variable = old.groups()
    return Saved(job.renamed.get(layer, layer), OLD_NAMES.get(variable, variable), group[name])


def _leaves(layer: Any) -> list[Any]:
    """The layers with variables of their own; wrappers and plain layers are one leaf."""
    if isinstance(layer, keras.Model):
        return [leaf for inner in layer.layers for leaf in _leaves(inner)]
    return [layer]


def _fill(layer: Any, saved: list[Saved], job: Job) -> None:
    places = _by_name(layer, saved) or _by_order(layer, saved)
    if places is None:
        job.refuse(f"needs {len(layer.weights)} weights and the file has {len(saved)} for it", layer.name)
    for (leaf, variable), one in zip(places, saved, strict=True):
        # An array of the same shape that takes no memory is laid out first: nothing is read that does not fit.
        shape = _layout(leaf, variable, np.broadcast_to(np.int8(0), one.data.shape), job).shape
        if shape != tuple(variable.shape):
            shapes = f"{shape} in the file and {tuple(variable.shape)} in the architecture"
            job.refuse(f"has '{variable.name}' of shape {shapes}", leaf.name)
        variable.assign(_layout(leaf, variable, _numbers(one.data, leaf, job), job))


def _numbers(data: h5py.Dataset, leaf: Any, job: Job) -> np.ndarray:
    """The array; HDF5 has no bfloat16, and keeps two bytes of no kind."""
    value = np.asarray(data)
    if value.dtype.kind != "V":
        return value
    if value.dtype.itemsize != 2 or leaf.variable_dtype != "bfloat16":
        job.refuse("has something else than numbers as a weight; save the model again", leaf.name)
    return value.view(tf.bfloat16.as_numpy_dtype)


def _by_name(layer: Any, saved: list[Saved]) -> list[tuple[Any, Any]] | None:
    """Where each array goes, if the names alone tell it; only of interest inside nested models."""
    if not isinstance(layer, keras.Model) or len(layer.weights) != len(saved):
        return None
    places: dict[tuple[str, str], tuple[Any, Any]] = {}
    for leaf in _leaves(layer):
        for variable in leaf.weights:
            # tf.keras names the kernel of a DepthwiseConv2D after it; Keras 3 says just kernel.
            depthwise = variable.name == "kernel" and "Depthwise" in type(leaf).__name__
            key = (leaf.name, "depthwise_kernel" if depthwise else variable.name)
            if key in places:
                return None
            places[key] = (leaf, variable)
    wanted = [(one.layer, one.variable) for one in saved]
    if len(set(wanted)) != len(wanted) or not all(key in places for key in wanted):
        return None
    return [places[key] for key in wanted]


def _by_order(layer: Any, saved: list[Saved]) -> list[tuple[Any, Any]] | None:
    """The order every Keras has saved in: what is trained, then what is not."""
    ordered = [*layer.trainable_weights, *layer.non_trainable_weights]
    if len(ordered) != len(saved):
        return None
    owner = {id(variable): leaf for leaf in _leaves(layer) for variable in leaf.weights}
    return [(owner.get(id(variable), layer), variable) for variable in ordered]


def _layout(leaf: Any, variable: Any, value: np.ndarray, job: Job) -> np.ndarray:
    """The array as Keras 3 keeps it; the counterpart of ``preprocess_weights_for_loading`` of Keras 2."""
    kind = next((base.__name__ for base in type(leaf).__mro__ if base.__name__ in FLIPPED), None)
    if kind is None or variable.name != "kernel" or value.ndim < 3:
        return value if value.shape == tuple(variable.shape) else _squeezed(value, tuple(variable.shape))
    if job.version < 2:
        value = _keras1_kernel(kind, value, leaf.data_format == "channels_first")
    if job.theano:
        value = value[(slice(None, None, -1),) * (value.ndim - 2)]
    return value


def _keras1_kernel(kind: str, kernel: np.ndarray, channels_first: bool) -> np.ndarray:
    axes = tuple(range(kernel.ndim))
    if kind == "Conv1D":
        return kernel[:, 0] if kernel.ndim == 4 and kernel.shape[1] == 1 else kernel
    if kind in ("Conv2DTranspose", "Conv3DTranspose"):
        return kernel.transpose(*axes[2:], 0, 1) if channels_first else kernel.transpose(*axes[:-2], axes[-1], axes[-2])
    return kernel.transpose(*axes[2:], 1, 0) if channels_first else kernel


def _squeezed(value: np.ndarray, shape: tuple) -> np.ndarray:
    """Drops axes of length one that another version kept (PReLU, the count of a Normalization)."""
    fits = [n for n in value.shape if n != 1] == [n for n in shape if n != 1]
    return value.reshape(shape) if fits else value
