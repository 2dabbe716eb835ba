"""Normalization over the channels of a pair -> one octave layer that computes the statistics from both maps.

LayerNormalization, RMSNormalization and UnitNormalization -> `OctaveLayerNormalization`, which exchanges a map of one
channel between the resolutions; GroupNormalization -> `OctaveGroupNormalization`, which exchanges a vector. With
octave=1 both compute the source's function.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import Layer, layers

from octconvert.layers import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.model.copying import config_of
from octconvert.model.graph import Call
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register

_SHARED = ("epsilon", "center", "scale", "dtype", "trainable")
_CHOICES = tuple(f"{w}_{kind}" for w in ("gamma", "beta") for kind in ("initializer", "regularizer", "constraint"))


def _axes(layer: Any) -> list[int]:
    return list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]


def _refusal(call: Call, flow: Flow) -> str:
    """Why the layer does not normalise the channels alone."""
    rank = len(flow.shape())
    channels = flow.graph.axis_of_channels(flow.shape())
    axes = [axis % rank for axis in _axes(call.operation)]
    if axes != [channels]:
        return f"normalises axes {axes}, not the channels alone"
    return ""


class _JointNormalizationRule(Rule):
    """The common part; ``arguments`` are those of the new layer besides the source's own."""

    ranks = ANY_RANK
    arguments: ClassVar[dict[str, Any]] = {}

    def trace(self, call: Call, flow: Flow) -> Trace:
        reason = _refusal(call, flow)
        if not reason and flow.options.portable and not self.alone(call, flow.channels()):
            reason = "no built-in layer normalises over both maps (`portable`)"
        return stop(call, reason) if reason else carry(flow.channels())

    def alone(self, call: Call, channels: np.ndarray | None) -> bool:
        """Whether each map is normalised by itself; ``channels``: one entry for each channel."""
        return False

    def make(self, call: Call, build: Build) -> Layer:
        """The layer for the call."""
        causal = {"causal": True} if build.causal else {}
        return build.make(OctaveLayerNormalization, {**_common(call, build), **causal, **self.arguments})

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        value, split = build.settled(values[0]), build.pair_split(call)
        if value.high is None:  # all its channels are in one map
            return [build.dual(call, values, lambda _: call.operation.weights)]

        def fill(new_layer: Layer) -> None:
            _fill(call, new_layer, build)

        layer = build.filled(call, "normalization", lambda: self.make(call, build), fill)
        return [Pair.of(layer(value.tensors), split)]


def _fill(call: Call, new_layer: Layer, build: Build) -> None:
    split, source = build.pair_split(call), call.operation
    gamma = source.scale if isinstance(source, layers.RMSNormalization) else getattr(source, "gamma", None)
    values: dict[str, np.ndarray] = {}
    for name, vector in (("gamma", gamma), ("beta", getattr(source, "beta", None))):
        if vector is not None:
            array = keras.ops.convert_to_numpy(vector)
            values |= {f"high_{name}": array[split.high], f"low_{name}": array[split.low]}
    build.assign(new_layer, values)


def _common(call: Call, build: Build) -> dict[str, Any]:
    config = config_of(call.operation)
    kept = {key: config[key] for key in (*_SHARED, *_CHOICES) if key in config}
    octave = build.pair_split(call).octave
    return {**kept, "name": build.own_name(call.operation.name), "octave": octave, "data_format": build.data_format}


@register
class LayerNormalizationRule(_JointNormalizationRule):
    """LayerNormalization over the channels of each position (ConvNeXt)."""

    layers: ClassVar[tuple[type, ...]] = (layers.LayerNormalization,)
    arguments: ClassVar[dict[str, Any]] = {"mode": "layer"}

    def trace(self, call: Call, flow: Flow) -> Trace:
        if call.operation.rms_scaling:
            return stop(call, "rms_scaling divides by the variance, and is deprecated")
        return super().trace(call, flow)


@register
class RMSNormalizationRule(_JointNormalizationRule):
    """RMSNormalization over the channels."""

    layers: ClassVar[tuple[type, ...]] = (layers.RMSNormalization,)
    arguments: ClassVar[dict[str, Any]] = {"mode": "rms", "center": False}


@register
class UnitNormalizationRule(_JointNormalizationRule):
    """UnitNormalization over the channels; Keras keeps the norm above 1e-12."""

    layers: ClassVar[tuple[type, ...]] = (layers.UnitNormalization,)
    arguments: ClassVar[dict[str, Any]] = {"mode": "unit", "center": False, "scale": False, "epsilon": 1e-12}


@register
class GroupNormalizationRule(_JointNormalizationRule):
    """GroupNormalization; with one channel a group (instance normalisation) each map does it alone."""

    layers: ClassVar[tuple[type, ...]] = (layers.GroupNormalization,)

    def alone(self, call: Call, channels: np.ndarray | None) -> bool:
        return channels is not None and call.operation.groups in (-1, len(channels))

    def make(self, call: Call, build: Build) -> Layer:
        split, groups = build.pair_split(call), call.operation.groups
        owner = np.arange(split.channels) // (split.channels // groups)
        counts = {
            "high_channels": np.bincount(owner[split.high], minlength=groups).tolist(),
            "low_channels": np.bincount(owner[split.low], minlength=groups).tolist(),
        }
        return build.make(OctaveGroupNormalization, {**_common(call, build), **counts})

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, layer = build.pair_split(call), call.operation
        if split.whole_low or not self.alone(call, split.mask):
            return super().rewrite(call, values, build)
        arrays = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
        changes = tuple({"groups": len(channels)} for channels in (split.high, split.low))
        return [build.dual(call, values, lambda channels: [array[channels] for array in arrays], changes)]
