"""Pooling steps -> layers, in the forms of `octconvert.inference.step_forms.Forms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import KerasTensor

from octconvert.inference import program as p
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
        ones = (1,) * len(step.size)
        same = p.ConvolutionStep(step.policy, DEPTHWISE, kernel, None, step.strides, "valid", ones)
        return convolution(emitter, replace(node, inputs=()), same, [whole])
    return of_rank("AveragePooling", emitter.rank)(
        step.size,
        step.strides,
        step.padding,
        data_format=emitter.data_format,
        dtype=step.policy,
        name=emitter.name(node.name),
    )(inputs[0])


def _missing_ends(step: p.AveragePoolingStep, x: KerasTensor) -> Pads | None:
    """Rows and columns to be repeated at the end so that all windows are whole; None: that is another average.

    The average of a cell and its copy is the cell, which is what 'same' padding leaves of a window of two at the end.
    """
    if len(set(step.strides)) > 1 or len(step.size) > 2:  # a depthwise layer has one stride, for up to two axes
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


def max_pooling(emitter: Emitter, node: p.Node, step: p.MaxPoolingStep, inputs: Inputs) -> KerasTensor:
    shared = {"data_format": emitter.data_format, "dtype": step.policy, "name": emitter.name(node.name)}
    return of_rank("MaxPooling", emitter.rank)(step.size, step.strides, step.padding, **shared)(inputs[0])


def global_pooling(emitter: Emitter, node: p.Node, step: p.GlobalPoolingStep, inputs: Inputs) -> KerasTensor:
    layer = of_rank("GlobalMaxPooling" if step.kind == "max" else "GlobalAveragePooling", emitter.rank)
    shared = {"data_format": emitter.data_format, "dtype": step.policy, "name": emitter.name(node.name)}
    return layer(keepdims=step.keepdims, **shared)(inputs[0])
