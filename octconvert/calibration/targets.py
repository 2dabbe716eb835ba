"""What the output of a layer of the converted model should be, by the source's own tensors.

A layer's target is what its source puts out before the activation. Where that goes, through normalisation alone, into
a sum with a tensor the converted model has already made (the shortcut of a residual block), the target is what makes
the *sum* right: errors that the shortcut carries are taken back there, so they do not add up along a chain of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from octconvert.calibration.pairing import Twins, Unit
from octconvert.graph import OPERATION, Call
from octconvert.rules import rule_of
from octconvert.rules.activations import without_activation  # noqa: F401
from octconvert.split import ChannelSplit
from octconvert.layers.spatial import pool_octave

SMALL_GAIN = 1e-3
"""A normalisation that scales a channel by less than this share of the others' hides what lies before it."""


@dataclass(frozen=True, eq=False)
class Target:
    """How a unit's wanted outputs are computed.

    Attributes:
        unit: the layer.
        split: of the unit's output; None where it is one tensor.
        side: 0 or 1 where the unit makes the high or the low map alone ('clone-H', 'clone-L'), else None.
        total: source tensor of the sum, or None.
        others: converted tensors, (plain,) or (high, low) each, that are added to the unit's output there.
        scale, offset: of the normalisation between, for each source channel.
    """

    unit: Unit
    split: ChannelSplit | None
    side: int | None = None
    total: int | None = None
    others: tuple[tuple[int, ...], ...] = ()
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    rectified: float | None = None

    def needs(self) -> tuple[int, ...]:
        """Source tensors that have to be there."""
        return (*self.unit.source.inputs, *(() if self.total is None else (self.total,)))

    def compute(self, twins: Twins, rule, source: dict[int, object], converted: dict[int, object]) -> list:
        """The wanted outputs of the unit, one for each of its maps; None where the layer is not linear."""
        call = self.unit.source
        own = rule.linear_output(call, self.unit.part, [source[number] for number in call.inputs])
        if own is None:
            return []
        object.__setattr__(self, "_own", own)
        parts = twins.parts(own, self.split)
        if self.total is not None:
            sums = twins.parts(source[self.total], self.split)
            others = [[converted[number] for number in numbers] for numbers in self.others]
            parts = [
                self._undone(twins, i, part, total, [other[i] for other in others])
                for i, (part, total) in enumerate(zip(parts, sums, strict=True))
            ]
        parts = self._behind_rectifier(twins, parts)
        return parts if self.side is None else [parts[self.side]]

    def _behind_rectifier(self, twins: Twins, parts: list) -> list:
        """The low target such that the pooled map *behind* a rectifier comes out right: pool(act(y)), not act(pool(y))."""
        if self.rectified is None or len(parts) < 2:
            return parts
        scale, offset = (v[self.split.low].astype("float32") for v in (self.scale, self.offset))
        y = ops.take(self._own, self.split.low, axis=-1) * scale + offset
        r = pool_octave(ops.clip(y, 0.0, self.rectified), self.split.octave, twins.source.data_format)
        z = ops.where(r > 1e-6, r, pool_octave(y, self.split.octave, twins.source.data_format))
        return [parts[0], (z - offset) / ops.where(ops.abs(scale) < 1e-6, 1e-6, scale)]

    def _undone(self, twins: Twins, i: int, own, total, others: list):
        """The sum less the other tensors, taken back through the normalisation."""
        for other in others:
            total = total - other
        scale, offset = self._of_map(self.scale, i), self._of_map(self.offset, i)
        hidden = np.abs(scale) < SMALL_GAIN * np.abs(scale).max()
        shape = [1] * len(own.shape)
        shape[twins.source.channel_axis if len(own.shape) == 4 else -1] = -1
        form = [ops.reshape(ops.convert_to_tensor(v.astype("float32")), shape) for v in (scale, offset, hidden)]
        undone = (total - form[1]) / (form[0] + form[2])
        return own * form[2] + undone * (1 - form[2])

    def _of_map(self, values: np.ndarray, i: int) -> np.ndarray:
        return values if self.split is None else values[self.split.high if i == 0 else self.split.low]


