"""`OctaveMerge` and `OctaveCrop`: from a pair or a low map to the plain tensor, and a low map cut to size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import keras
from keras import ops

from octconvert.layers import base, reading, spatial
from octconvert.layers.tensors import Maps, Tensor
from octconvert.octave.geometry import ceil_div, factors


class _PairLayer(keras.layers.Layer):
    """A layer without weights that reads a pair of maps, of any rank, and knows its octave."""

    def __init__(
        self, octave: int | Sequence[int] = 2, data_format: str | None = None, **keywords: Unpack[base.LayerKeywords]
    ):
        super().__init__(**keywords)
        rank = 2 if isinstance(octave, int) else len(octave)
        self.octave = reading.check_octave(octave, rank)
        self.data_format = reading.standard_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "octave": self.octave, "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveMerge(_PairLayer):
    """The plain tensor of a pair: upsample (nearest) low, join the channels, bring them into order.

    Args:
        octave: factor between the resolutions.
        order: channel order of the output, as positions in [high | low]; None where that is the order already.
        whole_low: whether the input is the low map of a tensor without high channels.
        high_size: (rows, columns) of the output in that case; None: ``octave`` times the low map's.

    Input: ``[high, low]``, or the low map of a tensor that is whole-low. Output: one tensor with the high map's rows
    and columns and the channels of both.
    """

    def __init__(
        self,
        octave: int | Sequence[int] = 2,
        order: Iterable[int] | None = None,
        data_format: str | None = None,
        whole_low: bool = False,
        high_size: Sequence[int | None] | None = None,
        **keywords: Unpack[base.LayerKeywords],
    ):
        super().__init__(octave, data_format, **keywords)
        self.order = None if order is None else [int(position) for position in order]
        rank = 2 if high_size is None else len(high_size)
        self.low_input = reading.LowInput(self.name, whole_low, high_size, self.octave, self.data_format, rank)

    def _maps(self, inputs: Maps) -> tuple[Tensor | None, Tensor]:
        if self.low_input.whole_low:
            return self.low_input.maps(*reading.split_inputs(inputs, self.name))
        return reading.split_pair(inputs, self.name)

    def call(self, inputs: Maps) -> Tensor:
        high, low = self._maps(inputs)
        if high is None:
            size = self.low_input.size_of(
                spatial.sizes(low, self.data_format), reading.split_inputs(inputs, self.name)[1]
            )
        else:
            size = spatial.sizes(high, self.data_format)
        axis = spatial.channel_axis(self.data_format, spatial.rank_of(low))
        low = spatial.upsample_to(low, self.octave, size, self.data_format)
        joined = low if high is None else ops.concatenate([high, low], axis=axis)
        return joined if self.order is None else ops.take(joined, self.order, axis=axis)

    def compute_output_spec(self, inputs: Maps) -> keras.KerasTensor:
        high, low = self._maps(inputs)
        shape, axis = list(low.shape), spatial.channel_axis(self.data_format, spatial.rank_of(low))
        high_shape = None if high is None else tuple(high.shape)
        rank = spatial.rank_of(low)
        reading.check_pair_shapes(self.name, high_shape, tuple(low.shape), self.octave, self.data_format, rank)
        axes = spatial.spatial_axes(self.data_format, rank)
        if high_shape is None:
            self.low_input.check(tuple(low.shape))
            run_size = reading.split_inputs(inputs, self.name)[1]
            size = self.low_input.size_of([shape[place] for place in axes], run_size)
        else:
            size = tuple(high_shape[place] for place in axes)
            shape[axis] += high_shape[axis]
        for place, length in zip(axes, size, strict=True):
            shape[place] = length
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"order": self.order, "whole_low": self.low_input.whole_low, "high_size": self.low_input.high_size}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveCrop(_PairLayer):
    """Cut the end of the low map so that it fits the high map: ceil(rows / octave), ceil(columns / octave).

    Needed where sizes are unknown until the model runs. Input: ``[high, low]``. Output: the low map.
    """

    def call(self, inputs: Maps) -> Tensor:
        high, low = reading.split_pair(inputs, self.name)
        size = spatial.sizes(high, self.data_format)
        cells = list(map(ceil_div, size, factors(self.octave, len(size))))
        return spatial.crop_to(low, cells, self.data_format)

    def compute_output_spec(self, inputs: Maps) -> keras.KerasTensor:
        high, low = reading.split_pair(inputs, self.name)
        shape, rank = list(low.shape), spatial.rank_of(low)
        axes = spatial.spatial_axes(self.data_format, rank)
        for axis, block in zip(axes, factors(self.octave, rank), strict=True):
            shape[axis] = None if high.shape[axis] is None else ceil_div(high.shape[axis], block)
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)
