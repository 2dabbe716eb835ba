"""Pooling of a pair -> a pooling of each map, where the low windows lie on the positions of the high ones.

Global pooling of a pair -> a global pooling of each map: a pair of vectors, without a merge.
"""

from __future__ import annotations

from typing import Any

from keras import KerasTensor, layers

from octconvert.layers import OctavePooling1D, OctavePooling2D, OctavePooling3D, portable
from octconvert.layers.pooling import OctavePooling
from octconvert.layers.window import Window, is_same
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div
from octconvert.octave.names import HIGH, LOW
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.octave_convolution import low_input
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import PoolingTraits, Traits

_MAX = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
_AVERAGE = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
_GLOBAL_MAX = (layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
_GLOBAL_AVERAGE = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
_BY_RANK: dict[int, type[OctavePooling]] = {1: OctavePooling1D, 2: OctavePooling2D, 3: OctavePooling3D}


@register
class PoolingRule(Rule):
    """Max and average pooling: a low map is padded, cropped or filtered first where windows would not fit."""

    ranks = ANY_RANK
    layers = (*_MAX, *_AVERAGE)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not flow.graph.is_map(flow.shape()) or len(call.operation.pool_size) != flow.graph.rank:
            return stop(call, f"pools no {flow.graph.rank}-D map")
        if call.operation.data_format != flow.graph.data_format or flow.is_vector():
            return stop(call, "pools a 1x1 map" if flow.is_vector() else "pools in another data format")
        if flow.portable_refusal():
            return stop(call, flow.portable_refusal())
        return Trace((flow.channels(),), gains=flow.graph.is_vector(flow.output_shape()))  # to 1x1: a global pooling

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,), layer = values, call.operation
        if value.pads is not None and layer.padding != "valid":
            value = build.settled(value)
        padding = layer.padding if value.pads is None else value.pads
        ones = (1,) * build.graph.rank
        sizes = (tuple(layer.pool_size), tuple(layer.strides), ones)
        window = Window(*sizes, padding, value.split.octave, build.causal)
        known = None not in value.size(build.graph.spatial_axes)
        to_one = build.graph.is_vector(build.graph.tensors[call.outputs[0]].built_shape)
        no_cropping = build.graph.rank == 1 and build.data_format == "channels_first"  # Cropping1D is for the other
        is_layer = not known or build.causal or (no_cropping and not to_one)
        if is_layer and (value.high is not None or value.split.octave != 1):
            return [_by_layer(call, value, window, build)]
        outputs = [] if value.high is None else [_as_source(call, value, HIGH, build)]
        if not known:
            low = _as_source(call, value, LOW, build)  # it has the source's resolution
        else:
            pool = _one_window if to_one else _known_sizes  # a low cell of a 1x1 map covers one position, not a block
            low = pool(call, value, window, build)
        return [Pair.of([*outputs, low], build.pair_split(call))]

    def traits(self, operation: Any) -> Traits:
        kind = "max" if isinstance(operation, _MAX) else "average"
        windows = (tuple(operation.pool_size), tuple(operation.strides), operation.padding)
        return Traits(pooling=PoolingTraits(kind, *windows), data_format=operation.data_format, channelwise=True)


def _by_layer(call: Call, value: Pair, window: Window, build: Build) -> Pair:
    """The maps pooled by one layer, which aligns the windows when it is called."""
    layer = call.operation
    mode = "max" if isinstance(layer, _MAX) else "mean"
    pooling = _BY_RANK[build.graph.rank](
        mode,
        window.kernel,
        window.strides,
        window.padding,
        window.octave,
        build.data_format,
        name=build.name(f"{build.own_name(call.operation.name)}-pair"),
        dtype=layer.dtype_policy,
        causal=window.causal,
        **low_input(value),
    )
    return Pair.of(pooling(value.inputs), build.pair_split(call))


def _as_source(call: Call, value: Pair, suffix: str, build: Build) -> KerasTensor:
    """A map pooled as the source pools it."""
    part = value.part(suffix)
    if value.pads is not None:
        part = portable.pad_or_crop(
            part, value.pads, build.data_format, build.name(f"{call.operation.name}{suffix}-in")
        )
    return build.clone(call, suffix)(part)


def _one_window(call: Call, value: Pair, window: Window, build: Build) -> KerasTensor:
    """The low cells under the one window, pooled."""
    crops, covered = [], []
    for axis, size in enumerate(value.size(build.graph.spatial_axes)):
        assert size is not None  # the caller has looked
        start = -window.before(axis, size)
        first, last = max(start, 0), min(start + window.kernel[axis], size)
        cell = window.factor(axis)
        low = (first // cell, ceil_div(last, cell))
        crops.append((-low[0], low[1] - ceil_div(size, cell)))
        covered.append(low[1] - low[0])
    low = portable.pad_or_crop(value.low, crops, build.data_format, build.name(f"{call.operation.name}{LOW}-in"))
    return build.clone(call, LOW, {"pool_size": tuple(covered), "padding": "valid"})(low)


def _known_sizes(call: Call, value: Pair, window: Window, build: Build) -> KerasTensor:
    """The low map pooled by a built-in layer, padded or cropped first where its own padding would not line up."""
    low, data_format, axes = value.low, build.data_format, build.graph.spatial_axes
    sizes = value.size(axes)
    alignments = [window.alignment(axis, size) for axis, size in enumerate(sizes)]
    outputs = [window.low_outputs(axis, size) for axis, size in enumerate(sizes)]
    pads = tuple(
        alignment.padding(low.shape[axis], count)
        for alignment, axis, count in zip(alignments, axes, outputs, strict=True)
    )
    explicit = not isinstance(window.padding, str)
    if not explicit and all(
        is_same(alignment, low.shape[axis], pad) for alignment, axis, pad in zip(alignments, axes, pads, strict=True)
    ):
        return build.clone(call, LOW, {"padding": "same"})(low)
    fit = portable.pad_or_crop if explicit else portable.repeat_edges
    low = fit(low, pads, data_format, build.name(f"{call.operation.name}{LOW}-in"))
    filters, label = [alignment.prefilter for alignment in alignments], build.name(f"{call.operation.name}{LOW}-align")
    low = portable.fixed_filter(low, filters, window.octave, data_format, label)
    return build.clone(call, LOW, {"padding": "valid"})(low)


@register
class GlobalPoolingRule(Rule):
    """Global average and max pooling."""

    ranks = ANY_RANK
    layers = (*_GLOBAL_MAX, *_GLOBAL_AVERAGE)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not flow.graph.is_map(flow.shape()):
            return stop(call, f"pools no {flow.graph.rank}-D map")
        if call.operation.data_format != flow.graph.data_format:
            return stop(call, "pools in another data format")
        return Trace((flow.channels(),), gains=True)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values)]

    def traits(self, operation: Any) -> Traits:
        kind = "max" if isinstance(operation, _GLOBAL_MAX) else "average"
        return Traits(data_format=operation.data_format, channelwise=True, global_pooling=kind)
