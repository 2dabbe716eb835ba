"""Layers that drop whole samples at random (stochastic depth): high and low of one sample stay or go together.

Two Dropout layers with one seed draw the same numbers, for they are always called together; so built-in layers do.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from keras import layers

from octconvert.model.graph import Call
from octconvert.octave.names import SUFFIXES
from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


def _seed(call: Call) -> int:
    """One for both maps, another for every layer."""
    seed = getattr(call.operation, "seed", None)
    return seed if isinstance(seed, int) else zlib.crc32(call.layer_name.encode()) & 0x7FFFFFFF


@register
class Dropout(Rule):
    """Dropout of values, or of whole samples by its noise_shape (EfficientNet)."""

    layers = (layers.Dropout, layers.AlphaDropout)

    def trace(self, call: Call, flow: Flow) -> Trace:
        noise_shape = call.operation.noise_shape
        if noise_shape is not None and any(size not in (1, None) for size in noise_shape[1:]):
            return stop(call, "noise_shape names positions or channels")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        whole = call.operation.noise_shape is not None and set(call.operation.noise_shape[1:]) == {1}
        changes = {"seed": _seed(call)} if whole else None
        return [build.dual(call, values, changes=(changes, changes))]

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)

    def affine(self, call: Call):
        return np.ones(1), np.zeros(1)

    def set_affine(self, layer, mean, variance, offset) -> None:
        pass  # it does nothing at inference


@register
class StochasticDepth(Rule):
    """The StochasticDepth of ConvNeXt: a Dropout of whole samples."""

    operations = ("keras.src.applications.convnext.StochasticDepth",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list, build) -> list:
        source, outputs = call.operation, []
        for suffix, part in zip(SUFFIXES, build.settled(values[0]), strict=True):
            config = {
                "rate": source.drop_path_rate,
                "noise_shape": (None, *(1 for _ in part.shape[1:])),
                "seed": _seed(call),
                "name": build.name(source.name + suffix),
                "dtype": source.dtype_policy,
            }
            outputs.append(layers.Dropout(**config)(part))
        return [Pair.of(outputs, build.split(call))]

    def affine(self, call: Call):
        return np.ones(1), np.zeros(1)

    def set_affine(self, layer, mean, variance, offset) -> None:
        pass  # it does nothing at inference
