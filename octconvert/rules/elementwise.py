"""Element-wise layer or unary operation of a pair -> the same of each map.

Parameters with one entry for each channel (PReLU, Rescaling) are cut with the channels.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers

from octconvert.layers.spatial import pool_octave
from octconvert.model.graph import Call
from octconvert.octave.geometry import Octave
from octconvert.rules.activations import activated, activation_name, elementwise, rectifier_limit, refusal
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import OutputActivation, Traits

_OPERATIONS = {
    "nn": """celu elu gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid mish relu relu6 selu
        sigmoid silu soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus tanh_shrink threshold""",
    "numpy": """abs absolute angle arccos arccosh arcsin arcsinh arctan arctanh bitwise_invert bitwise_not cbrt ceil
        clip conj conjugate copy cos cosh deg2rad exp exp2 expm1 fabs floor i0 imag isfinite isinf isnan isneginf
        isposinf isreal log log10 log1p log2 logical_not nan_to_num negative ones_like rad2deg real reciprocal round
        sign signbit
        sin sinc sinh sqrt square tan tanh trunc zeros_like""",
    "math": "erf erfc erfinv rsqrt",
    "core": "cast saturate_cast stop_gradient",
}


def class_names(table: dict[str, str]) -> tuple[str, ...]:
    """Full names of the classes behind functions of ``keras.ops``, which are listed by module."""
    return tuple(
        f"keras.src.ops.{module}." + "".join(part.capitalize() for part in function.split("_"))
        for module, functions in table.items()
        for function in functions.split()
    )


@register
class ElementwiseRule(Rule):
    """Activation layers without weights, Identity, and raw unary operations."""

    ranks = ANY_RANK
    layers: ClassVar[tuple[type, ...]] = (
        layers.ReLU,
        layers.LeakyReLU,
        layers.ELU,
        layers.ActivityRegularization,
        layers.Identity,
    )
    operations = class_names(_OPERATIONS)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not _plain_numbers(call.operation):
            return stop(call, "its limits are arrays")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values)]

    def rectifier(self, call: Call) -> float | None:
        layer = call.operation
        if isinstance(layer, keras.layers.Layer):
            return rectifier_limit(getattr(layer, "activation", layer))
        return {"Relu": math.inf, "Relu6": 6.0}.get(type(layer).__name__)

    def traits(self, operation: Any) -> Traits:
        if isinstance(operation, keras.layers.Layer):
            return Traits(channelwise=True, pointwise=True, passes_values=isinstance(operation, layers.Identity))
        activation = OutputActivation(type(operation).__name__.lower())
        return Traits(activation=activation, pointwise=_plain_numbers(operation))


def _plain_numbers(operation: Any) -> bool:
    """Whether a raw operation's own arguments (the limits of a clip ...) are single numbers, not arrays."""
    if isinstance(operation, keras.layers.Layer):
        return True
    own = [value for key, value in vars(operation).items() if not key.startswith("_")]
    return all(isinstance(value, (int, float, bool, str, type(None))) for value in own)


@register
class ActivationRule(ElementwiseRule):
    """Activation with a function that is known to be element-wise, or with a layer that keeps the channels."""

    layers: ClassVar[tuple[type, ...]] = (layers.Activation,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels = flow.channels()
        assert channels is not None  # called only where the input may be a pair
        reason = refusal(call.operation.activation, flow, len(channels))
        return stop(call, reason) if reason else carry(channels)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        if isinstance(call.operation.activation, layers.Layer):
            return [activated(call, values[0], build)]
        return super().rewrite(call, values, build)

    def traits(self, operation: Any) -> Traits:
        keeps_channels = activation_name(operation.activation) != "glu"  # which halves them
        return Traits(channelwise=keeps_channels, pointwise=elementwise(operation.activation))


@register
class RescalingRule(ElementwiseRule):
    """Rescaling by one number, or by one number a channel."""

    layers: ClassVar[tuple[type, ...]] = (layers.Rescaling,)
    operations = ()

    def trace(self, call: Call, flow: Flow) -> Trace:
        values = (call.operation.scale, call.operation.offset)
        if all(np.ndim(value) == 0 for value in values):
            return carry(flow.channels())
        shape, rank = flow.shape(), len(flow.shape())
        on_channels = rank == 2 or flow.graph.channel_axis == rank - 1
        if not on_channels or any(np.shape(value) not in ((), (1,), (shape[-1],)) for value in values):
            return stop(call, "its numbers are not one for each channel")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, layer = build.pair_split(call), call.operation
        numbers = {"scale": np.asarray(layer.scale), "offset": np.asarray(layer.offset)}
        changes = tuple(
            {key: (array if array.size == 1 else array[channels]).tolist() for key, array in numbers.items()}
            for channels in (split.high, split.low)
        )
        return [build.dual(call, values, changes=changes)]

    def traits(self, operation: Any) -> Traits:
        return Traits()


@register
class PReLURule(Rule):
    """PReLU: slopes are cut with the channels; where each position has its own, those of low channels are averaged."""

    ranks = ANY_RANK
    layers: ClassVar[tuple[type, ...]] = (layers.PReLU,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, alpha = build.pair_split(call), keras.ops.convert_to_numpy(call.operation.alpha)
        shape = (None, *alpha.shape)
        axis, of_maps = build.graph.axis_of_channels(shape) - 1, build.graph.is_map(shape)

        def weights(channels: np.ndarray) -> list[np.ndarray]:
            part = alpha if alpha.shape[axis] == 1 else alpha.take(channels, axis=axis)
            pooled = of_maps and channels is split.low
            return [_pooled(part, split.octave, build) if pooled else part]

        if of_maps and split.octave != 1 and any(alpha.shape[a - 1] > 1 for a in build.graph.spatial_axes):
            build.note(f"'{call.name}' has slopes for each position; those of low channels are averaged")
        build.account(call, alpha.size - sum(weights(part.channels)[0].size for part in split.parts))
        return [build.dual(call, values, weights)]


def _pooled(part: np.ndarray, octave: Octave, build: Build) -> np.ndarray:
    """Slopes (without batch axis) at the low resolution."""
    slopes = keras.ops.convert_to_tensor(part[None])
    return keras.ops.convert_to_numpy(pool_octave(slopes, octave, build.data_format, build.causal))[0]
