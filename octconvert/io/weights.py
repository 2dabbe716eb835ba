"""Weights of an .h5 file: found by name, brought to Keras 3's layout, put into the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import h5py
import keras
import numpy as np

from octconvert.io.tree import Job

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
    value: np.ndarray


def names_in(group: h5py.Group | h5py.File, key: str) -> list[str]:
    """A list of names kept in an attribute; long lists are kept in pieces ``key0``, ``key1``, ..."""
    pieces = [key] if key in group.attrs else []
    while f"{key}{len(pieces)}" in group.attrs and key not in group.attrs:
        pieces.append(f"{key}{len(pieces)}")
    found = [name for piece in pieces for name in group.attrs[piece]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in found]


def stored_shapes(file: h5py.File) -> dict[str, list[tuple]]:
    """The shapes of each layer's weights, by the layer's name in the file."""
    group = file["model_weights"]
    shapes: dict[str, list[tuple]] = {}
    for layer in names_in(group, "layer_names"):
        for name in names_in(group[layer], "weight_names"):
            old = KERAS1.match(name.split(":")[0])
            shapes.setdefault(old.group(1) if old else layer, []).append(group[layer][name].shape)
    return shapes


def from_theano(file: h5py.File) -> bool:
    """Whether Theano wrote the file; it convolves with the kernel turned round.

    Keras 2 says so. Keras 1 does not, but TensorFlow's variables always end in ``:0`` and Theano's never do.
    """
    group = file["model_weights"]
    said = group.attrs.get("backend", file.attrs.get("backend"))
    if said is not None:
        return (said.decode() if isinstance(said, bytes) else str(said)) == "theano"
    old = str(group.attrs.get("keras_version", file.attrs.get("keras_version", "1")))
    names = [name for layer in names_in(group, "layer_names") for name in names_in(group[layer], "weight_names")]
    return old.lstrip("b'").startswith("1") and bool(names) and not any(":" in name for name in names)


def put(file: h5py.File, model: Any, job: Job) -> None:
    """Sets all weights of ``model`` from the file.

    Raises:
        InputError: The weights do not fit the architecture the same file holds.
    """
    group = file["model_weights"]
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if job.theano:
        job.notes.add("the kernels were turned round, because Theano wrote the file")
    for old in names_in(group, "layer_names"):
        saved = [_saved(group[old], name, job) for name in names_in(group[old], "weight_names")]
        if not saved:
            continue
        name = job.renamed.get(old, old)
        if name not in layers:
            job.refuse("has weights in the file but no place in its architecture; save the model again", old)
        _fill(layers.pop(name), saved, job)
    if layers:
        job.refuse("has no weights in the file; save the whole model again", next(iter(layers)))
    _top_level(group, model, job)


def _top_level(group: h5py.Group, model: Any, job: Job) -> None:
    """Weights that belong to the model and to no layer of it."""
    if "top_level_model_weights" not in group:
        return
    top = group["top_level_model_weights"]
    values = [np.asarray(top[name]) for name in names_in(top, "weight_names")]
    inner = {id(variable) for layer in model.layers for variable in layer.weights}
    own = [variable for variable in model.weights if id(variable) not in inner]
    if [v.shape for v in values] != [tuple(v.shape) for v in own]:
        if own:
            job.refuse("has weights of its own that do not fit its architecture; save the whole model again")
        if values:
            job.notes.add("weights that belong to no layer were left out")
        return
    for variable, value in zip(own, values, strict=True):
        variable.assign(value)


def _saved(group: h5py.Group, name: str, job: Job) -> Saved:
    plain = name.split(":")[0]
    layer, _, variable = plain.rpartition("/")
    old = KERAS1.match(plain)
    if job.version < 2 and old:
        layer, variable = old.groups()
    return Saved(job.renamed.get(layer, layer), OLD_NAMES.get(variable, variable), np.asarray(group[name]))


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
        value = _layout(leaf, variable, one.value, job)
        if value.shape != tuple(variable.shape):
            shapes = f"{value.shape} in the file and {tuple(variable.shape)} in the architecture"
            job.refuse(f"has '{variable.name}' of shape {shapes}", leaf.name)
        variable.assign(value)


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
        return kernel[:, 0] if kernel.ndim == 4 else kernel
    if kind in ("Conv2DTranspose", "Conv3DTranspose"):
        return kernel.transpose(*axes[2:], 0, 1) if channels_first else kernel.transpose(*axes[:-2], axes[-1], axes[-2])
    return kernel.transpose(*axes[2:], 1, 0) if channels_first else kernel


def _squeezed(value: np.ndarray, shape: tuple) -> np.ndarray:
    """Drops axes of length one that another version kept (PReLU, the count of a Normalization)."""
    fits = [n for n in value.shape if n != 1] == [n for n in shape if n != 1]
    return value.reshape(shape) if fits else value