def target_of(twins: Twins, unit: Unit, available: set[int]) -> Target | None:
    """The target of a unit; ``available``: converted tensors that are made before it. None: nothing to fit it to."""
    split = twins.layout.splits.get(unit.source.outputs[0])
    if unit.part == "depthwise" and split is not None:
        split = _split_between(twins, unit)
    elif unit.part == "depthwise" and len(unit.call.outputs) > 1:
        split = _split_between(twins, unit)
    side = {"clone-H": 0, "clone-L": 1}.get(unit.part)
    sizes = 1 if split is None or side is not None else 2
    if len(unit.call.outputs) != sizes:
        return None
    plain = Target(unit, split, side)
    if unit.part == "depthwise" and unit.source.class_name != "DepthwiseConv2D":
        return plain
    return _with_sum(twins, plain, available) or _rect(twins, plain)


def _rect(twins, target):
    from octconvert.rules.activations import activation_name
    graph, call = twins.source, target.unit.source
    import os
    if os.environ.get("NORECT") or target.split is None or not _is_map(twins, call): return target
    channels = graph.tensors[call.outputs[0]].shape[graph.channel_axis]
    scale, offset, tensor = np.ones(channels), np.zeros(channels), call.outputs[0]
    while True:
        cs = graph.consumers.get(tensor, ())
        if len(cs) != 1: return target
        c = cs[0]
        rule = rule_of(c)
        if rule is None: return target
        af = rule.affine(c)
        if af is not None:
            scale, offset = scale * af[0], offset * af[0] + af[1]; tensor = c.outputs[0]; continue
        if c.class_name == "ReLU" and not c.operation.negative_slope:
            m = c.operation.max_value
            from dataclasses import replace
            return replace(target, rectified=float(m) if m else 1e9, scale=scale, offset=offset)
        return target


def _split_between(twins: Twins, unit: Unit) -> ChannelSplit | None:
    """Split of a depthwise layer's output, from that of what it reads."""
    read = twins.layout.splits.get(unit.source.inputs[0])
    if read is None or len(unit.call.outputs) == 1:
        return None
    multiplier = unit.layer.hh_kernel.shape[-1]
    return ChannelSplit(np.repeat(read.mask, multiplier), read.octave)


def _with_sum(twins: Twins, target: Target, available: set[int]) -> Target | None:
    """Follow the unit's output to a sum."""
    graph, call = twins.source, target.unit.source
    activation = getattr(call.operation, "activation", None)
    if activation is not None and getattr(activation, "__name__", "") != "linear":
        return None
    channels = graph.tensors[call.outputs[0]].shape[graph.channel_axis] if _is_map(twins, call) else 0
    scale, offset, tensor = np.ones(channels or 0), np.zeros(channels or 0), call.outputs[0]
    while channels and tensor not in graph.outputs and tensor not in graph.exits:
        consumers = graph.consumers.get(tensor, ())
        if len(consumers) != 1 or consumers[0].kind != OPERATION or consumers[0].path != call.path:
            return None
        rule = rule_of(consumers[0])
        if rule is None:
            return None
        if rule.is_sum(consumers[0]):
            return _at_sum(twins, target, consumers[0], tensor, scale, offset, available)
        affine = rule.affine(consumers[0])
        if affine is None:
            return None
        scale, offset = scale * affine[0], offset * affine[0] + affine[1]
        tensor = consumers[0].outputs[0]
    return None


def _is_map(twins: Twins, call: Call) -> bool:
    return len(twins.source.tensors[call.outputs[0]].shape) == 4


def _at_sum(twins: Twins, target: Target, call: Call, tensor: int, scale, offset, available) -> Target | None:
    others = [number for number in call.inputs if number != tensor]
    found = [twins.counterparts.get(number) for number in others]
    total = twins.layout.splits.get(call.outputs[0])
    if len(others) != len(call.inputs) - 1 or None in found:
        return None
    if not all(set(item.numbers) <= available for item in found):
        return None
    same = [total, *(item.split for item in found)]
    if any((split is None) != (target.split is None) for split in same):
        return None
    if target.split is not None and any(not np.array_equal(split.mask, target.split.mask) for split in same):
        return None
    if any(twins.source.tensors[n].shape != twins.source.tensors[tensor].shape for n in others):
        return None
    return Target(
        target.unit, target.split, target.side, call.outputs[0], tuple(item.numbers for item in found), scale, offset
    )
