"""UpSampling2D or Resizing of a pair -> the same of each map, the low one to ceil(size / octave).

A 1x1 map (as in the pooled branch of DeepLab) has the same value everywhere, at any resolution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from octconvert.layers import OctaveCrop, portable
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div, factors
from octconvert.octave.names import LOW
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class UpSamplingRule(Rule):
    """UpSampling: both maps grow by the same factor; the low one is cut where the high size is odd."""

    ranks = ANY_RANK
    layers = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not flow.graph.is_map(flow.shape()):
            return stop(call, f"upsamples no {flow.graph.rank}-D map")
        if _data_format(call.operation) != flow.graph.data_format:
            return stop(call, "another data format")
        if flow.portable_refusal():
            return stop(call, flow.portable_refusal())
        return carry(flow.channels())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        octave, size = build.pair_split(call).octave, _factors(call.operation)
        if values[0].split.octave == octave:
            return [fitted(call, build.dual(call, values), build)]
        cells = factors(octave, len(size))
        fewer = tuple(map(ceil_div, size, cells))  # of a 1x1 map
        low = {"size": fewer if len(fewer) > 1 else fewer[0]}
        return [build.dual(call, values, changes=(None, low))]

    def traits(self, operation: Any) -> Traits:
        size = _factors(operation)
        repeats = getattr(operation, "interpolation", "nearest") == "nearest"
        return Traits(data_format=_data_format(operation), upsampling=size if repeats else (), channelwise=True)


def _factors(layer: Any) -> tuple[int, ...]:
    return (layer.size,) if isinstance(layer.size, int) else tuple(layer.size)


def _data_format(layer: Any) -> str:
    """The 1-D layer has none."""
    return getattr(layer, "data_format", "channels_last")


def fitted(call: Call, pair: Pair, build: Build) -> Pair:
    """The low map cut to ceil(size / octave)."""
    octave, axes, name = pair.split.octave, build.graph.spatial_axes, f"{call.operation.name}{LOW}-fit"
    cells = factors(octave, len(axes))
    if octave == 1:
        return pair
    size = pair.size(axes)
    if None in size:
        crop = OctaveCrop(octave, build.data_format, name=build.name(name), dtype=pair.low.dtype)
        return replace(pair, low=crop([pair.high, pair.low]))
    extra = tuple(
        (0, ceil_div(length, cell) - pair.low.shape[axis]) for axis, length, cell in zip(axes, size, cells, strict=True)
    )
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
        operation, cells = call.operation, factors(build.pair_split(call).octave, build.graph.rank)
        if isinstance(operation, layers.Resizing):
            low = {"height": ceil_div(operation.height, cells[0]), "width": ceil_div(operation.width, cells[1])}
        else:
            low = {"size": tuple(map(ceil_div, operation.size, cells))}
        return [build.dual(call, values, changes=(None, low))]
