"""Dense or Conv2D of a pair of vectors or 1x1 maps -> the same layer of the joined pair, with gathered kernel rows.

There is no resolution to change, so one layer reads both groups at once, exactly. An output that is a pair comes from
one layer for each group.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import KerasTensor

from octconvert.model.graph import Call
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules.activations import activated, without_layer
from octconvert.rules.protocols import Build, Value


def vector_layer(
    call: Call, value: Value, out: ChannelSplit | None, build: Build, width_key: str, groups: int = 1
) -> Value:
    """A Dense, or a convolution of a 1x1 map, called.

    Args:
        call: of the source model.
        value: of its input.
        out: split of its output; None where that is plain.
        build: of the rewriter.
        width_key: name of the configuration entry with the number of output channels.
        groups: of channels, of a convolution.
    """
    layer = call.operation
    kernel_channels = layer.kernel.shape[-2] * groups
    order = np.arange(kernel_channels)
    if isinstance(value, Pair):
        order, value = value.split.joined, build.joined(value, f"{layer.name}-join")

    def weights(columns: np.ndarray) -> list[np.ndarray]:
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        kernel = kernel[..., order[:, None], columns] if groups == 1 else kernel[..., columns]
        return [kernel] if layer.bias is None else [kernel, keras.ops.convert_to_numpy(layer.bias)[columns]]

    linear = without_layer({}, layer)
    if out is None:
        all_columns = np.arange(layer.kernel.shape[-1])
        return activated(call, build.clone(call, changes=linear, weights=lambda: weights(all_columns))(value), build)

    def part(suffix: str, columns: np.ndarray) -> KerasTensor:
        changes = {**linear, width_key: len(columns)}
        return build.clone(call, suffix, changes, lambda: weights(columns))(value)

    return activated(call, Pair.of([part(each.suffix, each.channels) for each in out.parts], out), build)
