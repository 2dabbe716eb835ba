"""The outputs that a layer of the converted model should have, from the source's own tensors.

A layer's target is the output of its source before the activation, with two corrections that depend on its consumers:

- *Sum.* Where the output is added, through normalisation alone, to a tensor that the converted model has computed
  before (the shortcut of a residual block), the target is the value that makes the sum right. It corrects errors of
  the shortcut, so they do not add up along a chain of blocks.
- *Rectifier.* Where a rectifier follows, a low cell should be the mean of the rectified positions, ``pool(act(y))``;
  the rectified mean, ``act(pool(y))``, is less. The same holds for a high output that is computed from a low map alone:
  it holds one value in each cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from keras import ops

from octconvert.calibration.alignment import AlignedCall, Alignment, Counterpart
from octconvert.calibration.fitting.linear import regressions
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave
from octconvert.octave.split import ChannelSplit
from octconvert.rules import rule_of, traits_of
from octconvert.rules.activations import is_linear, rectifier_limit

SMALL_GAIN = 1e-3
"""A normalisation that scales a channel by less than this share of the others' hides what lies before it."""


@dataclass(frozen=True, eq=False)
class Target:
    """How the target outputs of a call are computed.

    Attributes:
        aligned: the call.
        split: of its source's output; None where the call has one plain output.
        side: which part of the split the output is where it is one alone ('clone-H', 'clone-L'), else None.
        cells: for each map: positions along each axis of the source's output that a value of it stands for.
        scale, offset: of the normalisation behind the call, for each source channel.
        total: source tensor of the sum that follows, or None.
        others: converted tensors that are added to the call's output there.
        limit: upper limit of the rectifier that follows, or None.
    """

    aligned: AlignedCall
    split: ChannelSplit | None
    side: int | None = None
    cells: tuple[Octave, ...] = (1,)
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(1))
    total: int | None = None
    others: tuple[tuple[int, ...], ...] = ()
    limit: float | None = None

    def needs(self) -> tuple[int, ...]:
        """Source tensors that have to be available."""
        return (*self.aligned.source.inputs, *(() if self.total is None else (self.total,)))

    def borrows(self) -> tuple[int, ...]:
        """Converted tensors that have to be available, besides the call's inputs."""
        return tuple(number for numbers in self.others for number in numbers)

    def compute(
        self, alignment: Alignment, source: dict[int, BackendTensor], converted: dict[int, BackendTensor]
    ) -> list[BackendTensor]:
        """The target outputs of the call, one for each of its maps; empty where the layer is not linear.

        A high map that holds one value in each cell is averaged over the cells.
        """
        call, rule = self.aligned.source, rule_of(self.aligned.source)
        inputs = [source[number] for number in call.inputs]
        own = rule.linear_output(call, self.aligned.part, inputs) if rule is not None else None
        if own is None:
            return []
        own = ops.cast(own, "float32")
        parts = alignment.parts(own, self.split)
        if self.total is not None:
            parts = self._for_sum(alignment, parts, source, converted)
        parts = [self._averaged(alignment, part, i) for i, part in enumerate(parts)]
        if self.total is None and self.limit is not None:
            parts = [self._for_rectifier(alignment, own, part, i) for i, part in enumerate(parts)]
        return parts if self.side is None else [parts[self.side]]

    def _channels(self, i: int) -> np.ndarray | None:
        """Source channels of a map; None: all of them."""
        return None if self.split is None or self.split.whole_low else self.split.parts[i].channels

    def _averaged(self, alignment: Alignment, part: BackendTensor, i: int) -> BackendTensor:
        """A map of high values as the means of its cells; a low map is one already."""
        return part if self._is_low(i) else alignment.block_means(part, self.cells[i])

    def _is_low(self, i: int) -> bool:
        return self.split is not None and self.split.parts[i].cell != 1

    def _for_sum(
        self,
        alignment: Alignment,
        parts: list[BackendTensor],
        source: dict[int, BackendTensor],
        converted: dict[int, BackendTensor],
    ) -> list[BackendTensor]:
        """The sum less the other tensors, with the normalisation inverted."""
        assert self.total is not None
        targets = []
        whole = ops.cast(source[self.total], "float32")
        for i, (own, total) in enumerate(zip(parts, alignment.parts(whole, self.split), strict=True)):
            for numbers in self.others:
                total = total - ops.cast(converted[numbers[i]], "float32")
            targets.append(self._undone(alignment, total, own, self._channels(i)))
        return targets

    def _for_rectifier(self, alignment: Alignment, own: BackendTensor, part: BackendTensor, i: int) -> BackendTensor:
        """The map with cells whose rectified value is the mean of the rectified positions; ``own``: all channels."""
        assert self.limit is not None
        if self.cells[i] == 1:
            return part
        channels = self._channels(i)
        y = own if channels is None else ops.take(own, channels, axis=alignment.source.axis_of_channels(own.shape))
        scale, offset = (v if channels is None else v[channels] for v in (self.scale, self.offset))
        y = y * _shaped(alignment, scale, y) + _shaped(alignment, offset, y)
        pool = alignment.pooled if self._is_low(i) else alignment.block_means
        pooled, mean = (pool(each, self.cells[i]) for each in (y, ops.clip(y, 0.0, self.limit)))
        target = ops.where(ops.logical_and(mean > 0, mean < self.limit), mean, pooled)  # else all are clipped alike
        return self._undone(alignment, target, part, channels)

    def _undone(
        self, alignment: Alignment, target: BackendTensor, own: BackendTensor, channels: np.ndarray | None
    ) -> BackendTensor:
        """The value that the normalisation maps to ``target``; the layer's ``own`` output where it hides its input."""
        scale, offset = (v if channels is None else v[channels] for v in (self.scale, self.offset))
        hidden = np.abs(scale) < SMALL_GAIN * np.abs(self.scale).max()
        scale, offset, hidden = (_shaped(alignment, v, own) for v in (scale, offset, hidden))
        return ops.where(hidden > 0, own, (target - offset) / _safe(scale))


