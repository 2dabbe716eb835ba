"""Rewrites of a `Program` that keep what it computes: each takes one and returns another.

`folded`: an affine step goes into the numbers of the convolutions before it, through sums, pooling and upsampling.
`strided_pools`: average, then take every second one: averages of strided windows.
`whole_images`: an input's averages go into the kernel that reads them.
`joined_inputs`: two convolutions whose results are added are one over both inputs.
`joined_outputs`: the convolutions from one map to several sums are one, cut into its channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from octconvert.inference.program import (
    AdditionStep,
    AveragePoolingStep,
    ConvolutionStep,
    EndRepeatingStep,
    InputStep,
    JoiningStep,
    Node,
    PaddingStep,
    PartStep,
    Program,
    ScalingStep,
    ShiftedAverageStep,
    Step,
    UpsamplingStep,
    key_of,
)
from octconvert.octave.geometry import Pads, same_padding
from octconvert.rules.traits import CONV

FEW_CHANNELS = 4
"""As images have, which runtimes fill up to the width of their vectors where they pool them."""
LARGEST_SPREAD = 8
"""Rows and columns of a kernel that averages an image as well; larger ones took longer than pooling."""

_AVERAGES = (AveragePoolingStep, UpsamplingStep, EndRepeatingStep, ShiftedAverageStep)
"""Steps that return a constant unchanged and work channel by channel."""


def folded(program: Program) -> Program:
    """Scalings (BatchNormalization at inference) taken up by the convolutions whose results they read.

    ``scale * (a + b) + offset = (scale * a + offset) + scale * b``: a sum hands the scale on to all it adds and the
    offset to one. What is read by something else as well stays, and so does the scaling behind it.
    """
    before, uses = program.uses(), Counter[Node]()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node:
        step, folded_node = node.step, None
        if isinstance(step, ScalingStep) and _takes(inputs[0], uses, True):
            folded_node = _scaled(target, inputs[0], step.scale, step.offset)
        result = target.add(step, inputs, node.name) if folded_node is None else folded_node
        uses[result] += before[node]
        return result

    return program.mapped(change)


_ALONE = "the map before is read by others as well"
_NO_CONVOLUTION = "the map before does not come straight from a convolution"
_PADDED = "zeros are put around the map before"


def kept_scalings(program: Program) -> dict[str, list[str]]:
    """The scalings that `folded` has left, by the reason."""
    uses, kept = program.uses(), dict[str, list[str]]()
    for node in program.live():
        if isinstance(node.step, ScalingStep):
            kept.setdefault(_obstacle(node.inputs[0], uses, True) or _ALONE, []).append(node.name)
    return kept


def _takes(node: Node, uses: Counter, with_offset: bool) -> bool:
    """Whether `_scaled` can be done: nobody else reads what changes."""
    return _obstacle(node, uses, with_offset) is None


def _obstacle(node: Node, uses: Counter, with_offset: bool) -> str | None:
    """Why `_scaled` can not be done."""
    step = node.step
    if not isinstance(step, (ConvolutionStep, ScalingStep, AdditionStep, PaddingStep, *_AVERAGES)):
        return _NO_CONVOLUTION
    if uses[node] != 1:
        return _ALONE
    if isinstance(step, (ConvolutionStep, ScalingStep)):
        return None
    if isinstance(step, AdditionStep):
        if len(set(node.inputs)) < len(node.inputs):
            return _ALONE
        parts = [_obstacle(source, uses, False) for source in node.inputs]
        whole = [_obstacle(source, uses, with_offset) for source in node.inputs]
        return next(filter(None, parts), None) or (None if None in whole else whole[0])
    if isinstance(step, PaddingStep) and with_offset and any(max(pair) > 0 for pair in step.pads):
        return _PADDED
    return _obstacle(node.inputs[0], uses, with_offset)


def _scaled(target: Program, node: Node, scale: np.ndarray, offset: np.ndarray | None) -> Node:
    step, inputs = node.step, node.inputs
    if isinstance(step, ConvolutionStep):
        return target.add(step.scaled(scale, offset), inputs, node.name)
    if isinstance(step, ScalingStep):
        moved = scale * step.offset + (0.0 if offset is None else offset)
        return target.add(replace(step, scale=scale * step.scale, offset=moved), inputs, node.name)
    if isinstance(step, AdditionStep):
        offsets: list[np.ndarray | None] = [None] * len(inputs)
        if offset is not None:
            offsets[_offset_taker(inputs)] = offset
        parts = zip(inputs, offsets, strict=True)
        return target.add(step, [_scaled(target, source, scale, part) for source, part in parts], node.name)
    return target.add(step, [_scaled(target, inputs[0], scale, offset)], node.name)


def _offset_taker(inputs: tuple[Node, ...]) -> int:
    """A convolution if there is one: runtimes add the bias, and what comes behind, while they convolve."""
    near = [isinstance(source.step, ConvolutionStep) for source in inputs]
    safe = [not _pads(source) for source in inputs]
    return next(flags.index(True) for flags in (near, safe) if any(flags))


def _pads(node: Node) -> bool:
    """Whether zeros are put around the map on the way to what takes an offset."""
    if isinstance(node.step, (ConvolutionStep, ScalingStep)):
        return False
    if isinstance(node.step, PaddingStep) and any(max(pair) > 0 for pair in node.step.pads):
        return True
    return all(_pads(source) for source in node.inputs)


def strided_pools(program: Program) -> Program:
    """Of an average at each position, only those that a strided 1x1 convolution reads are computed."""

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        step, pool = node.step, _pool_before(inputs)
        if not isinstance(step, ConvolutionStep) or pool is None:
            return None
        if step.kind != CONV or max(step.window) > 1 or max(step.strides) == 1:
            return None
        if max(pool.strides) > 1 or not (pool.padding == "valid" or pool.size == step.strides):
            return None
        fewer = target.add(replace(pool, strides=step.strides), inputs[0].inputs, inputs[0].name)
        return target.add(replace(step, strides=pool.strides, padding="valid"), [fewer], node.name)

    return program.mapped(change)


def _pool_before(inputs: tuple[Node, ...]) -> AveragePoolingStep | None:
    """The average pooling whose result is all that is read."""
    step = inputs[0].step if len(inputs) == 1 else None
    return step if isinstance(step, AveragePoolingStep) else None


def whole_images(program: Program, sizes: Mapping[int, tuple[int, ...]]) -> Program:
    """``W * pool(x) = (W with every tap spread over a block) * x``: an input of few channels is not pooled.

    Only by convolutions with a stride and a small kernel: the products are more than before by the size of a block.

    Args:
        sizes: of the inputs along their spatial axes, by their numbers.
    """

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        step, pool = node.step, _pool_before(inputs)
        if not isinstance(step, ConvolutionStep) or pool is None:
            return None
        image = inputs[0].inputs[0]
        known = sizes.get(image.step.tensor) if isinstance(image.step, InputStep) else None
        if known is None or not _reads_image(step, pool) or not _is_even(pool, known):
            return None
        return target.add(_spread(step, pool.size, known), [image], node.name)

    return program.mapped(change)


def _reads_image(step: ConvolutionStep, pool: AveragePoolingStep) -> bool:
    if step.kind != CONV or step.groups > 1 or max(step.dilation) > 1:
        return False
    small = all(taps * block <= LARGEST_SPREAD for taps, block in zip(step.window, pool.size, strict=True))
    few = step.kernel.shape[-2] <= FEW_CHANNELS
    return small and few and step.padding == "same" and min(step.strides) > 1


def _is_even(pool: AveragePoolingStep, sizes: tuple[int, ...]) -> bool:
    """Whether its blocks lie side by side and fill the map."""
    whole = not any(size % block for size, block in zip(sizes, pool.size, strict=True))
    return whole and pool.size == pool.strides


def _spread(step: ConvolutionStep, blocks: tuple[int, ...], sizes: tuple[int, ...]) -> ConvolutionStep:
    """The convolution of the map that was pooled by these blocks.

    Where 'same' pads an odd number of cells, the half of it in front is half a cell too much: the kernel begins with
    zeros for that.
    """
    kernel = step.kernel / np.prod(blocks)
    for axis, (block, size, stride) in enumerate(zip(blocks, sizes, step.strides, strict=True)):
        pads = same_padding(size // block, kernel.shape[axis], stride)
        kernel = np.repeat(kernel, block, axis)
        if sum(pads) % 2:
            zeros = np.zeros_like(np.take(kernel, range(block - 1), axis))
            kernel = np.concatenate([zeros, kernel], axis)
    strides = tuple(block * stride for block, stride in zip(blocks, step.strides, strict=True))
    return replace(step, kernel=kernel, strides=strides)


def joined_inputs(program: Program) -> Program:
    """``A * a + B * b = [A; B] * concat(a, b)``: one convolution in the place of two and their sum."""
    uses = program.uses()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if not isinstance(node.step, AdditionStep) or len(inputs) != 2:
            return None
        if any(uses[source] != 1 for source in node.inputs) or not _alike(*(source.step for source in inputs)):
            return None
        if _pads_before(inputs[0]) != _pads_before(inputs[1]):  # their maps differ in size
            return None
        first, second = (source.step for source in inputs)
        assert isinstance(first, ConvolutionStep) and isinstance(second, ConvolutionStep)
        biases = [each.bias for each in (first, second) if each.bias is not None]
        kernel = np.concatenate([first.kernel, second.kernel], axis=-2)
        both = replace(first, kernel=kernel, bias=sum(biases[1:], biases[0]) if biases else None)
        sources = [source.inputs[0] for source in inputs]
        joined = target.add(JoiningStep(first.policy), sources, f"{node.name}-join")
        return target.add(both, [joined], node.name)

    return program.mapped(change)


def _pads_before(node: Node) -> Pads | None:
    """What is put around the map that a convolution reads, or cut off it."""
    read = node.inputs[0].step
    return read.pads if isinstance(read, PaddingStep) else None


def joined_outputs(program: Program) -> Program:
    """``A * x`` and ``B * x`` are channels of ``[A, B] * x``: the paths of a low map to both outputs of a layer.

    Convolutions with a bias or an activation stay alone: runtimes do both while they convolve.
    """
    group_of = {node: group for group in _siblings(program) if len(group) > 1 for node in group}

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node not in group_of:
            return None
        group = group_of[node]
        parts: list[ConvolutionStep] = [each.step for each in group]  # type: ignore[misc]
        whole = replace(parts[0], kernel=np.concatenate([each.kernel for each in parts], axis=-1))
        place = group.index(node)
        start = sum(each.outputs for each in parts[:place])
        cut = PartStep(whole.policy, start, start + parts[place].outputs)
        return target.add(cut, [target.add(whole, inputs, f"{group[0].name}-all")], node.name)

    return program.mapped(change)


def _siblings(program: Program) -> list[list[Node]]:
    """Convolutions without a bias, each a part of a sum, by the map they read and by `_geometry`."""
    outputs = set(program.outputs)
    groups: dict[tuple, list[Node]] = {}
    for node, readers in program.readers().items():
        step = node.step
        if not isinstance(step, ConvolutionStep) or step.bias is not None or node in outputs:
            continue
        geometry = _geometry(step)
        if geometry is not None and all(isinstance(each.step, (AdditionStep, UpsamplingStep)) for each in readers):
            groups.setdefault((node.inputs[0], geometry), []).append(node)
    return list(groups.values())


def _alike(first: Step, second: Step) -> bool:
    """Whether two steps are convolutions that differ in their numbers alone."""
    return _geometry(first) is not None and _geometry(first) == _geometry(second)


def _geometry(step: Step) -> tuple | None:
    """What convolutions that can be joined have in common; None: it is none, or one in groups."""
    if not isinstance(step, ConvolutionStep) or step.kind != CONV or step.groups > 1:
        return None
    policy = key_of(step.policy)
    return step.window, step.strides, step.padding, step.dilation, policy
