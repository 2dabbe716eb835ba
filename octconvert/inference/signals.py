"""A `Program` of signals as one of images of one row.

Keras computes a Conv1D on TensorFlow as a Conv2D between two changes of shape, and runtimes see all three. As images
from end to end, signals change their shape where the model begins and ends alone, and whatever a runtime can do with
images holds for them: operations that it fuses, and libraries that have no others.
"""

from __future__ import annotations

from dataclasses import replace

from octconvert.inference.drafting import policy_of
from octconvert.inference.program import (
    ActivationStep,
    AdditionStep,
    CallStep,
    ConvolutionStep,
    EndRepeatingStep,
    GlobalPoolingStep,
    ImageStep,
    JoiningStep,
    Node,
    PaddingStep,
    PartStep,
    PlaceScalingStep,
    PoolingStep,
    Program,
    ReorderingStep,
    ScalingStep,
    ShiftedAverageStep,
    SignalStep,
    Step,
    UpsamplingStep,
)
from octconvert.model.graph import CallGraph
from octconvert.model.known_functions import is_elementwise
from octconvert.octave.geometry import factors
from octconvert.rules import traits_of
from octconvert.rules.traits import DENSE, DEPTHWISE

_OF_ONE_SHAPE = (AdditionStep, JoiningStep, PartStep, ReorderingStep, ScalingStep)
"""Steps that do the same to signals and to images."""


def as_images(program: Program, graph: CallGraph) -> Program:
    """The same with all that is computed on signals, or on what was an image already, computed on images of one row.

    Calls that are not known to do the same on images read and return signals.

    Args:
        graph: of the model, whose maps are signals.
    """
    result, images = Program(ranks=(2,)), set[Node]()
    replacements: dict[Node, Node] = {}
    for node in program.live():
        inputs = [replacements[source] for source in node.inputs]
        step = _lifted(node.step, graph, any(each in images for each in inputs))
        if step is None:
            inputs = [result.add(SignalStep(None), [x], f"{x.name}-signal") if x in images else x for x in inputs]
            replacements[node] = result.add(node.step, inputs, node.name)
            continue
        inputs = [x if x in images else result.add(ImageStep(None), [x], f"{x.name}-image") for x in inputs]
        replacements[node] = new = result.add(step, inputs, node.name)
        if not isinstance(step, GlobalPoolingStep) or step.keepdims:
            images.add(new)
    outputs = [replacements[node] for node in program.outputs]
    result.outputs = [result.add(SignalStep(None), [x], f"{x.name}-signal") if x in images else x for x in outputs]
    return result


def _lifted(step: Step, graph: CallGraph, reads_image: bool) -> Step | None:
    """The step on images; None where it is computed as it is."""
    if isinstance(step, ConvolutionStep):
        return _convolution(step) if step.kind != DENSE else step if reads_image else None
    if isinstance(step, PoolingStep):
        return replace(step, size=(1, *step.size), strides=(1, *step.strides))
    if isinstance(step, UpsamplingStep):
        return replace(step, factors=(1, *step.factors), sizes=(1, *step.sizes))
    if isinstance(step, PaddingStep):
        return replace(step, pads=((0, 0), *step.pads))
    if isinstance(step, EndRepeatingStep):
        return replace(step, counts=((0, 0), *step.counts))
    if isinstance(step, PlaceScalingStep):
        return replace(step, scale=step.scale[None])
    if isinstance(step, ShiftedAverageStep):
        return replace(step, weights=((1.0,), *step.weights), octave=(1, *factors(step.octave, 1)))
    if not reads_image:
        return None
    if isinstance(step, CallStep):
        return _call(step, graph)
    is_same = isinstance(step, ActivationStep) and is_elementwise(step.function)
    return step if is_same or isinstance(step, _OF_ONE_SHAPE) else None


def _convolution(step: ConvolutionStep) -> ConvolutionStep:
    row_stride = step.strides[0] if step.kind == DEPTHWISE else 1  # which has one for both axes
    more = dict(step.more)
    if more.get("output_padding") is not None:
        (extra,) = factors(more["output_padding"], 1)
        more["output_padding"] = (0, extra)
    return replace(
        step,
        kernel=step.kernel[None],
        strides=(row_stride, *step.strides),
        dilation=(1, *step.dilation),
        more=tuple(more.items()),
    )


def _call(step: CallStep, graph: CallGraph) -> Step | None:
    """What a call is on images, some of its inputs being images already."""
    call, traits = step.call, traits_of(step.call.operation)
    shapes = [graph.tensors[number].shape for number in call.inputs]
    if traits.global_pooling:
        return GlobalPoolingStep(policy_of(call), traits.global_pooling, call.operation.keepdims)
    if not all(map(graph.is_map, shapes)):
        return None
    if traits.pointwise or traits.elementwise:
        return step if getattr(call.operation, "input_spec", None) is None else None
    if traits.joins_axis is not None and traits.joins_axis % len(shapes[0]) == graph.channel_axis:
        return JoiningStep(policy_of(call))
    return None
