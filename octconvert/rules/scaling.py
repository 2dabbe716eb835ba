"""LayerScale of a pair -> LayerScale of each map, with its gains cut with the channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from octconvert.model.graph import Call
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register


@register
class LayerScaleRule(Rule):
    """LayerScale of ConvNeXt: ``x * gamma`` along the last axis."""

    ranks = ANY_RANK
    operations = ("keras.src.applications.convnext.LayerScale",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        on_channels = flow.graph.axis_of_channels(flow.shape()) == len(flow.shape()) - 1
        return carry(flow.channels()) if on_channels else stop(call, "scales columns, not channels")

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, gamma = build.pair_split(call), keras.ops.convert_to_numpy(call.operation.gamma)
        changes = tuple({"projection_dim": len(channels)} for channels in (split.high, split.low))
        return [build.dual(call, values, lambda channels: [gamma[channels]], changes)]

    def affine(self, call: Call) -> tuple[np.ndarray, np.ndarray] | None:
        gamma = keras.ops.convert_to_numpy(call.operation.gamma).astype("float64")
        return gamma, gamma * 0.0

    def set_affine(self, layer: Any, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray) -> None:
        layer.gamma.assign(keras.ops.ones_like(layer.gamma))
