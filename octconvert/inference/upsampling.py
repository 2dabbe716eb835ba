"""Low maps brought to the size of high ones, in the forms of `octconvert.inference.step_forms.Forms`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras import KerasTensor, layers, ops

from octconvert.inference import program as p
from octconvert.layers import portable

if TYPE_CHECKING:
    from octconvert.inference.emission import Emitter, Inputs

MOST_BROADCAST = 2
"""Axes along which one sum can repeat: TensorFlow takes seconds where there are three."""


def spread_sum(
    emitter: Emitter, node: p.Node, policy: Any, high: KerasTensor, low: KerasTensor, up: p.UpsamplingStep
) -> KerasTensor:
    """``high + upsample(low)`` over views, without a map that is upsampled along all axes."""
    channels, factors = high.shape[-1], up.factors
    summed = _repeated_by_sum(factors, emitter.forms.upsampling)
    low = _copied(emitter, node, policy, low, [1 if i in summed else factor for i, factor in enumerate(factors)])
    of_high, of_low, along = list[int](), list[int](), 1
    for i, (size, factor) in enumerate(zip(up.sizes, factors, strict=True)):
        if i in summed:
            of_high += [along * size // factor, factor]
            of_low += [along * size // factor, 1]
        along = 1 if i in summed else along * size
    parts = [
        reshaped(emitter, x, (*shape, along * channels), f"{node.name}-{part}", policy)
        for x, shape, part in ((high, of_high, "view"), (low, of_low, "cells"))
    ]
    total = layers.Add(dtype=policy, name=emitter.name(node.name))(parts)
    return reshaped(emitter, total, (*up.sizes, channels), f"{node.name}-map", policy)


def _repeated_by_sum(factors: Sequence[int], form: str) -> set[int]:
    """The axes along which the sum repeats the low map; it is copied along the others."""
    columns = len(factors) - 1
    axes = [i for i, factor in enumerate(factors) if factor > 1 and not (form == "rows" and i == columns)]
    return set(axes[-MOST_BROADCAST:])


def reshaped(emitter: Emitter, x: KerasTensor, shape: Sequence[int], name: str, policy: Any) -> KerasTensor:
    """The same numbers in another shape, which is given without the batch."""
    if tuple(x.shape[1:]) == tuple(shape):
        return x
    if emitter.forms.reshaping == "layer":
        return layers.Reshape(shape, dtype=policy, name=emitter.name(name))(x)
    return emitter.operation(name, ops.reshape(x, (-1, *shape)))


def upsampled(emitter: Emitter, node: p.Node, step: Any, inputs: Inputs) -> KerasTensor:
    x, factors, form = inputs[0], step.factors, emitter.forms.upsampling
    sizes = [x.shape[axis] * factor for axis, factor in zip(emitter.spatial_axes_of(x), factors, strict=True)]
    shared = {"data_format": emitter.data_format, "dtype": step.policy}
    if form == "resize" and len(factors) == 2 and emitter.data_format == "channels_last":
        x = layers.Resizing(*sizes, interpolation="nearest", name=emitter.name(node.name), **shared)(x)
    elif form in ("repeat", "resize") or emitter.data_format != "channels_last":
        x = portable.built_in("UpSampling", factors, x, emitter.data_format, emitter.name(node.name))
    else:
        x = reshaped(
            emitter,
            _copied(emitter, node, step.policy, x, factors),
            (*sizes, x.shape[-1]),
            f"{node.name}-copies",
            step.policy,
        )
    pads = tuple((0, size - scaled) for size, scaled in zip(step.sizes, sizes, strict=True))
    return portable.pad_or_crop(x, pads, emitter.data_format, emitter.name(f"{node.name}-fit"))


_AXES = {1: ("steps",), 2: ("rows", "columns"), 3: ("depth", "rows", "columns")}


def _copied(emitter: Emitter, node: p.Node, policy: Any, x: KerasTensor, factors: Sequence[int]) -> KerasTensor:
    """What a map is, each cell repeated along each axis, in some shape.

    Neighbours along an axis are neighbours in memory: columns are doubled by joining, and rows are long columns.
    """
    sizes, channels = list(x.shape[1:-1]), x.shape[-1]
    for i in reversed(range(len(factors))):
        if factors[i] == 1:
            continue
        part = _AXES[len(factors)][i]
        long = (*sizes[: i + 1], math.prod(sizes[i + 1 :]) * channels)
        x = reshaped(emitter, x, long, f"{node.name}-{part}-view", policy)
        x = layers.Concatenate(name=emitter.name(f"{node.name}-{part}"), dtype=policy)([x] * factors[i])
        sizes[i] *= factors[i]
    return x
