"""Layers that change the rows and columns of one map -> steps: average pooling, nearest upsampling, padding, cropping.

Built-in layers do so in portable models, where octave layers have steps of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from octconvert.inference.drafting import Draft, OrderedNode, policy_of
from octconvert.inference.program import AveragePoolingStep, PaddingStep, Step, UpsamplingStep
from octconvert.model.graph import Call
from octconvert.rules.traits import Traits

LARGEST_FACTOR = 4
"""Of an upsampling that is written in the forms of a runtime; they grow with it."""


def resizes(traits: Traits) -> bool:
    """Whether a layer with these traits may have a step of its own."""
    pooling, padding = traits.pooling, traits.padding
    is_average = pooling is not None and pooling.kind == "average" and len(pooling.size) == 2
    is_padding = padding is not None and len(padding) == 2
    return is_average or is_padding or 1 < traits.upsampling <= LARGEST_FACTOR


def resized(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    """The step of a layer; None in another data format, and for an upsampling to sizes that are not known."""
    (tensor,) = inputs
    step = _step(draft, call, traits) if traits.data_format == draft.graph.data_format else None
    return None if step is None else [OrderedNode(draft.add(step, [tensor.node], call), tensor.order)]


def _step(draft: Draft, call: Call, traits: Traits) -> Step | None:
    policy, pooling = policy_of(call), traits.pooling
    if pooling is not None:
        size, strides = ((rows, columns) for rows, columns in (pooling.size, pooling.strides))
        return AveragePoolingStep(policy, size, strides, pooling.padding)
    if traits.padding is not None:
        of_rows, of_columns = traits.padding
        return PaddingStep(policy, (of_rows, of_columns))
    rows, columns = (draft.graph.tensors[call.outputs[0]].shape[axis] for axis in draft.graph.spatial_axes)
    return None if rows is None or columns is None else UpsamplingStep(policy, traits.upsampling, (rows, columns))
