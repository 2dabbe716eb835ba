"""Rewrites of a `Program` that do less at the high resolution and keep what it computes.

`late_upsampling`: what acts on each element alone, and sums, come before an upsampling rather than behind it; and what
    is pooled right behind it is not upsampled at all.
`joined_pools`: two poolings by blocks, one after the other, are one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import keras

from octconvert.inference.program import (
    ActivationStep,
    AdditionStep,
    AveragePoolingStep,
    CallStep,
    Node,
    PaddingStep,
    Program,
    ScalingStep,
    UpsamplingStep,
)
from octconvert.model.graph import Call
from octconvert.model.known_functions import is_elementwise
from octconvert.octave.geometry import ceil_div
from octconvert.rules import traits_of


def late_upsampling(program: Program) -> Program:
    """``f(upsample(x)) = upsample(f(x))`` for what acts on each element; sums of upsampled maps are upsampled once.

    Only where nothing else reads the upsampled map, so that there are no more upsamplings than before. The average of
    copies is what was copied: ``pool(upsample(x)) = x``, whatever else reads the upsampled map.
    """
    uses = program.uses()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if isinstance(node.step, AveragePoolingStep):
            return _of_copies(target, node.step, inputs[0], node.name)
        late = [
            uses[before] == 1 and isinstance(read.step, UpsamplingStep)
            for before, read in zip(node.inputs, inputs, strict=True)
        ]
        if not any(late):
            return None
        if isinstance(node.step, AdditionStep):
            return _summed_low(target, node, inputs, late)
        if len(inputs) > 1:
            return None
        (up,) = inputs
        if isinstance(node.step, PaddingStep):
            shorter = _cut(up.step, node.step)
            return None if shorter is None else target.add(shorter, up.inputs, up.name)
        if not is_pointwise(node.step, up.step):
            return None
        return target.add(up.step, [target.add(node.step, up.inputs, node.name)], up.name)

    return program.mapped(change)


def _of_copies(target: Program, pool: AveragePoolingStep, source: Node, name: str) -> Node | None:
    """What pooling by blocks returns right behind an upsampling whose cells and blocks lie in one another."""
    up, blocks = source.step, pool.size
    if not isinstance(up, UpsamplingStep) or pool.strides != blocks:
        return None
    fills_map = not any(size % block for size, block in zip(up.sizes, blocks, strict=True))
    # the last block averages what there is; larger ones are centred
    at_end = pool.padding == "same" and max(blocks) <= 2
    if not (fills_map or at_end) or precision_of(pool.policy) != precision_of(up.policy):
        return None
    (low,) = source.inputs
    if up.factors == blocks:
        return low
    if not any(factor % block for factor, block in zip(up.factors, blocks, strict=True)):
        fewer = tuple(factor // block for factor, block in zip(up.factors, blocks, strict=True))
        sizes = tuple(ceil_div(size, block) for size, block in zip(up.sizes, blocks, strict=True))
        return target.add(replace(up, factors=fewer, sizes=sizes), [low], source.name)
    if any(block % factor for factor, block in zip(up.factors, blocks, strict=True)) or not fills_map:
        return None
    size = tuple(block // factor for factor, block in zip(up.factors, blocks, strict=True))
    return target.add(replace(pool, size=size, strides=size, padding="valid"), [low], name)


def is_pointwise(step: Any, before: Any) -> bool:
    """Whether a step does the same to every element of a channel, in the precision of the step before it."""
    if isinstance(step, CallStep):
        return traits_of(step.call.operation).pointwise and _keeps_dtype(step.call)
    if isinstance(step, ScalingStep) or (isinstance(step, ActivationStep) and is_elementwise(step.function)):
        return precision_of(step.policy) == precision_of(before.policy)
    return False


def _keeps_dtype(call: Call) -> bool:
    (read,) = call.node.arguments.keras_tensors
    return call.node.outputs[0].dtype == read.dtype


def precision_of(policy: Any) -> str:
    """The dtype that a step of this policy computes in."""
    return keras.dtype_policies.get(policy).compute_dtype


def _summed_low(target: Program, node: Node, inputs: tuple[Node, ...], late: list[bool]) -> Node | None:
    """A sum whose operands that are upsampled alike are added before."""
    counts = Counter(source.step.key for source, is_late in zip(inputs, late, strict=True) if is_late)
    key, count = counts.most_common(1)[0]
    alike = [is_late and source.step.key == key for source, is_late in zip(inputs, late, strict=True)]
    if count < 2 or precision_of(node.step.policy) != precision_of(inputs[alike.index(True)].step.policy):
        return None
    first = inputs[alike.index(True)]
    lows = [source.inputs[0] for source, is_alike in zip(inputs, alike, strict=True) if is_alike]
    others = [source for source, is_alike in zip(inputs, alike, strict=True) if not is_alike]
    total = target.add(first.step, [target.add(node.step, lows, f"{node.name}-low")], first.name)
    return target.add(node.step, [*others, total], node.name) if others else total


def _cut(up: Any, padding: PaddingStep) -> UpsamplingStep | None:
    """The upsampling with its end cut by less than a cell; None where something else is cut or put around the map."""
    if any(before or after > 0 for before, after in padding.pads):
        return None
    sizes = tuple(size + after for size, (_, after) in zip(up.sizes, padding.pads, strict=True))
    same_cells = all(
        ceil_div(before, factor) == ceil_div(after, factor)
        for before, after, factor in zip(up.sizes, sizes, up.factors, strict=True)
    )
    return replace(up, sizes=sizes) if same_cells else None


def joined_pools(program: Program) -> Program:
    """The average of averages of whole blocks, where nothing else reads those, is that of the larger blocks."""
    uses = program.uses()

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node | None:
        step = node.step
        if not isinstance(step, AveragePoolingStep) or not _pools_blocks(step) or uses[node.inputs[0]] != 1:
            return None
        before = inputs[0].step
        if not isinstance(before, AveragePoolingStep) or not _pools_blocks(before):
            return None
        if precision_of(step.policy) != precision_of(before.policy):
            return None
        size = tuple(a * b for a, b in zip(before.size, step.size, strict=True))
        return target.add(replace(step, size=size, strides=size), inputs[0].inputs, node.name)

    return program.mapped(change)


def _pools_blocks(step: AveragePoolingStep) -> bool:
    """Whether its windows lie side by side and are whole."""
    return step.size == step.strides and step.padding == "valid"
