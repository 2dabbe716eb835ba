"""Softmax -> Softmax: it stops a pair, but its function is known to costs and forms for inference."""

from __future__ import annotations

from typing import Any

from keras import layers

from octconvert.rules.base import Family
from octconvert.rules.registry import register
from octconvert.rules.traits import OutputActivation, Traits


@register
class SoftmaxFamily(Family):
    """The layer and the raw operation."""

    layers = (layers.Softmax,)
    operations = ("keras.src.ops.nn.Softmax",)

    def traits(self, operation: Any) -> Traits:
        return Traits(activation=OutputActivation("softmax", operation.axis))
