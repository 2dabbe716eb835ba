"""Dropout of a pair -> Dropout of each map.

Layers that drop whole samples (stochastic depth) drop both maps of a sample or neither: both copies have one seed, and
as they are always called together they draw the same numbers.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from keras import layers

from octconvert.model.graph import Call
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


def _seed(call: Call) -> int:
    """The same for both maps, and different for different layers."""
    seed = getattr(call.operation, "seed", None)
    return seed if isinstance(seed, int) else zlib.crc32(call.layer_name.encode()) & 0x7FFFFFFF


class _IdentityRule(Rule):
    """The common part: at inference the layer is the identity."""

    ranks = ANY_RANK

    def affine(self, call: Call) -> tuple[np.ndarray, np.ndarray] | None:
        return np.ones(1), np.zeros(1)

    def set_affine(self, layer: Any, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray) -> None:
        pass  # it is the identity, and stays so


@register
class DropoutRule(_IdentityRule):
    """Dropout of values, or of whole samples by its noise_shape (EfficientNet)."""

    layers = (layers.Dropout, layers.AlphaDropout)

    def trace(self, call: Call, flow: Flow) -> Trace:
        noise_shape = call.operation.noise_shape
        if noise_shape is not None and any(size not in (1, None) for size in noise_shape[1:]):
            return stop(call, "its noise_shape has sizes for positions or channels")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        whole = call.operation.noise_shape is not None and set(call.operation.noise_shape[1:]) == {1}
        changes = {"seed": _seed(call)} if whole else None
        return [build.dual(call, values, changes=(changes, changes))]

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)


@register
class NoiseRule(_IdentityRule):
    """Noise, and dropout of whole channels."""

    layers = (
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.SpatialDropout1D,
        layers.SpatialDropout2D,
        layers.SpatialDropout3D,
    )

    def trace(self, call: Call, flow: Flow) -> Trace:
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values)]

    def traits(self, operation: Any) -> Traits:
        return Traits(channelwise=True, pointwise=True)


@register
class StochasticDepthRule(_IdentityRule):
    """The StochasticDepth of ConvNeXt: a Dropout of whole samples."""

    operations = ("keras.src.applications.convnext.StochasticDepth",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        source, split, outputs = call.operation, build.pair_split(call), []
        for part, each in zip(build.settled(values[0]).tensors, split.parts, strict=True):
            config = {
                "rate": source.drop_path_rate,
                "noise_shape": (None, *(1 for _ in part.shape[1:])),
                "seed": _seed(call),
                "name": build.name(source.name + each.suffix),
                "dtype": source.dtype_policy,
            }
            outputs.append(layers.Dropout(**config)(part))
        return [Pair.of(outputs, split)]
