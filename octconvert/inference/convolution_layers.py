"""`ConvolutionStep` and `ScalingStep` -> layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import KerasTensor, layers

from octconvert.inference import program as p
from octconvert.inference import volumes
from octconvert.layers.base import bias_is_misplaced
from octconvert.model.known_functions import is_elementwise
from octconvert.octave.geometry import same_padding
from octconvert.rules.traits import CONV, DENSE, DEPTHWISE, TRANSPOSED

if TYPE_CHECKING:
    from octconvert.inference.emission import Emitter

Inputs = Sequence[KerasTensor]
Activation = Callable | None


def convolution(
    emitter: Emitter, node: p.Node, step: p.ConvolutionStep, inputs: Inputs, activation: Activation = None
) -> KerasTensor:
    step, inputs = _with_own_padding(emitter, node, step, inputs)
    if step.bias is not None and _must_be_apart(emitter, step, inputs[0]):
        return _with_bias_apart(emitter, node, step, inputs, activation)

    x, keeps = inputs[0], activation is None or is_elementwise(activation)
    of_planes = volumes.plane_convolution(step) if keeps and volumes.in_planes(emitter, x) else None
    if of_planes is None:
        return _layer(emitter, node, step, activation)(x)
    x = volumes.neighbours(emitter, node, step, x)
    layer = _layer(emitter, replace(node, name=f"{node.name}-convolution"), of_planes, activation)
    return volumes.on_planes(emitter, node.name, layer, x)


def _layer(
    emitter: Emitter, node: p.Node, step: p.ConvolutionStep, activation: Activation
) -> Callable[[KerasTensor], KerasTensor]:
    """The layer of a step, which steps that do the same share."""

    def fill(layer: Any) -> None:
        kernel = step.kernel.reshape(layer.weights[0].shape)  # of volumes: a depthwise kernel as one of groups
        layer.set_weights([kernel] if step.bias is None else [kernel, step.bias])

    def make() -> Any:
        return _convolution_layer(emitter, step, activation, emitter.name(node.name))

    return lambda x: emitter.layer((*step.key, activation), make, fill, x)


def _with_own_padding(
    emitter: Emitter, node: p.Node, step: p.ConvolutionStep, inputs: Inputs
) -> tuple[p.ConvolutionStep, Inputs]:
    """Zeros that are put around the map before are left to the convolution, where 'same' is as many."""
    before = node.inputs[0] if node.inputs else None
    if before is None or not isinstance(before.step, p.PaddingStep):
        return step, inputs
    if step.padding != "valid" or step.kind not in (CONV, DEPTHWISE):
        return step, inputs
    source = emitter.tensors[before.inputs[0]]
    sizes = [source.shape[axis] for axis in emitter.spatial_axes_of(source)]
    windows = zip(sizes, step.window, step.strides, step.dilation, strict=True)
    same = tuple(None if window[0] is None else same_padding(*window) for window in windows)
    if same != before.step.pads:
        return step, inputs
    return replace(step, padding="same"), [source]


def _convolution_layer(
    emitter: Emitter, step: p.ConvolutionStep, activation: Activation, name: str | None = None
) -> Any:
    shape, rank = step.kernel.shape, len(step.strides)
    depthwise = step.kind == DEPTHWISE and rank < 3  # Keras has no such layer of volumes
    drawn = "depthwise_initializer" if depthwise else "kernel_initializer"
    shared = {"activation": activation, "use_bias": step.bias is not None, "dtype": step.policy, "name": name}
    shared[drawn] = "zeros"  # the kernel is known; random numbers for a large one take a second
    if step.kind == DENSE:
        return layers.Dense(shape[-1], **shared)
    shared |= {
        "strides": step.strides,
        "padding": step.padding,
        "dilation_rate": step.dilation,
        "data_format": emitter.data_format,
    }
    if depthwise:
        return of_rank("DepthwiseConv", rank)(step.window, depth_multiplier=shape[-1], **shared)
    if step.kind == TRANSPOSED:
        return of_rank("Conv", rank, "Transpose")(shape[-2], step.window, **shared, **dict(step.more))
    groups = shape[-2] if step.kind == DEPTHWISE else step.groups
    return of_rank("Conv", rank)(step.outputs, step.window, groups=groups, **shared)


def of_rank(kind: str, rank: int, suffix: str = "") -> type:
    """Keras' layer class: ``Conv2D`` of 'Conv' and 2."""
    return getattr(layers, f"{kind}{rank}D{suffix}")


def _must_be_apart(emitter: Emitter, step: p.ConvolutionStep, x: KerasTensor) -> bool:
    """Whether Keras would misplace the bias, or might, at a number of columns that is not known yet."""
    if step.kind == DENSE or emitter.data_format != "channels_first":
        return False
    shape = _convolution_layer(emitter, step, None).compute_output_shape(x.shape)
    return shape[-1] is None or bias_is_misplaced(shape, emitter.data_format)


def _with_bias_apart(
    emitter: Emitter, node: p.Node, step: p.ConvolutionStep, inputs: Inputs, activation: Activation
) -> KerasTensor:
    """The bias as the offset of a normalisation."""
    bare = replace(node, name=f"{node.name}-bare")
    x = convolution(emitter, bare, replace(step, bias=None), inputs)
    assert step.bias is not None  # called for those alone
    numbers = step.bias.astype("float64")
    offset = p.ScalingStep(step.policy, np.ones_like(numbers), numbers)
    if activation is None:
        return scaling(emitter, node, offset, [x])
    x = scaling(emitter, replace(node, name=f"{node.name}-bias"), offset, [x])
    return layers.Activation(activation, dtype=step.policy, name=emitter.name(node.name))(x)


def scaling(emitter: Emitter, node: p.Node, step: p.ScalingStep, inputs: Inputs) -> KerasTensor:
    x = inputs[0]
    axis = emitter.axis_of_channels(x)
    layer = layers.BatchNormalization(axis=axis, epsilon=1e-3, dtype=step.policy, name=emitter.name(node.name))
    output = layer(x)
    zeros = step.offset * 0.0
    layer.set_weights([step.scale, step.offset, zeros, zeros + (1 - 1e-3)])
    return output
