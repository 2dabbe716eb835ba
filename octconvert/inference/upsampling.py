"""Low maps brought to the size of high ones, in the forms of `octconvert.inference.step_forms.Forms`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras import KerasTensor, layers, ops

from octconvert.inference import program as p
from octconvert.layers import portable

if TYPE_CHECKING:
    from octconvert.inference.emission import Emitter, Inputs


def spread_sum(
    emitter: Emitter, node: p.Node, policy: Any, high: KerasTensor, low: KerasTensor, up: p.UpsamplingStep
) -> KerasTensor:
    """``high + upsample(low)`` over views: no upsampled map."""
    octave, (rows, columns) = up.octave, up.sizes
    r, c, channels = rows // octave, columns // octave, high.shape[-1]
    reshape = lambda x, shape, part: _reshaped(emitter, x, shape, f"{node.name}-{part}", policy)  # noqa: E731
    if emitter.forms.upsampling == "rows":
        low = layers.Concatenate(name=emitter.name(f"{node.name}-copies"), dtype=policy)([low] * octave)
        shapes: Any = (r, octave, columns * channels), (r, 1, columns * channels)
    else:
        shapes = (r, octave, c, octave, channels), (r, 1, c, 1, channels)
    parts = [reshape(x, shape, part) for x, shape, part in zip((high, low), shapes, ("view", "cells"), strict=True)]
    total = layers.Add(dtype=policy, name=emitter.name(node.name))(parts)
    return reshape(total, (rows, columns, channels), "map")


def _reshaped(emitter: Emitter, x: KerasTensor, shape: Sequence[int], name: str, policy: Any) -> KerasTensor:
    if emitter.forms.reshaping == "layer":
        return layers.Reshape(shape, dtype=policy, name=emitter.name(name))(x)
    return emitter.operation(name, ops.reshape(x, (-1, *shape)))


def upsampled(emitter: Emitter, node: p.Node, step: Any, inputs: Inputs) -> KerasTensor:
    x, octave, form = inputs[0], step.octave, emitter.forms.upsampling
    axes = emitter.graph.spatial_axes
    sizes = [x.shape[axis] * octave for axis in axes]
    if emitter.data_format != "channels_last" or form == "repeat":
        x = layers.UpSampling2D(
            octave, data_format=emitter.data_format, dtype=step.policy, name=emitter.name(node.name)
        )(x)
    elif form == "resize":
        x = layers.Resizing(
            *sizes,
            interpolation="nearest",
            data_format=emitter.data_format,
            dtype=step.policy,
            name=emitter.name(node.name),
        )(x)
    else:
        x = _copied(emitter, node, step, x)
    pads = tuple((0, size - scaled) for size, scaled in zip(step.sizes, sizes, strict=True))
    return portable.pad_or_crop(x, pads, emitter.data_format, emitter.name(f"{node.name}-fit"))


def _copied(emitter: Emitter, node: p.Node, step: p.UpsamplingStep, x: KerasTensor) -> KerasTensor:
    """Neighbours along an axis are neighbours in memory: columns are doubled by joining, and rows are long columns."""
    octave, (rows, columns, channels) = step.octave, x.shape[1:]
    join = lambda x, part: layers.Concatenate(  # noqa: E731
        name=emitter.name(f"{node.name}-{part}"), dtype=step.policy
    )([x] * octave)
    x = join(x, "columns")
    x = _reshaped(emitter, x, (rows, octave * columns * channels), f"{node.name}-rows", step.policy)
    x = join(x, "rows")
    return _reshaped(emitter, x, (octave * rows, octave * columns, channels), f"{node.name}-map", step.policy)
