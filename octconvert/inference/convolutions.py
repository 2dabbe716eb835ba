"""Convolutions of one map -> steps: whatever layer has the stages of `octconvert.rules.traits.ConvolutionStage`."""

from __future__ import annotations

from collections.abc import Sequence

from octconvert.inference.drafting import Draft, OrderedNode, array, bias_of, policy_of
from octconvert.inference.program import ConvolutionStep
from octconvert.layers.base import bias_is_misplaced
from octconvert.model.graph import Call
from octconvert.rules.traits import CONV, DENSE, DEPTHWISE, TRANSPOSED, ConvolutionStage, Traits


def convolved(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    """The stages of a layer, and its activation; None for windows that do not move over the positions of maps."""
    if traits.adapted or not all(stage.kind == DENSE or stage.rank in draft.graph.ranks for stage in traits.stages):
        return None
    if any(stage.kind != DENSE for stage in traits.stages) and not _is_standard(draft, call, traits):
        return None
    (tensor,) = inputs
    for stage in traits.stages:
        step = _step(call, stage)
        if stage.kind == DEPTHWISE or step.groups > 1:
            tensor = OrderedNode(draft.plain(tensor))
        elif tensor.order is not None:
            step = step.reading(tensor.order)
        tensor = OrderedNode(draft.add(step, [tensor.node], call, stage.suffix))
    return [OrderedNode(draft.activated(tensor.node, call))]


def _is_standard(draft: Draft, call: Call, traits: Traits) -> bool:
    """Whether a convolution has the channels where all others have them, and its bias on them."""
    shape, data_format = draft.graph.tensors[call.outputs[0]].shape, draft.graph.data_format
    has_bias = bias_of(call.operation, traits.stages[-1].bias) is not None
    return traits.data_format == data_format and not (has_bias and bias_is_misplaced(shape, data_format))


def _step(call: Call, stage: ConvolutionStage) -> ConvolutionStep:
    kernel, bias = array(call.operation, stage.kernel), bias_of(call.operation, stage.bias)
    if stage.kind == DENSE:
        return ConvolutionStep(policy_of(call), DENSE, kernel, bias)
    return ConvolutionStep(
        policy_of(call),
        stage.kind,
        kernel,
        bias,
        stage.strides,
        stage.padding,
        stage.dilation,
        stage.groups if stage.kind == CONV else 1,
        (("output_padding", stage.output_padding),) if stage.kind == TRANSPOSED else (),
    )
