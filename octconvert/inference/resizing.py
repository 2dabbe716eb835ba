"""Layers that change the positions of one map -> steps: pooling, nearest upsampling, padding, cropping.

Built-in layers do so in portable models, where octave layers have steps of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from octconvert.inference.drafting import Draft, OrderedNode, policy_of
from octconvert.inference.program import AveragePoolingStep, MaxPoolingStep, PaddingStep, Step, UpsamplingStep
from octconvert.model.graph import Call
from octconvert.rules.traits import Traits

LARGEST_FACTOR = 4
"""Of an upsampling that is written in the forms of a runtime; they grow with it."""


def resizes(traits: Traits) -> bool:
    """Whether a layer with these traits may have a step of its own."""
    is_fixed = traits.pooling is not None or traits.padding is not None
    return is_fixed or 1 < max(traits.upsampling, default=1) <= LARGEST_FACTOR


def resized(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    """The step of a layer; None in another data format or rank, and for an upsampling to sizes that are not known."""
    (tensor,) = inputs
    step = _step(draft, call, traits) if traits.data_format == draft.graph.data_format else None
    return None if step is None else [OrderedNode(draft.add(step, [tensor.node], call), tensor.order)]


def _step(draft: Draft, call: Call, traits: Traits) -> Step | None:
    policy, pooling, shape = policy_of(call), traits.pooling, draft.graph.tensors[call.outputs[0]].shape
    if not draft.graph.is_map(shape):
        return None
    if pooling is not None:
        kind = MaxPoolingStep if pooling.kind == "max" else AveragePoolingStep
        return kind(policy, pooling.size, pooling.strides, pooling.padding)
    if traits.padding is not None:
        return PaddingStep(policy, traits.padding)
    sizes = draft.graph.known_size(shape)
    return None if sizes is None else UpsamplingStep(policy, traits.upsampling, sizes)
