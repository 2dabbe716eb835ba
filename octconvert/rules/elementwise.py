"""Layers and operations that act on each element alone: the same on both maps of a pair."""

from __future__ import annotations

import math

import keras
from keras import layers

from octconvert.graph import Call
from octconvert.layers.spatial import pool_octave
from octconvert.rules.activations import activated, rectifier_limit, refusal
from octconvert.rules.base import Flow, Rule, Trace, carry, stop
from octconvert.rules.registry import register

_NN = "celu elu gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid mish relu relu6 selu"
_NN += " sigmoid silu soft_shrink softplus softsign sparse_sigmoid squareplus tanh_shrink threshold"
_NUMPY = "absolute clip exp expm1 log1p negative sqrt square tanh"


def _class_name(function: str) -> str:
    return "".join(part.capitalize() for part in function.split("_"))


@register
class ElementWise(Rule):
    """Activation layers without weights, noise of every kind, Identity, and raw unary operations."""

    layers: tuple[type, ...] = (
        layers.ReLU,
        layers.LeakyReLU,
        layers.ELU,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.SpatialDropout2D,
        layers.ActivityRegularization,
        layers.Identity,
    )
    operations = (
        *(f"keras.src.ops.nn.{_class_name(name)}" for name in _NN.split()),
        *(f"keras.src.ops.numpy.{_class_name(name)}" for name in _NUMPY.split()),
    )

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not _plain_numbers(call.operation):
            return stop(call, "its limits are arrays")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        return [build.dual(call, values)]

    def rectifier(self, call: Call) -> float | None:
        layer = call.operation
        if isinstance(layer, keras.layers.Layer):
            return rectifier_limit(getattr(layer, "activation", layer))
        return {"Relu": math.inf, "Relu6": 6.0}.get(type(layer).__name__)


def _plain_numbers(operation) -> bool:
    """Whether a raw operation's own arguments (the limits of a clip ...) are numbers, and not one for each channel."""
    if isinstance(operation, keras.layers.Layer):
        return True
    own = [value for key, value in vars(operation).items() if not key.startswith("_")]
    return all(isinstance(value, (int, float, bool, str, type(None))) for value in own)


@register
class Activation(ElementWise):
    """Activation with any function that is known to be element-wise, or with a layer that may stand in its place."""

    layers: tuple[type, ...] = (layers.Activation,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels = flow.channels()
        assert channels is not None  # asked only where the input may be a pair
        reason = refusal(call.operation.activation, flow, len(channels))
        return stop(call, reason) if reason else carry(channels)

    def rewrite(self, call: Call, values: list, build) -> list:
        if isinstance(call.operation.activation, layers.Layer):
            return [activated(call, values[0], build)]
        return super().rewrite(call, values, build)


@register
class Rescaling(ElementWise):
    """Rescaling by one number, or by one number a channel."""

    layers: tuple[type, ...] = (layers.Rescaling,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        if any(not isinstance(value, (int, float)) for value in (call.operation.scale, call.operation.offset)):
            return stop(call, "rescales each channel by its own number")
        return carry(flow.channels())


@register
class ParametricRelu(Rule):
    """PReLU: its slopes are cut with the channels; where rows or columns have their own, those of low are averaged."""

    layers: tuple[type, ...] = (layers.PReLU,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        split, alpha = build.split(call), keras.ops.convert_to_numpy(call.operation.alpha)
        axis = build.graph.channel_axis - 1 if alpha.ndim == 3 else 0

        def weights(channels):
            part = alpha if alpha.shape[axis] == 1 else alpha.take(channels, axis=axis)
            return [_pooled(part, split.octave, build.data_format) if channels is split.low else part]

        if alpha.ndim == 3 and split.octave > 1 and any(alpha.shape[a - 1] > 1 for a in build.graph.spatial_axes):
            build.note(f"'{call.name}' has slopes for each position; those of low channels are averaged")
        build.account(call, alpha.size - sum(weights(channels)[0].size for channels in (split.high, split.low)))
        return [build.dual(call, values, weights)]


def _pooled(part, octave: int, data_format: str):
    """Slopes (without batch axis) at the low resolution."""
    if part.ndim != 3:
        return part
    return keras.ops.convert_to_numpy(pool_octave(keras.ops.convert_to_tensor(part[None]), octave, data_format))[0]
