"""Layers from configurations, and their weights: initial values are drawn only where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from octconvert.model.copying import finalize, has_finalized_state, rebuild
from octconvert.rules.protocols import Weights


class WeightMover:
    """See `octconvert.rules.Build` for its methods.

    Args:
        fresh: whether new layers keep their initial values (``weights="fresh"``).
    """

    def __init__(self, fresh: bool) -> None:
        self._fresh = fresh
        self._initializers: dict[int, dict[str, Any]] = {}

    def make(self, layer_class: type[keras.Layer], config: dict[str, Any]) -> keras.Layer:
        """A layer from its configuration. Initial values that will be overwritten are not drawn: they are zeros."""
        initializers = {key: config[key] for key in config if key.endswith("_initializer")}
        if self._fresh or not initializers:
            return rebuild(layer_class, config)
        layer = rebuild(layer_class, {**config, **dict.fromkeys(initializers, "zeros")})
        if not all(key in vars(layer) for key in initializers):  # its own initializers could not be restored
            return rebuild(layer_class, config)
        self._initializers[id(layer)] = initializers
        return layer

    def _restore_initializers(self, layer: keras.Layer) -> None:
        for key, value in self._initializers.pop(id(layer), {}).items():
            setattr(layer, key, keras.initializers.get(value))

    def set_weights(self, layer: keras.Layer, values: Weights) -> None:
        """Assign all weights of a layer; where they stay fresh, only the statistics that ``layer.adapt`` computed."""
        if self._fresh and not has_finalized_state(layer):
            return
        self._restore_initializers(layer)
        for variable, value in zip(layer.weights, values, strict=True):
            variable.assign(_copied(value))
        finalize(layer)

    def assign(self, layer: keras.Layer, values: Mapping[str, np.ndarray | keras.Variable | None]) -> None:
        """Assign weights by attribute name; entries that are None, or that the layer does not have, are ignored."""
        if self._fresh:
            return
        self._restore_initializers(layer)
        for name, value in values.items():
            variable = getattr(layer, name, None)
            if variable is not None and value is not None:
                variable.assign(_copied(value))


def _copied(value: Any) -> np.ndarray:
    """On JAX a variable shares the numbers of one that it is assigned; training would take them from the source."""
    return np.array(keras.ops.convert_to_numpy(value))
