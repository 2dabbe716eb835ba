"""`octave_dual`: apply an ordinary layer to both tensors of a pair."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from octconvert.layers.tensors import Tensor
from octconvert.octave.names import SUFFIXES


def octave_dual(tensors: Any, layer_or_factory: keras.layers.Layer | Callable[..., Any]) -> Any:
    """Apply a layer to each tensor of a pair, with weights of its own for each.

    Args:
        tensors: ``[high, low]``; or one tensor, to which the layer is applied once, under its own name; or, for layers
            that join tensors (Add, Concatenate ...), a list of pairs ``[[high, low], [high, low], ...]``.
        layer_or_factory: a Keras layer; a callable without arguments that makes one (``lambda: MaxPool2D()``, or a
            layer class); or a function from tensor to tensor, which is called on each.
            The two layers are named ``name-H`` and ``name-L``. A layer that is handed in is not touched. Where it is
            built, its weights are copied; weights along the channels of both groups together are cut, the first for
            high and the rest for low.

    Returns:
        ``[high, low]``, or one tensor for one tensor.

    Raises:
        ValueError: more than two tensors that are not pairs; weights of a built layer that fit neither group.
    """
    layer = _layer_of(layer_or_factory)
    groups = _groups(tensors)
    if not isinstance(layer, keras.layers.Layer):
        outputs = [layer(group) for group in groups]
        return outputs if len(outputs) == 2 else outputs[0]
    names = [layer.name] if len(groups) == 1 else [layer.name + suffix for suffix in SUFFIXES]
    copies = [renamed(layer, name) for name in names]
    outputs = [copy(group) for copy, group in zip(copies, groups, strict=True)]
    if layer.built:
        _copy_weights(layer, copies)
    return outputs if len(outputs) == 2 else outputs[0]


def _layer_of(layer_or_factory: keras.layers.Layer | Callable[..., Any]) -> Callable[..., Any]:
    """A layer, or a function of a tensor, from a layer, a factory or a function."""
    if isinstance(layer_or_factory, keras.layers.Layer):
        return layer_or_factory
    if not callable(layer_or_factory):
        raise ValueError(f"octave_dual: expected a layer or a callable, received: {layer_or_factory!r}")
    if inspect.isclass(layer_or_factory) or not _required_parameters(layer_or_factory):
        layer = layer_or_factory()
        if not callable(layer):
            raise ValueError(f"octave_dual: the factory must return a layer, received: {layer!r}")
        return layer
    return layer_or_factory


def _required_parameters(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)


def _groups(tensors: Any) -> list[Tensor]:
    """[inputs of the first layer, inputs of the second], or one entry for one tensor."""
    if not isinstance(tensors, (list, tuple)):
        return [tensors]
    if not tensors:
        raise ValueError("octave_dual: expected one tensor or a pair [high, low], received none")
    if all(isinstance(item, (list, tuple)) for item in tensors):
        if any(len(item) != 2 for item in tensors):
            raise ValueError("octave_dual: expected a list of pairs [[high, low], ...]")
        return [[pair[0] for pair in tensors], [pair[1] for pair in tensors]]
    if len(tensors) == 1:
        return [tensors[0]]
    if len(tensors) != 2:
        raise ValueError(f"octave_dual: expected one tensor or a pair [high, low], received {len(tensors)} tensors")
    return list(tensors)


def renamed(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """A fresh, unbuilt layer with the configuration of ``layer`` and another name."""
    config = layer.get_config()
    config["name"] = name
    return type(layer).from_config(config)


def _copy_weights(layer: keras.layers.Layer, copies: list[keras.layers.Layer]) -> None:
    for position, source in enumerate(layer.weights):
        value = np.asarray(source)
        targets = [copy.weights[position] for copy in copies]
        for target, part in zip(targets, _parts(value, [tuple(t.shape) for t in targets], layer.name), strict=True):
            target.assign(part)


def _parts(value: np.ndarray, shapes: list[tuple[int, ...]], name: str) -> list[np.ndarray]:
    """For each copy the whole weight, or along axes as long as all copies together its part."""
    starts, parts = [0] * value.ndim, []
    for shape in shapes:
        cut = []
        for axis, size in enumerate(shape):
            if len(shape) != value.ndim or value.shape[axis] not in (size, sum(other[axis] for other in shapes)):
                raise ValueError(f"layer '{name}': a weight of shape {value.shape} does not fit {shape}")
            whole = value.shape[axis] == size
            cut.append(slice(None) if whole else slice(starts[axis], starts[axis] + size))
            starts[axis] += 0 if whole else size
        parts.append(value[tuple(cut)])
    return parts
