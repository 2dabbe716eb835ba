"""`OctaveMerge` and `OctaveCrop`: from a pair back to the plain tensor, and a low map cut to its high map's size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import keras
from keras import ops

from octconvert.layers import base, spatial
from octconvert.layers.tensors import Maps, Tensor
from octconvert.octave.geometry import ceil_div


class _PairLayer(keras.layers.Layer):
    """A layer without weights that reads a pair and knows its octave."""

    def __init__(self, octave: int = 2, data_format: str | None = None, **keywords: Unpack[base.LayerKeywords]):
        super().__init__(**keywords)
        self.octave = base.check_octave(octave)
        self.data_format = base.standard_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "octave": self.octave, "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveMerge(_PairLayer):
    """The plain tensor of a pair: upsample (nearest) low, join the channels, bring them into order.

    Args:
        octave: factor between the resolutions.
        order: channel order of the output, as positions in [high | low]; None where that is the order already.

    Input: ``[high, low]``. Output: one tensor with the high map's rows and columns and the channels of both.
    """

    def __init__(
        self,
        octave: int = 2,
        order: Iterable[int] | None = None,
        data_format: str | None = None,
        **keywords: Unpack[base.LayerKeywords],
    ):
        super().__init__(octave, data_format, **keywords)
        self.order = None if order is None else [int(position) for position in order]

    def call(self, inputs: Maps) -> Tensor:
        high, low = base.split_pair(inputs, self.name)
        low = spatial.crop_to(spatial.upsample(low, self.octave, self.data_format), high, self.data_format)
        axis = spatial.channel_axis(self.data_format)
        joined = ops.concatenate([high, low], axis=axis)
        return joined if self.order is None else ops.take(joined, self.order, axis=axis)

    def compute_output_spec(self, inputs: Maps) -> keras.KerasTensor:
        high, low = base.split_pair(inputs, self.name)
        base.check_pair_shapes(self.name, tuple(high.shape), tuple(low.shape), self.octave, self.data_format)
        shape, axis = list(high.shape), spatial.channel_axis(self.data_format)
        shape[axis] += low.shape[axis]
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveCrop(_PairLayer):
    """Cut the end of the low map so that it fits the high map: ceil(rows / octave), ceil(columns / octave).

    Needed where sizes are unknown until the model runs. Input: ``[high, low]``. Output: the low map.
    """

    def call(self, inputs: Maps) -> Tensor:
        high, low = base.split_pair(inputs, self.name)
        rows, columns = (ceil_div(size, self.octave) for size in spatial.sizes(high, self.data_format))
        if self.data_format == "channels_last":
            return low[:, :rows, :columns, :]
        return low[:, :, :rows, :columns]

    def compute_output_spec(self, inputs: Maps) -> keras.KerasTensor:
        high, low = base.split_pair(inputs, self.name)
        shape = list(low.shape)
        for axis in spatial.spatial_axes(self.data_format):
            shape[axis] = None if high.shape[axis] is None else ceil_div(high.shape[axis], self.octave)
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)
