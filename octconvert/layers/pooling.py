"""Max and average pooling of a pair whose sizes are not known when the model is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from octconvert.layers import base, reading, spatial
from octconvert.layers.tensors import Maps, Tensor
from octconvert.layers.window import Window
from octconvert.octave.geometry import Octave, Padding, Shape, Size, ceil_div, factors


class PoolingKeywords(base.LayerKeywords, total=False):
    """Further keyword arguments of octave poolings."""

    causal: bool


class OctavePooling(keras.layers.Layer):
    """Pooling of any rank; see `OctavePooling2D`, whose arguments it has."""

    rank: ClassVar[int] = 2

    def __init__(
        self,
        mode: str,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Padding = "valid",
        octave: int | Sequence[int] = 2,
        data_format: str | None = None,
        whole_low: bool = False,
        high_size: Sequence[int | None] | None = None,
        **keywords: Unpack[PoolingKeywords],
    ):
        causal = keywords.pop("causal", False)
        super().__init__(**keywords)
        if mode not in ("max", "mean"):
            raise ValueError(f"`mode` must be 'max' or 'mean', received: {mode!r}")
        self.mode = mode
        self.pool_size = reading.by_axis(pool_size, "pool_size", self.rank)
        self.strides = self.pool_size if strides is None else reading.by_axis(strides, "strides", self.rank)
        self.padding = reading.standard_padding(padding, self.rank)
        self.octave = reading.check_octave(octave, self.rank)
        self.causal = reading.check_causal(self.name, causal, self.rank)
        self.data_format = reading.standard_data_format(data_format)
        self.low_input = reading.LowInput(self.name, whole_low, high_size, self.octave, self.data_format, self.rank)

    @property
    def window(self) -> Window:
        """The source's pooling window."""
        return Window(self.pool_size, self.strides, (1,) * self.rank, self.padding, self.octave, self.causal)

    def call(self, inputs: Maps) -> Any:
        if self.low_input.whole_low:
            low, size = reading.split_inputs(inputs, self.name)
            return self._pool_low(low, self.low_input.size_of(spatial.sizes(low, self.data_format), size))
        high, low = reading.split_pair(inputs, self.name)
        sizes = spatial.sizes(high, self.data_format)
        padding = self.padding
        if not isinstance(padding, str):
            high, padding = spatial.pad_or_crop(high, padding, self.data_format), "valid"
        return [self._pool(high, padding), self._pool_low(low, sizes)]

    def _pool(self, x: Tensor, padding: str) -> Tensor:
        pool = ops.max_pool if self.mode == "max" else ops.average_pool
        return pool(x, self.pool_size, self.strides, padding, self.data_format)

    def _pool_low(self, low: Tensor, sizes: Sequence[Size]) -> Tensor:
        if not isinstance(self.padding, str):  # explicit zeros are values, 'same' and overhang are not
            return self._pool(self._prepare(low, sizes), "valid")
        if self.mode == "mean":
            pooled = self._pool(self._prepare(low, sizes), "valid")
            return pooled / self._pool(self._prepare(ops.ones_like(low), sizes), "valid")
        nothing = float("-inf")
        if not self.window.filtered(sizes):
            return self._pool(self._prepare(low, sizes, nothing), "valid")
        share = self._prepare(ops.ones_like(low), sizes)  # of the fixed filter that lies on the map
        values = self._prepare(low, sizes) / ops.where(share > 0, share, ops.ones_like(share))
        return self._pool(ops.where(share > 0, values, ops.full_like(values, nothing)), "valid")

    def _prepare(self, low: Tensor, sizes: Sequence[Size], value: float = 0.0) -> Tensor:
        return spatial.prepare_low(low, sizes, self.window, self.data_format, value, allow_same=False)[0]

    def compute_output_spec(self, inputs: Maps) -> Any:
        axes = spatial.spatial_axes(self.data_format, self.rank)
        if self.low_input.whole_low:
            low, run_size = reading.split_inputs(inputs, self.name)
            self._check(None, tuple(low.shape))
            size = self.low_input.size_of([low.shape[axis] for axis in axes], run_size)
            return self._output(low, size, self.octave)
        high, low = reading.split_pair(inputs, self.name)
        self._check(tuple(high.shape), tuple(low.shape))
        size = tuple(high.shape[axis] for axis in axes)
        return [self._output(high, size, 1), self._output(low, size, self.octave)]

    def _check(self, high: Shape | None, low: Shape) -> None:
        reading.check_pair_shapes(self.name, high, low, self.octave, self.data_format, self.rank)

    def _output(self, x: keras.KerasTensor, size: Sequence[Size], octave: Octave) -> keras.KerasTensor:
        shape, cells = list(x.shape), factors(octave, self.rank)
        for i, axis in enumerate(spatial.spatial_axes(self.data_format, self.rank)):
            length = self.window.output(i, size[i])
            shape[axis] = None if length is None else ceil_div(length, cells[i])
        return keras.KerasTensor(tuple(shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mode": self.mode,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "octave": self.octave,
            "data_format": self.data_format,
            "whole_low": self.low_input.whole_low,
            "high_size": self.low_input.high_size,
            **({"causal": self.causal} if self.rank == 1 else {}),
        }


@keras.saving.register_keras_serializable(package="octconvert")
class OctavePooling1D(OctavePooling):
    """Pool both maps of a pair, 3-D each, the low one with its windows where the high one's are.

    Args, input, output: as `OctavePooling2D`, with one number where that has (rows, columns); ``causal`` as in
    `OctaveConv1D`.
    """

    rank = 1


@keras.saving.register_keras_serializable(package="octconvert")
class OctavePooling2D(OctavePooling):
    """Pool both maps of a pair, the low one with its windows where the high one's are.

    Where sizes are known, ``octave_dual`` with a built-in pooling layer does the same.

    Args:
        mode: 'max' or 'mean' (not 'average': Keras reads that word in an .h5 file as the function of that name).
        pool_size, strides: integer or (rows, columns).
        padding: 'same', 'valid', or ((top, bottom), (left, right)) zeros that count as values.
        octave: factor between the resolutions.
        data_format: 'channels_last' or 'channels_first'.
        whole_low, high_size: as in `OctaveConv2D`.

    Input: ``[high, low]``, or a low map. Output: the same.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="octconvert")
class OctavePooling3D(OctavePooling):
    """Pool both maps of a pair, 5-D each, the low one with its windows where the high one's are.

    Args, input, output: as `OctavePooling2D`, with (depth, rows, columns) where that has (rows, columns).
    """

    rank = 3