def _safe(scale: BackendTensor) -> BackendTensor:
    return ops.where(ops.abs(scale) < 1e-12, ops.ones_like(scale), scale)


def _shaped(alignment: Alignment, values: np.ndarray, like: BackendTensor) -> BackendTensor:
    """A vector over the channels of ``like``."""
    shape = [1] * len(like.shape)
    shape[alignment.source.axis_of_channels(like.shape)] = -1
    return ops.reshape(ops.convert_to_tensor(np.asarray(values, dtype="float32")), shape)


def target_of(alignment: Alignment, aligned: AlignedCall, available: set[int]) -> Target | None:
    """The target of a call; ``available``: converted tensors that are computed before. None: nothing can be fitted."""
    between = aligned.part == "depthwise"  # its output need not be a tensor of the source
    split = (
        _split_of_depthwise(alignment, aligned) if between else alignment.layout.splits.get(aligned.source.outputs[0])
    )
    suffixes = [] if split is None else [part.suffix for part in split.parts]
    side = next((i for i, suffix in enumerate(suffixes) if aligned.part == f"clone{suffix}"), None)
    maps = 1 if split is None or side is not None else len(suffixes)
    if len(aligned.call.outputs) != maps:
        return None
    target = Target(aligned, split, side, _cells(aligned, split))
    half = between and hasattr(aligned.source.operation, "pointwise_kernel")  # of a separable convolution
    return target if half else _followed(alignment, target, available)


def _cells(aligned: AlignedCall, split: ChannelSplit | None) -> tuple[Octave, ...]:
    """`Target.cells`: from the split, and from a layer that computes a high map from a low one alone."""
    of_parts = (1,) if split is None else tuple(part.cell for part in split.parts)
    of_outputs = tuple(regression.cell for regression in regressions(aligned.layer))
    if len(of_outputs) != len(of_parts):
        return of_parts
    pairs = zip(of_parts, of_outputs, strict=True)
    return tuple(of_output if of_part == 1 else of_part for of_part, of_output in pairs)


def _split_of_depthwise(alignment: Alignment, aligned: AlignedCall) -> ChannelSplit | None:
    """Split of a depthwise layer's output, from that of what it reads."""
    read = alignment.layout.splits.get(aligned.source.inputs[0])
    if read is None or traits_of(aligned.layer).octave is None:
        return None
    return ChannelSplit(np.repeat(read.mask, aligned.layer.depth_multiplier), read.octave)


def _followed(alignment: Alignment, target: Target, available: set[int]) -> Target:
    """The target with what follows the call, up to a sum or rectifier."""
    graph, call = alignment.source, target.aligned.source
    shape = graph.tensors[call.outputs[0]].shape
    channels = shape[graph.axis_of_channels(shape)] if graph.is_map(shape) else None
    if not channels:
        return target
    target = replace(target, scale=np.ones(channels), offset=np.zeros(channels))
    activation = getattr(call.operation, "activation", None)
    if not is_linear(activation):
        return replace(target, limit=rectifier_limit(activation))
    tensor = call.outputs[0]
    while tensor not in graph.outputs and tensor not in graph.exits:
        consumers = graph.consumers.get(tensor, ())
        if len(consumers) != 1 or consumers[0].kind != OPERATION:
            break
        following, rule = consumers[0], rule_of(consumers[0])
        if rule is None:
            break
        if rule.is_sum(following):
            return _with_sum(alignment, target, following, tensor, available)
        affine = rule.affine(following)
        if affine is None:
            return replace(target, limit=rule.rectifier(following))
        if not _on_channels(graph, following, channels, affine[0]):
            break
        scale, offset = target.scale * affine[0], target.offset * affine[0] + affine[1]
        target = replace(target, scale=scale, offset=offset)
        tensor = following.outputs[0]
    return target


def _on_channels(graph: CallGraph, call: Call, channels: int, scale: np.ndarray) -> bool:
    """Whether a normalisation of maps normalises their channels."""
    shape = graph.tensors[call.inputs[0]].shape
    own = graph.axis_of_channels(shape)
    axis = getattr(call.operation, "axis", own)
    return axis in (own, own - len(shape)) and len(scale) in (1, channels)


def _is_map(alignment: Alignment, tensor: int) -> bool:
    return alignment.source.is_map(alignment.source.tensors[tensor].shape)


def _with_sum(alignment: Alignment, target: Target, call: Call, tensor: int, available: set[int]) -> Target:
    """The target at the sum ``call`` that reads ``tensor``, where the others are available and split alike."""
    others = [number for number in call.inputs if number != tensor]
    counterparts = [alignment.counterparts.get(number) for number in others]
    same_shape = all(alignment.source.tensors[n].shape == alignment.source.tensors[tensor].shape for n in others)
    complete = all(item is not None and available.issuperset(item.numbers) for item in counterparts)
    if len(others) != len(call.inputs) - 1 or not same_shape or not complete:
        return target
    whole = Counterpart((), alignment.layout.splits.get(call.outputs[0]))
    if not all(_same_split(target.split, item.split) for item in [whole, *filter(None, counterparts)]):
        return target
    numbers = tuple(item.numbers for item in counterparts if item is not None)
    return replace(target, total=call.outputs[0], others=numbers)


def _same_split(first: ChannelSplit | None, second: ChannelSplit | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first.mask, second.mask)
