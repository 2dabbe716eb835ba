"""Call graph -> `Program`: octave layers taken apart into plain steps, and scales and offsets of channels as such."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from octconvert.inference.convolutions import convolved
from octconvert.inference.drafting import Draft, OrderedNode, array, policy_of
from octconvert.inference.octave_layers import merged, octave_convolved
from octconvert.inference.pair_pooling import pair_pooled
from octconvert.inference.program import (
    AdditionStep,
    CallStep,
    ConstantStep,
    InputStep,
    Program,
    ReshapingStep,
    ScalingStep,
)
from octconvert.inference.resizing import resized, resizes
from octconvert.model.graph import BOUNDARY, SOURCE_INPUT, Call, CallGraph
from octconvert.rules import rule_of, traits_of
from octconvert.rules.traits import Traits


@dataclass(frozen=True, eq=False)
class Lowered:
    """The program of a model; ``kept``: names of the octave layers that stay as they are, by the reason."""

    program: Program
    kept: dict[str, list[str]]


def lowered(graph: CallGraph, as_it_is: bool = False) -> Lowered:
    """A model as a program.

    Args:
        as_it_is: every call stays as it is, but for the ends of a `TimeDistributed`, which the model does not have.
    """
    draft, kept = Draft(graph), dict[str, list[str]]()
    tensors: dict[int, OrderedNode] = {}
    for call in graph.calls:
        if call.kind == SOURCE_INPUT:
            step = InputStep(None, call.outputs[0])
            outputs = [OrderedNode(draft.program.add(step, (), call.operation.name))]
        elif call.kind == BOUNDARY:
            outputs = [tensors[call.inputs[0]]]
        else:
            outputs = _call(draft, call, [tensors[number] for number in call.inputs], as_it_is, kept)
        tensors.update(zip(call.outputs, outputs, strict=True))
    draft.program.outputs = [draft.plain(tensors[number]) for number in graph.outputs]
    return Lowered(draft.program, kept)


def _call(
    draft: Draft, call: Call, inputs: list[OrderedNode], as_it_is: bool, kept: dict[str, list[str]]
) -> list[OrderedNode]:
    """The outputs of an operation: its steps where it has any, else the call itself."""
    traits = traits_of(call.operation)
    if traits.folds_time or not as_it_is:
        outputs = _steps(draft, call, inputs, traits)
        if outputs is not None:
            return outputs
        size_alone = draft.graph.tensors[call.outputs[0]].size is not None  # layers that read it are listed themselves
        if type(call.operation).__module__.startswith("octconvert.") and not size_alone:
            names = kept.setdefault(_reason(draft, call, traits), [])
            if call.layer_name not in names:
                names.append(call.layer_name)
    if len(inputs) == 1 and traits.channelwise and inputs[0].order is not None:
        return [OrderedNode(draft.add(CallStep(None, call), [inputs[0].node], call), inputs[0].order)]
    nodes = [draft.plain(tensor) for tensor in inputs]
    return [OrderedNode(draft.add(CallStep(None, call, i), nodes, call)) for i in range(len(call.outputs))]


def _steps(draft: Draft, call: Call, inputs: list[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    lower = _lowering(call, traits)
    outputs = lower(draft, call, inputs, traits) if lower is not None else None
    return _scaled(draft, call, inputs) if outputs is None else outputs


Lower = Callable[[Draft, Call, Sequence[OrderedNode], Traits], list[OrderedNode] | None]


def _lowering(call: Call, traits: Traits) -> Lower | None:
    """What writes the steps of a layer with these traits; None where there is no form for inference of it."""
    if traits.stages:
        return convolved
    if traits.octave is not None:
        return octave_convolved
    if traits.pair_pooling and not traits.no_inference_form:
        return pair_pooled
    if traits.merge is not None:
        return merged
    if resizes(traits):
        return resized
    if traits.folds_time:
        return _reshaped
    if traits.constant:
        return _constant
    rule = rule_of(call) if isinstance(call.operation, keras.layers.Layer) else None
    return _summed if rule is not None and rule.is_sum(call) else None


def _reshaped(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode]:
    """One end of a `TimeDistributed`."""
    shape = draft.graph.tensors[call.outputs[0]].shape
    step = ReshapingStep(policy_of(call), (-1, *shape[1:]))
    return [OrderedNode(draft.add(step, [draft.plain(inputs[0])], call))]


def _constant(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode]:
    value = array(call.operation, traits.constant).astype(draft.graph.tensors[call.outputs[0]].dtype)
    return [OrderedNode(draft.add(ConstantStep(policy_of(call), value), [], call))]


def _summed(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    if len({draft.graph.tensors[number].shape for number in call.inputs}) > 1:
        return None
    step = AdditionStep(policy_of(call))
    return [OrderedNode(draft.add(step, [draft.plain(tensor) for tensor in inputs], call))]


def _scaled(draft: Draft, call: Call, inputs: list[OrderedNode]) -> list[OrderedNode] | None:
    """A scale and an offset for each channel; what does nothing at inference is left out."""
    rule = rule_of(call)
    affine = rule.affine(call) if rule is not None and len(inputs) == 1 else None
    if affine is None:
        return None
    shape, graph = draft.graph.tensors[call.inputs[0]].shape, draft.graph
    channel_axis = graph.axis_of_channels(shape)
    scale, offset = (np.asarray(each, "float64").reshape(-1) for each in affine)
    if (scale == 1).all() and (offset == 0).all():
        return inputs
    channels, on_channels = shape[channel_axis], getattr(call.operation, "axis", -1) % len(shape) == channel_axis
    if not (len(shape) == 2 or graph.is_map(shape)) or channels is None or not on_channels:
        return None
    scale, offset = (np.broadcast_to(each, (channels,)) for each in (scale, offset))
    order = inputs[0].order
    if order is not None:  # numbers of the node's channels
        scale, offset = (each[np.argsort(order)] for each in (scale, offset))
    return [OrderedNode(draft.add(ScalingStep(policy_of(call), scale, offset), [inputs[0].node], call), order)]


def _reason(draft: Draft, call: Call, traits: Traits) -> str:
    """Why an octave layer stays one."""
    if _lowering(call, traits) is None:
        return f"there is no form for inference of {traits.no_inference_form or call.class_name}"
    if getattr(call.operation, "data_format", draft.graph.data_format) != draft.graph.data_format:
        return "their data_format is not that of the model's first layers"
    return "the sizes of their maps must be known"
