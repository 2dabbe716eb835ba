"""Layers that the user names as element-wise (``elementwise=[...]``): one for each map, whatever rule knows them."""

from __future__ import annotations

from collections.abc import Collection

import keras

from octconvert.model.graph import Call
from octconvert.rules.base import Rule, Trace, stop
from octconvert.rules.merging import ElementWiseJoin
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import find_rule


def rule_of(call: Call, elementwise: Collection[str] = ()) -> Rule | None:
    """The rule of a call. The user's word wins: a layer named as element-wise is one, also where a rule knows it."""
    return _NAMED if is_named(call, elementwise) else find_rule(call.operation)


def is_named(call: Call, names: Collection[str]) -> bool:
    """Whether one of ``names`` is the class, the registered class ("package>Name") or the layer's own name or path."""
    if not names:
        return False
    cls = type(call.operation)
    own = {cls.__name__, keras.saving.get_registered_name(cls), call.operation.name, call.layer_name}
    return not own.isdisjoint(names)


class Named(ElementWiseJoin):
    """What the user says acts on each channel and position alone; several inputs are joined element by element.

    A weight with one axis as long as the channels is cut along it, every other is copied whole.
    """

    def trace(self, call: Call, flow: Flow) -> Trace:
        if len(call.outputs) > 1:
            return stop(call, f"named as element-wise, but has {len(call.outputs)} outputs")
        if all(flow.shape(i) != flow.output_shape() for i in range(len(call.inputs))):
            return stop(call, "its output has another shape than its input")
        return super().trace(call, flow)

    def rewrite(self, call: Call, values: list, build) -> list:
        split, weights = build.split(call), getattr(call.operation, "weights", [])
        arrays = [keras.ops.convert_to_numpy(weight) for weight in weights]

        def cut(channels):
            return [_cut(array, channels, split.channels) for array in arrays]

        if arrays:
            copied = [*cut(split.high), *cut(split.low)]
            build.account(call, sum(array.size for array in arrays) - sum(array.size for array in copied))
        return [self.joined(call, values, build, cut if arrays else None)]


def _cut(array, channels, width: int):
    axes = [axis for axis, size in enumerate(array.shape) if size == width]
    return array.take(channels, axis=axes[0]) if len(axes) == 1 else array


_NAMED = Named()
