"""What is computed on volumes, by layers of images: on all planes as a batch of images, or with planes as rows.

LiteRT has no pooling of volumes. On XLA, C3D was 2.9 times as fast with convolutions and pooling written in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import KerasTensor, ops

from octconvert.inference import program as p
from octconvert.layers import portable
from octconvert.octave.geometry import output_size, same_padding
from octconvert.rules.traits import CONV

if TYPE_CHECKING:
    from octconvert.inference.emission import Emitter

Layer = Callable[[KerasTensor], KerasTensor]


def in_planes(emitter: Emitter, x: KerasTensor) -> bool:
    """Whether the form asks for it, and a tensor is a volume for which it can be."""
    is_volume = 3 in emitter.ranks and len(x.shape) == 5 and None not in x.shape[1:]
    return is_volume and emitter.forms.volumes == "planes" and emitter.data_format == "channels_last"


def on_planes(emitter: Emitter, name: str, layer: Layer, x: KerasTensor) -> KerasTensor:
    """A layer of images on each plane of a volume."""
    depth, *plane = x.shape[1:]
    result = layer(_view(emitter, x, plane, f"{name}-images"))
    return _view(emitter, result, (depth, *result.shape[1:]), name)


def along_depth(emitter: Emitter, name: str, layer: Layer, x: KerasTensor) -> KerasTensor:
    """A layer of images on a volume whose planes are the rows."""
    depth, rows, columns, channels = x.shape[1:]
    result = layer(_view(emitter, x, (depth, rows * columns, channels), f"{name}-rows"))
    return _view(emitter, result, (result.shape[1], rows, columns, channels), name)


def _view(emitter: Emitter, x: KerasTensor, shape: Sequence[int], name: str) -> KerasTensor:
    """The same numbers with other sizes behind the first axis."""
    return emitter.operation(name, ops.reshape(x, (-1, *shape)))


def plane_convolution(step: p.ConvolutionStep) -> p.ConvolutionStep | None:
    """A convolution of volumes as one of images that have the channels of all planes it reads; None for other steps."""
    if step.kind != CONV or step.groups > 1:
        return None
    depth, rows, columns, inputs, outputs = step.kernel.shape
    kernel = np.moveaxis(step.kernel, 0, 2).reshape(rows, columns, depth * inputs, outputs)
    return replace(step, kernel=kernel, strides=step.strides[1:], dilation=step.dilation[1:])


def neighbours(emitter: Emitter, node: p.Node, step: p.ConvolutionStep, x: KerasTensor) -> KerasTensor:
    """Each plane that the result has, with the channels of all planes that are read for it."""
    size, taps, stride, dilation = x.shape[1], step.window[0], step.strides[0], step.dilation[0]
    count = output_size(size, taps, stride, dilation, step.padding)
    if step.padding == "same":
        pads = (same_padding(size, taps, stride, dilation), (0, 0), (0, 0))
        x = portable.pad_or_crop(x, pads, emitter.data_format, emitter.name(f"{node.name}-around"))
    parts = []
    for start in range(0, taps * dilation, dilation):
        stop = start + (count - 1) * stride + 1
        whole = stride == 1 and (start, stop) == (0, x.shape[1])
        parts.append(x if whole else emitter.operation(f"{node.name}-plane{start}", x[:, start:stop:stride]))
    return parts[0] if taps == 1 else emitter.operation(f"{node.name}-planes", ops.concatenate(parts, axis=-1))
