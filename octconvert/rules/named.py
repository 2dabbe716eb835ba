"""Layer that the user names as element-wise (``elementwise=[...]``) -> one copy for each map.

The user's statement wins over the layer's own rule.
"""

from __future__ import annotations

from collections.abc import Collection

import keras
import numpy as np

from octconvert.model.graph import Call
from octconvert.model.opening import goes_by
from octconvert.rules.base import Rule, Trace, stop
from octconvert.rules.merging import ElementwiseJoinRule
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import find_rule


def rule_of(call: Call, elementwise: Collection[str] = ()) -> Rule | None:
    """The rule of a call: that of this file for a layer named as element-wise, else the one of its class."""
    return _NAMED if is_named(call, elementwise) else find_rule(call.operation)


def is_named(call: Call, names: Collection[str]) -> bool:
    """Whether one of ``names`` is the class, the registered class ("package>Name") or the layer's own name or path."""
    return goes_by(call.operation, call.layer_name, names)


class NamedElementwiseRule(ElementwiseJoinRule):
    """A layer that, as the user states, acts on each channel and position alone; several inputs are joined.

    A weight with one axis as long as the channels is cut along it, every other is copied whole.
    """

    def trace(self, call: Call, flow: Flow) -> Trace:
        if len(call.outputs) > 1:
            return stop(call, f"named as element-wise, but has {len(call.outputs)} outputs")
        if all(flow.shape(i) != flow.output_shape() for i in range(len(call.inputs))):
            return stop(call, "named as element-wise, but its output has another shape than its input")
        return super().trace(call, flow)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, weights = build.pair_split(call), getattr(call.operation, "weights", [])
        arrays = [keras.ops.convert_to_numpy(weight) for weight in weights]

        def cut(channels: np.ndarray) -> list[np.ndarray]:
            return [_cut(array, channels, split.channels) for array in arrays]

        if arrays:
            copied = [array for part in split.parts for array in cut(part.channels)]
            build.account(call, sum(array.size for array in arrays) - sum(array.size for array in copied))
        return [self.joined(call, values, build, cut if arrays else None)]


def _cut(array: np.ndarray, channels: np.ndarray, width: int) -> np.ndarray:
    axes = [axis for axis, size in enumerate(array.shape) if size == width]
    return array.take(channels, axis=axes[0]) if len(axes) == 1 else array


_NAMED = NamedElementwiseRule()
