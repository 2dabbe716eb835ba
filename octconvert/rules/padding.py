"""Padding or cropping of a pair -> the same pair with pending padding, which the window operation after it applies.

One row of padding is half a low cell. A 'valid' convolution or pooling takes the amounts into its own padding, where
its low windows are placed correctly (`octconvert.octave.geometry.Alignment`). Elsewhere only whole cells can be padded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.octave.geometry import factors
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.named import rule_of
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register, traits_of
from octconvert.rules.traits import Traits

Amounts = tuple[tuple[int, int], ...]


class _ShiftRule(Rule):
    """The common part. ``cuts``: whether the layer removes positions."""

    ranks = ANY_RANK
    cuts = False
    leaves_padding = True

    def amounts(self, call: Call, graph: CallGraph) -> Amounts | None:
        """(before, after) along each axis, negative where the map is cut; None where it pads in another way."""
        raise NotImplementedError

    def trace(self, call: Call, flow: Flow) -> Trace:
        amounts = self.amounts(call, flow.graph)
        if amounts is None or flow.is_vector():
            return stop(call, "pads or crops something else than rows and columns of a map by zeros")
        producer = flow.graph.producer(call.inputs[0])
        cells = factors(flow.options.octave, len(amounts))
        whole_cells = all(before % cell == 0 for (before, _), cell in zip(amounts, cells, strict=True))
        taken = not _is_cut(producer, flow) and _taken(flow, call)
        if taken or (whole_cells and flow.sizes_known()):
            return carry(flow.channels())
        return stop(call, f"its amounts {amounts} are not whole low cells, or the sizes are unknown")

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,), amounts = values, self.amounts(call, build.graph)
        if value.pads is not None and any(min(pair) < 0 for pair in value.pads):
            value = build.settled(value)
        assert amounts is not None  # else the trace would have stopped
        pads = value.pads or ((0, 0),) * len(amounts)
        total = tuple((a + b, c + d) for (a, c), (b, d) in zip(pads, amounts, strict=True))
        return [replace(value, pads=total)]


def _is_cut(call: Call, flow: Flow) -> bool:
    rule = _rule(call, flow)
    return isinstance(rule, _ShiftRule) and rule.cuts


def _rule(call: Call, flow: Flow) -> Rule | None:
    return rule_of(call, flow.options.elementwise) if call.kind == OPERATION else None


def _taken(flow: Flow, call: Call) -> bool:
    """Whether every reader of the padded map applies the amounts; nothing applies them to a nested model's output."""
    output = call.outputs[0]
    return output not in flow.graph.exits and all(
        _takes_padding(flow, call, consumer) for consumer in flow.graph.consumers.get(output, ())
    )


def _takes_padding(flow: Flow, call: Call, consumer: Call) -> bool:
    """Whether a reader can apply padding: a 'valid' window operation, used once, or another padding before one.

    Padding after cropping can not be added up with it: the zeros would come where values were cropped.
    """
    if consumer.kind != OPERATION:
        return False
    rule = _rule(consumer, flow)
    if isinstance(rule, _ShiftRule):
        return (rule.cuts or not _is_cut(call, flow)) and _taken(flow, consumer)
    if rule is None:
        return True  # the pair is merged before it, and the merged tensor padded
    shared = sum(other.key == consumer.key for other in flow.graph.calls) > 1
    is_layer = isinstance(consumer.operation, layers.Layer)
    return is_layer and traits_of(consumer.operation).window_padding == "valid" and not shared


@register
class ZeroPaddingRule(_ShiftRule):
    """ZeroPadding2D and its 1-D and 3-D forms."""

    layers = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)

    def amounts(self, call: Call, graph: CallGraph) -> Amounts | None:
        return _of_rank(_by_axis(call.operation.padding), call, graph)

    def traits(self, operation: Any) -> Traits:
        return Traits(data_format=operation.data_format, padding=_by_axis(operation.padding), channelwise=True)


def _by_axis(amounts: Any) -> Amounts:
    """(before, after) for each axis; the 1-D layers have one pair alone."""
    return (tuple(amounts),) if isinstance(amounts[0], int) else tuple(tuple(each) for each in amounts)


def _of_rank(amounts: Amounts, call: Call, graph: CallGraph) -> Amounts | None:
    """The amounts where they are for the model's maps; else None."""
    data_format = getattr(call.operation, "data_format", "channels_last")
    return amounts if len(amounts) == graph.rank and data_format == graph.data_format else None


@register
class CroppingRule(_ShiftRule):
    """Cropping2D and its 1-D and 3-D forms."""

    layers = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
    cuts = True

    def amounts(self, call: Call, graph: CallGraph) -> Amounts | None:
        return _of_rank(_cut(call.operation), call, graph)

    def traits(self, operation: Any) -> Traits:
        data_format = getattr(operation, "data_format", "channels_last")
        return Traits(data_format=data_format, padding=_cut(operation), channelwise=True)


def _cut(layer: Any) -> Amounts:
    return tuple((-before, -after) for before, after in _by_axis(layer.cropping))


@register
class CenterCropRule(_ShiftRule):
    """CenterCrop of a map that is large enough; it resizes smaller ones."""

    layers = (layers.CenterCrop,)
    cuts = True

    def amounts(self, call: Call, graph: CallGraph) -> Amounts | None:
        if call.operation.data_format != graph.data_format or graph.rank != 2:
            return None
        source, target = (graph.tensors[number].shape for number in (call.inputs[0], call.outputs[0]))
        sizes = [(source[axis], target[axis]) for axis in graph.spatial_axes]
        cuts = [0 if size is None or kept is None else size - kept for size, kept in sizes]
        if None in [size for size, _ in sizes] or min(cuts) < 0:
            return None
        return tuple((-(cut // 2), cut // 2 - cut) for cut in cuts)

    def traits(self, operation: Any) -> Traits:
        return Traits(data_format=operation.data_format, channelwise=True)


@register
class RawPaddingRule(_ShiftRule):
    """``keras.ops.pad`` with zeros around rows and columns."""

    operations = ("keras.src.ops.numpy.Pad",)

    def amounts(self, call: Call, graph: CallGraph) -> Amounts | None:
        widths, arguments = call.operation.pad_width, call.node.arguments
        value = arguments.kwargs.get("constant_values") or (arguments.args[1:] or (0,))[0]
        if len(widths) != graph.rank + 2 or call.operation.mode != "constant" or (value not in (None, 0)):
            return None
        if any(any(widths[axis]) for axis in (0, graph.channel_axis)):
            return None
        return tuple((int(widths[axis][0]), int(widths[axis][1])) for axis in graph.spatial_axes)
