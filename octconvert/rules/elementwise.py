"""Layers and operations that act on each element alone: the same on both maps of a pair."""

from __future__ import annotations

import keras
from keras import layers

from octconvert.graph import Call
from octconvert.rules.activations import activation_name, elementwise
from octconvert.rules.base import Flow, Rule, Trace, carry, is_vector, stop
from octconvert.rules.registry import register

_NN = "celu elu gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid mish relu relu6 selu sigmoid silu"
_NN += " soft_shrink softplus softsign sparse_sigmoid squareplus tanh_shrink threshold"
_NUMPY = "absolute clip exp expm1 log1p negative sqrt square tanh"


def _class_name(function: str) -> str:
    return "".join(part.capitalize() for part in function.split("_"))


@register
class ElementWise(Rule):
    """Activation layers without weights, the Dropout family, noise, Identity, and raw unary operations."""

    layers = (
        layers.ReLU,
        layers.LeakyReLU,
        layers.ELU,
        layers.Dropout,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.AlphaDropout,
        layers.SpatialDropout2D,
        layers.ActivityRegularization,
        layers.Identity,
    )
    operations = (
        *(f"keras.src.ops.nn.{_class_name(name)}" for name in _NN.split()),
        *(f"keras.src.ops.numpy.{_class_name(name)}" for name in _NUMPY.split()),
    )

    def trace(self, call: Call, flow: Flow) -> Trace:
        noise_shape = getattr(call.operation, "noise_shape", None)
        if isinstance(noise_shape, (tuple, list)) and noise_shape[-1] not in (1, None):
            return stop(call, "noise_shape names the channels")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        return [build.dual(call, values)]


@register
class Activation(ElementWise):
    """Activation with any function that is known to be element-wise; softmax and the like join channels."""

    layers = (layers.Activation,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not elementwise(call.operation.activation):
            return stop(call, f"activation {activation_name(call.operation.activation)} is not known to be element-wise")
        return carry(flow.channels())


@register
class Rescaling(ElementWise):
    """Rescaling by one number, or by one number a channel."""

    layers = (layers.Rescaling,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        if any(not isinstance(value, (int, float)) for value in (call.operation.scale, call.operation.offset)):
            return stop(call, "rescales each channel by its own number")
        return carry(flow.channels())


@register
class ParametricRelu(Rule):
    """PReLU: its slopes are cut with the channels; slopes of their own for each position are averaged for low."""

    layers = (layers.PReLU,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        shared = set(call.operation.shared_axes or ())
        axes = set(flow.graph.spatial_axes)
        if flow.graph.channel_axis in shared:
            return carry(flow.channels())
        if axes - shared and not is_vector(flow.shape()) and (axes & shared or None in flow.shape()[1:]):
            return stop(call, "PReLU with slopes along some positions")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        layer, split = call.operation, build.split(call)
        alpha = keras.ops.convert_to_numpy(layer.alpha)
        axis = -1 if alpha.ndim == 1 else build.graph.channel_axis - 1
        per_position = not is_vector(build.source_shape(call)) and min(alpha.shape[a - 1] for a in build.graph.spatial_axes) > 1

        def weights(channels):
            if alpha.shape[axis] == 1:
                return [alpha]
            part = alpha.take(channels, axis=axis)
            if per_position and channels is split.low:
                part = _pooled(part, split.octave, build.data_format)
            return [part]

        if per_position:
            build.note(f"'{call.name}' has slopes for each position; those of low channels are averaged")
            build.account(call, alpha.size - sum(weights(c)[0].size for c in (split.high, split.low)))
        elif alpha.shape[axis] == 1:
            build.account(call, -alpha.size)
        return [build.dual(call, values, weights)]


def _pooled(part, octave: int, data_format: str):
    from octconvert.layers.spatial import pool_octave

    return keras.ops.convert_to_numpy(pool_octave(keras.ops.convert_to_tensor(part[None]), octave, data_format))[0]
