"""Attributes of layers and weights of models that are changed for the time of a training, and restored after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from octconvert.errors import CheckError


@contextlib.contextmanager
def overridden(layers: Iterable[keras.layers.Layer], name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Sets the attribute ``name`` of every layer to ``change`` of its value; restores the values at the end."""
    previous = [(layer, getattr(layer, name)) for layer in layers]
    try:
        for layer, value in previous:
            setattr(layer, name, change(value))
        yield
    finally:
        for layer, value in previous:  # in the same order: a model's ``trainable`` sets that of its layers
            setattr(layer, name, value)


def faster_statistics(model: keras.Model, steps: int) -> contextlib.AbstractContextManager[None]:
    """BatchNormalization's running statistics average over a twentieth of the steps, or over fewer if set so.

    With Keras' default momentum they follow the weights over some hundred steps; a short training ends before.
    """
    return overridden(_normalizations(model), "momentum", lambda momentum: min(momentum, max(0.0, 1 - 20 / steps)))


def frozen_statistics(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """BatchNormalization runs as at inference; its scale and offset stay with the statistics they belong to."""
    return overridden(_normalizations(model), "trainable", lambda trainable: False)


def _normalizations(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


@contextlib.contextmanager
def restored_if_not_finite(model: keras.Model) -> Iterator[None]:
    """Restores the weights where a training leaves values that are not finite.

    Raises:
        CheckError: it did.
    """
    before = model.get_weights()
    yield
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        model.set_weights(before)
        raise CheckError(
            "the loss is not finite: the training diverged, or the data contain nan; the weights are restored"
        )
