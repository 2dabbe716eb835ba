"""BatchNormalization or Normalization of a pair -> the same of each map, with its vectors cut with the channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from octconvert.model.graph import Call
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register


@register
class BatchNormalizationRule(Rule):
    """BatchNormalization over the channel axis: each map has its own statistics of its own channels."""

    ranks = ANY_RANK
    layers = (layers.BatchNormalization,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        axis = call.operation.axis % len(flow.shape())
        if axis != flow.graph.axis_of_channels(flow.shape()):
            return stop(call, f"normalises axis {axis}, not the channels")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        arrays = [keras.ops.convert_to_numpy(weight) for weight in call.operation.weights]
        return [build.dual(call, values, lambda channels: [array[channels] for array in arrays])]

    def affine(self, call: Call) -> tuple[np.ndarray, np.ndarray] | None:
        layer = call.operation
        mean, variance = (_numbers(v) for v in (layer.moving_mean, layer.moving_variance))
        scale = (_numbers(layer.gamma) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
        return scale, (_numbers(layer.beta) if layer.center else 0.0) - mean * scale

    def set_affine(self, layer: Any, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray) -> None:
        if layer.scale:
            layer.gamma.assign(np.sqrt(variance + layer.epsilon))
        else:
            variance = np.full_like(variance, 1.0 - layer.epsilon)
        if layer.center:
            layer.beta.assign(mean + offset)
        else:
            mean = -offset
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


@register
class NormalizationRule(Rule):
    """Normalization with one mean and variance for each channel, or one for all."""

    ranks = ANY_RANK
    layers = (layers.Normalization,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        layer, shape = call.operation, flow.shape()
        axes = {axis % len(shape) for axis in layer.axis or ()}
        if layer.invert or not axes <= {flow.graph.axis_of_channels(shape)}:
            return stop(call, "normalises more than the channels")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, layer = build.pair_split(call), call.operation
        mean, variance = (keras.ops.convert_to_numpy(v).reshape(-1) for v in (layer.mean, layer.variance))
        changes = []
        for channels in (split.high, split.low):
            parts = [float(v[0]) if len(v) == 1 else v[channels].tolist() for v in (mean, variance)]
            changes.append(dict(zip(("mean", "variance"), parts, strict=True)))
        build.account(call, sum(int(np.prod(weight.shape)) for weight in layer.weights))
        return [build.dual(call, values, changes=tuple(changes))]


def _numbers(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype="float64")
