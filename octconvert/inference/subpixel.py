"""Transposed convolutions as sub-pixel convolutions, which LiteRT computes several times faster.

A transposed convolution of stride s writes blocks of s x s positions. The convolution that computes all positions of a
block as channels of its own, followed by ``depth_to_space``, is the same function (Shi et al. 2016, arXiv 1609.07009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np

from octconvert.inference.program import (
    AdditionStep,
    ConvolutionStep,
    DepthToSpaceStep,
    Node,
    PaddingStep,
    Program,
    ScalingStep,
    Step,
)
from octconvert.inference.resolution import is_pointwise, precision_of
from octconvert.layers.window import TransposedWindow
from octconvert.octave.geometry import ceil_div
from octconvert.rules.traits import CONV, TRANSPOSED

MOST_WORK = 2.5
"""Products of the sub-pixel convolution for each one of the transposed convolution at most: its kernel has zeros."""


def subpixel(program: Program) -> Program:
    """The program with sub-pixel convolutions in the place of transposed ones."""
    return _late_blocks(_split(_fitted(program)))


def _fitted(program: Program) -> Program:
    """What is put around a transposed convolution's result, or cut off it, becomes a part of the convolution.

    Beyond the full result there is nothing but zeros.
    """
    uses = program.uses()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        step = inputs[0].step if isinstance(node.step, PaddingStep) else None
        if not _is_of_images(step) or uses[node.inputs[0]] != 1:
            return None
        assert isinstance(node.step, PaddingStep)
        cuts = max(map(max, node.step.pads)) <= 0
        if not cuts and (step.bias is not None or step.padding != "valid"):
            return None
        return target.add(replace(step, fit=node.step.pads), inputs[0].inputs, inputs[0].name)

    return program.mapped(change)


def _is_of_images(step: Step | None) -> TypeGuard[ConvolutionStep]:
    """Whether a step is a transposed convolution with rows and columns."""
    return isinstance(step, ConvolutionStep) and step.kind == TRANSPOSED and len(step.strides) == 2


def _split(program: Program) -> Program:
    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        step = node.step
        if not _is_of_images(step):
            return None
        result = _subpixel(target, step, inputs[0], node.name)
        if result is None and step.fit is not None:  # as it was before `_fitted`
            whole = target.add(replace(step, fit=None), inputs, node.name)
            return target.add(PaddingStep(step.policy, step.fit), [whole], f"{node.name}-fit")
        return result

    return program.mapped(change)


def _subpixel(target: Program, step: ConvolutionStep, source: Node, name: str) -> Node | None:
    """None: it has several strides, or would have too much work."""
    axes = [_Axis.of(step, axis) for axis in (0, 1)]
    block = step.strides[0]
    size = axes[0].length * axes[1].length * block**2
    if step.strides[1] != block or size > MOST_WORK * step.kernel.shape[0] * step.kernel.shape[1]:
        return None
    node = target.add(PaddingStep(step.policy, (axes[0].pads, axes[1].pads)), [source], f"{name}-around")
    bias = None if step.bias is None else np.tile(step.bias, block**2)
    convolution = ConvolutionStep(step.policy, CONV, _kernel(step, axes), bias, strides=(1, 1), dilation=(1, 1))
    node = target.add(convolution, [node], name)
    if block > 1:
        node = target.add(DepthToSpaceStep(step.policy, block), [node], f"{name}-blocks")
    cuts = (0, -axes[0].beyond), (0, -axes[1].beyond)
    return target.add(PaddingStep(step.policy, cuts), [node], f"{name}-end") if any(map(any, cuts)) else node


@dataclass(frozen=True)
class _Axis:
    """One axis of the sub-pixel convolution.

    Attributes:
        taps: (phase in the block, tap of the transposed kernel, tap of this kernel), for all that meet.
        length: of this kernel.
        pads: zeros before and behind the map.
        beyond: positions of the last block that are not of the output.
    """

    taps: tuple[tuple[int, int, int], ...]
    length: int
    pads: tuple[int, int]
    beyond: int

    @classmethod
    def of(cls, step: ConvolutionStep, axis: int) -> _Axis:
        """Position ``stride * q + phase`` reads ``x[i]`` by tap t where ``dilation * t`` is as far as it lies behind
        ``stride * i``."""
        more = dict(step.more)
        window = TransposedWindow(
            step.kernel.shape[:2], step.strides, step.dilation, step.padding, more.get("output_padding"), octave=1
        )
        stride, (front, back) = step.strides[axis], (0, 0) if step.fit is None else step.fit[axis]
        before = window.before(axis) - front
        longer = window.output(axis, 1) - stride + front + back  # than stride times the input, whatever its size
        meets = list(_meets(step.kernel.shape[axis], stride, step.dilation[axis], before))
        first, last = min(place for *_, place in meets), max(place for *_, place in meets)
        taps = tuple((phase, tap, last - place) for phase, tap, place in meets)
        blocks = ceil_div(longer, stride)
        return cls(taps, last - first + 1, (last, blocks - first), stride * blocks - longer)


def _meets(taps: int, stride: int, dilation: int, before: int) -> Iterator[tuple[int, int, int]]:
    """(phase, tap, how many positions of the input lie between what is read and the block)."""
    for phase in range(stride):
        for tap in range(taps):
            distance = dilation * tap - phase - before
            if distance % stride == 0:
                yield phase, tap, distance // stride


def _kernel(step: ConvolutionStep, axes: list[_Axis]) -> np.ndarray:
    """(rows, columns, inputs, all phases * outputs); that of the transposed convolution is (..., outputs, inputs)."""
    outputs, inputs = step.kernel.shape[-2:]
    block = step.strides[0]
    kernel = np.zeros((axes[0].length, axes[1].length, inputs, block, block, outputs), step.kernel.dtype)
    for row, own_row, place in axes[0].taps:
        for column, own_column, other in axes[1].taps:
            kernel[place, other, :, row, column] = step.kernel[own_row, own_column].T
    return kernel.reshape(*kernel.shape[:3], -1)


def _late_blocks(program: Program) -> Program:
    """What acts on each element alone, and sums, come before `DepthToSpaceStep` and the cut behind it."""
    uses = program.uses()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        tails = [_tail(new) if uses[old] == 1 else None for old, new in zip(node.inputs, inputs, strict=True)]
        found = [tail for tail in tails if tail is not None]
        if not found or len(found) < len(tails) or len({(tail.blocks.key, tail.cut_key) for tail in found}) > 1:
            return None
        early = _early(node.step, found[0].blocks)
        if early is None:
            return None
        return found[0].behind(target, target.add(early, [tail.source for tail in found], node.name))

    return program.mapped(change)


def _early(step: Step, blocks: DepthToSpaceStep) -> Step | None:
    """The step as it is before the blocks are put in place, if it can be there."""
    if isinstance(step, AdditionStep):
        return step if precision_of(step.policy) == precision_of(blocks.policy) else None
    if not is_pointwise(step, blocks):
        return None
    if isinstance(step, ScalingStep):
        scale, offset = (np.tile(each, blocks.block**2) for each in (step.scale, step.offset))
        return replace(step, scale=scale, offset=offset)
    return step


@dataclass(frozen=True, eq=False)
class _Tail:
    """A node, ``depth_to_space`` of it, and what is cut off then."""

    source: Node
    blocks: DepthToSpaceStep
    cut: PaddingStep | None
    name: str

    @property
    def cut_key(self) -> tuple | None:
        return None if self.cut is None else self.cut.key

    def behind(self, target: Program, node: Node) -> Node:
        """The same behind another node."""
        result = target.add(self.blocks, [node], self.name)
        return result if self.cut is None else target.add(self.cut, [result], f"{self.name}-end")


def _tail(node: Node) -> _Tail | None:
    """What a node ends with."""
    cut = node.step if isinstance(node.step, PaddingStep) and max(map(max, node.step.pads)) <= 0 else None
    blocks = node if cut is None else node.inputs[0]
    if not isinstance(blocks.step, DepthToSpaceStep):
        return None
    return _Tail(blocks.inputs[0], blocks.step, cut, blocks.name)
