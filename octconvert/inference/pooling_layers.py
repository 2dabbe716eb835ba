"""Pooling steps -> layers, in the forms of `octconvert.inference.step_forms.Forms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import KerasTensor

from octconvert.inference import program as p
from octconvert.inference import volumes
from octconvert.inference.convolution_layers import convolution, of_rank
from octconvert.layers import portable
from octconvert.octave.geometry import Pads, ceil_div
from octconvert.rules.traits import DEPTHWISE

if TYPE_CHECKING:
    from octconvert.inference.emission import Emitter

Inputs = Sequence[KerasTensor]


def average_pooling(emitter: Emitter, node: p.Node, step: p.AveragePoolingStep, inputs: Inputs) -> KerasTensor:
    ends = _missing_ends(step, inputs[0]) if emitter.forms.pooling == "depthwise" else None
    if ends is not None and emitter.data_format == "channels_last":
        whole = portable.repeat_edges(inputs[0], ends, emitter.data_format, emitter.name(f"{node.name}-ends"))
        kernel = np.full((*step.size, whole.shape[-1], 1), 1 / np.prod(step.size))
        ones, strides = (1,) * len(step.size), (max(step.strides),) * len(step.size)
        same = p.ConvolutionStep(step.policy, DEPTHWISE, kernel, None, strides, "valid", ones)
        return convolution(emitter, replace(node, inputs=()), same, [whole])
    return _pooled(emitter, node, "AveragePooling", step, inputs[0])


def max_pooling(emitter: Emitter, node: p.Node, step: p.MaxPoolingStep, inputs: Inputs) -> KerasTensor:
    return _pooled(emitter, node, "MaxPooling", step, inputs[0])


def _pooled(emitter: Emitter, node: p.Node, kind: str, step: p.PoolingStep, x: KerasTensor) -> KerasTensor:
    """By Keras' layers of a kind; of volumes, where the form asks for it, by those of images."""
    shared = {"data_format": emitter.data_format, "dtype": step.policy}
    if not volumes.in_planes(emitter, x):
        layer = of_rank(kind, len(x.shape) - 2)
        return layer(step.size, step.strides, step.padding, name=emitter.name(node.name), **shared)(x)
    for part, size, strides in (
        ("planes", step.size[1:], step.strides[1:]),
        ("depth", (step.size[0], 1), (step.strides[0], 1)),
    ):
        if max(*size, *strides) > 1:
            layer = of_rank(kind, 2)(size, strides, step.padding, name=emitter.name(f"{node.name}-{part}"), **shared)
            on = volumes.on_planes if part == "planes" else volumes.along_depth
            x = on(emitter, node.name, layer, x)
    return x


def _missing_ends(step: p.AveragePoolingStep, x: KerasTensor) -> Pads | None:
    """Rows and columns to be repeated at the end so that all windows are whole; None: that is another average.

    The average of a cell and its copy is the cell, which is what 'same' padding leaves of a window of two at the end.
    """
    moves = {stride for stride, size in zip(step.strides, x.shape[1:-1], strict=True) if size != 1}
    if len(step.size) > 2 or len(moves) > 1:  # a depthwise layer has one stride for all axes, and up to two axes
        return None
    if step.padding == "valid":
        return ((0, 0),) * len(step.size)
    ends = []
    for size, window, stride in zip(x.shape[1:-1], step.size, step.strides, strict=True):
        if size is None:
            return None
        missing = (ceil_div(size, stride) - 1) * stride + window - size
        if missing < 0 or (missing and window != 2):
            return None
        ends.append((0, missing))
    return tuple(ends)


def global_pooling(emitter: Emitter, node: p.Node, step: p.GlobalPoolingStep, inputs: Inputs) -> KerasTensor:
    layer = of_rank("GlobalMaxPooling" if step.kind == "max" else "GlobalAveragePooling", len(inputs[0].shape) - 2)
    shared = {"data_format": emitter.data_format, "dtype": step.policy, "name": emitter.name(node.name)}
    return layer(keepdims=step.keepdims, **shared)(inputs[0])
