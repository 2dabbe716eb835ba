"""ZeroPadding2D and Cropping2D of a pair: left for the window operation behind them, whose low windows they shift.

One row of padding is half a low cell. A 'valid' convolution or pooling takes the amounts into its own padding, where
its low windows are placed right (`octconvert.geometry.Alignment`). Elsewhere only whole cells can be padded.
"""

from __future__ import annotations

from keras import layers

from octconvert.graph import OPERATION, Call
from octconvert.rules.base import Flow, Rule, Trace, carry, stop
from octconvert.rules.registry import find_rule, register
from octconvert.split import Pair

_WINDOWS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.MaxPooling2D, layers.AveragePooling2D)


class _Shift(Rule):
    """What both have in common; ``amounts`` gives ((top, bottom), (left, right)), negative where the map is cut."""

    def amounts(self, layer):
        raise NotImplementedError

    def trace(self, call: Call, flow: Flow) -> Trace:
        if call.operation.data_format != flow.graph.data_format or flow.is_vector():
            return stop(call, "its amounts can not be moved to the low map")
        amounts = self.amounts(call.operation)
        follows_cut = isinstance(flow.graph.producer(call.inputs[0]).operation, layers.Cropping2D)
        whole_cells = all(before % flow.options.octave == 0 for before, _ in amounts)
        taken = not follows_cut and _taken(flow, call)
        if taken or (whole_cells and flow.sizes_known()):
            return carry(flow.channels())
        return stop(call, f"its amounts {amounts} are no whole low cells, or the sizes are unknown")

    def rewrite(self, call: Call, values: list, build) -> list:
        (value,), amounts = values, self.amounts(call.operation)
        if value.pads is not None and any(min(pair) < 0 for pair in value.pads):
            value = Pair.of(build.settled(value), value.split)
        pads = value.pads or ((0, 0), (0, 0))
        rows, columns = ((a + b, c + d) for (a, c), (b, d) in zip(pads, amounts, strict=True))
        return [Pair(value.high, value.low, value.split, (rows, columns))]


def _taken(flow: Flow, call: Call) -> bool:
    """Whether every reader of a shift's output takes the amounts; the output of a nested model leaves as it is."""
    output = call.outputs[0]
    return output not in flow.graph.exits and all(
        _takes_padding(flow, call, consumer) for consumer in flow.graph.consumers.get(output, ())
    )


def _takes_padding(flow: Flow, call: Call, consumer: Call) -> bool:
    """Whether a reader has room for padding of its own: a 'valid' window, used once; or another shift before one.

    Padding behind a cut can not be added to it: the zeros would come where the cut has taken values away.
    """
    if consumer.kind != OPERATION:
        return False
    if isinstance(consumer.operation, (layers.ZeroPadding2D, layers.Cropping2D)):
        after_cut = isinstance(call.operation, layers.Cropping2D) and isinstance(
            consumer.operation, layers.ZeroPadding2D
        )
        return not after_cut and _taken(flow, consumer)
    if find_rule(consumer.operation) is None:
        return True  # it reads the merged tensor, which is padded there
    shared = sum(other.key == consumer.key for other in flow.graph.calls) > 1
    return isinstance(consumer.operation, _WINDOWS) and consumer.operation.padding == "valid" and not shared


@register
class ZeroPadding(_Shift):
    layers = (layers.ZeroPadding2D,)

    def amounts(self, layer):
        return layer.padding


@register
class Cropping(_Shift):
    layers = (layers.Cropping2D,)

    def amounts(self, layer):
        return tuple((-before, -after) for before, after in layer.cropping)
