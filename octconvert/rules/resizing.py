"""UpSampling2D or Resizing of a pair -> the same of each map, the low one to ceil(size / octave).

A 1x1 map (as in the pooled branch of DeepLab) has the same value everywhere, at any resolution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from octconvert.layers import OctaveCrop, portable
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div
from octconvert.octave.names import LOW
from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class UpSamplingRule(Rule):
    """UpSampling2D: both maps grow by the same factor; the low one is cut where the high size is odd."""

    layers = (layers.UpSampling2D,)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if call.operation.data_format != flow.graph.data_format:
            return stop(call, "another data format")
        if flow.portable_refusal():
            return stop(call, flow.portable_refusal())
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        octave, size = build.pair_split(call).octave, call.operation.size
        if values[0].split.octave == octave:
            return [fitted(call, build.dual(call, values), build)]
        low = {"size": tuple(ceil_div(factor, octave) for factor in size)}  # of a 1x1 map
        return [build.dual(call, values, changes=(None, low))]

    def traits(self, operation: Any) -> Traits:
        rows, columns = operation.size
        repeats = operation.interpolation == "nearest" and rows == columns
        return Traits(data_format=operation.data_format, upsampling=rows if repeats else 0, channelwise=True)


def fitted(call: Call, pair: Pair, build: Build) -> Pair:
    """The low map cut to ceil(size / octave)."""
    octave, axes, name = pair.split.octave, build.graph.spatial_axes, f"{call.operation.name}{LOW}-fit"
    if octave == 1:
        return pair
    size = pair.size(axes)
    if None in size:
        crop = OctaveCrop(octave, build.data_format, name=build.name(name), dtype=pair.low.dtype)
        return replace(pair, low=crop([pair.high, pair.low]))
    extra = tuple((0, ceil_div(length, octave) - pair.low.shape[axis]) for axis, length in zip(axes, size, strict=True))
    if not any(map(any, extra)):
        return pair
    return replace(pair, low=portable.pad_or_crop(pair.low, extra, build.data_format, build.name(name)))


@register
class ResizingRule(Rule):
    """Resizing to fixed rows and columns; at odd sizes the low map is off by up to half a cell at the end."""

    layers = (layers.Resizing,)
    operations = ("keras.src.ops.image.Resize",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        operation = call.operation
        if operation.data_format != flow.graph.data_format:
            return stop(call, "another data format")
        if operation.crop_to_aspect_ratio or operation.pad_to_aspect_ratio:
            return stop(call, "keeps the aspect ratio by cropping or padding")
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        operation, octave = call.operation, build.pair_split(call).octave
        if isinstance(operation, layers.Resizing):
            low = {"height": ceil_div(operation.height, octave), "width": ceil_div(operation.width, octave)}
        else:
            low = {"size": tuple(ceil_div(size, octave) for size in operation.size)}
        return [build.dual(call, values, changes=(None, low))]
