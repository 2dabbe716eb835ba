"""Octave convolutions (Chen et al. 2019, arXiv 1904.05049, section 3.2) of signals, images and volumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from octconvert.layers import base, reading, spatial
from octconvert.layers.tensors import End, Maps, Shapes, Tensor
from octconvert.octave.geometry import Padding, Shape, Size


class WindowInput(NamedTuple):
    """A map, and the padding and strides with which a window moves over it."""

    map: Tensor
    padding: Any
    strides: tuple[int, ...]


class ConvolutionKeywords(base.WindowKeywords, total=False):
    """Keyword arguments of octave convolutions, as in ``keras.layers.Conv2D``."""

    kernel_initializer: Any
    kernel_regularizer: Any
    kernel_constraint: Any


class OctaveConv(base.OctaveWindowLayer):
    """An octave convolution of any rank; see `OctaveConv2D`, whose arguments it has."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        octave: int | Sequence[int] = 2,
        ratio_out: float = 0.5,
        strides: int | Sequence[int] = 1,
        padding: Padding = "same",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        **keywords: Unpack[ConvolutionKeywords],
    ):
        super().__init__(kernel_size, octave, strides, padding, data_format, dilation_rate, **keywords)
        self.filters, self.ratio_out, self.groups = filters, ratio_out, groups
        self.high_filters, self.low_filters = reading.divide_filters(self.name, filters, ratio_out, groups)

    def build(self, input_shape: Shapes) -> None:
        high, low = self._check_shapes(input_shape)
        axis = spatial.channel_axis(self.data_format, self.rank)
        self.high_channels, self.low_channels = (0 if shape is None else shape[axis] for shape in (high, low))
        for label, count in (("high", self.high_channels), ("low", self.low_channels)):
            if count % self.groups:
                raise ValueError(
                    f"layer '{self.name}': {count} {label} input channels can not be split in {self.groups} groups"
                )
        self.hh_kernel = self._add_kernel("hh_kernel", from_low=False, to_low=False)
        self.hl_kernel = self._add_kernel("hl_kernel", from_low=False, to_low=True)
        self.lh_kernel = self._add_kernel("lh_kernel", from_low=True, to_low=False)
        self.ll_kernel = self._add_kernel("ll_kernel", from_low=True, to_low=True)
        self.high_bias = self._add_bias("high_bias", self.high_filters)
        self.low_bias = self._add_bias("low_bias", self.low_filters)
        self.built = True

    def _add_kernel(self, name: str, from_low: bool, to_low: bool) -> keras.Variable | None:
        high_rows, low_rows = self.high_channels // self.groups, self.low_channels // self.groups
        rows = range(high_rows, high_rows + low_rows) if from_low else range(high_rows)
        columns = range(self.high_filters, self.filters) if to_low else range(self.high_filters)
        if not rows or not columns:
            return None
        ends = self._kernel_ends(rows, columns)
        whole = (*self.kernel_size, *self._kernel_ends(high_rows + low_rows, self.filters))
        part = _PartOf(self.kernel_initializer, whole, *(slice(end.start, end.stop) for end in ends))
        return base.add_weight(self, name, (*self.kernel_size, *map(len, ends)), "kernel", part)

    def _kernel_ends(self, rows: End, columns: End) -> tuple[End, End]:
        """What belongs to the last two axes of a kernel, from what belongs to input and output channels."""
        return rows, columns

    def call(self, inputs: Maps) -> Any:
        high, low = self._maps(inputs)
        size = self.source_sizes(inputs)
        prepared = None if low is None else WindowInput(*self.prepare_low(low, size), self.strides)
        outputs = []
        if self.high_filters:
            outputs.append(self._finish(self._to_high(high, prepared, size), self.high_bias))
        if self.low_filters:
            pooled = None if high is None else self._pooled(high, size)
            outputs.append(self._finish(self._to_low(pooled, prepared), self.low_bias))
        return outputs if len(outputs) == 2 else outputs[0]

    def _pooled(self, high: Tensor, size: Sequence[Size]) -> WindowInput:
        """The high map at the low resolution; a stride that leaves cells out is pooled with it where it can be."""
        blocks = self.window.strided_blocks(size)
        if blocks is not None:
            pooled = ops.average_pool(high, blocks, blocks, "valid", self.data_format)
            return WindowInput(pooled, "valid", (1,) * self.rank)
        pooled = spatial.pool_octave(high, self.octave, self.data_format, self.causal)
        return WindowInput(*self.prepare_low(pooled, size), self.strides)

    def _to_high(self, high: Tensor | None, low: WindowInput | None, size: Sequence[Size]) -> Tensor:
        total = None if high is None else self._high_conv(high, self.hh_kernel)
        if low is None:
            return total
        from_low = self._low_conv(low, self.lh_kernel)
        if total is not None:
            return spatial.add_upsampled(total, from_low, self.octave, self.data_format)
        outputs = [self.window.output(axis, length) for axis, length in enumerate(size)]
        return spatial.upsample_to(from_low, self.octave, outputs, self.data_format)

    def _to_low(self, pooled: WindowInput | None, low: WindowInput | None) -> Tensor:
        kernels = ((pooled, self.hl_kernel), (low, self.ll_kernel))
        parts = [self._low_conv(prepared, kernel) for prepared, kernel in kernels if prepared is not None]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _high_conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        x, padding = self.prepare_high(x)
        return self._conv(x, kernel, self.strides, padding, self.dilation_rate)

    def _low_conv(self, low: WindowInput, kernel: Tensor) -> Tensor:
        return self._conv(low.map, kernel, low.strides, low.padding, self.low_dilation)

    def _conv(
        self, x: Tensor, kernel: Tensor, strides: tuple[int, ...], padding: str, dilation: tuple[int, ...]
    ) -> Tensor:
        def convolution(x: Tensor, kernel: Tensor) -> Tensor:
            return ops.conv(x, kernel, strides, padding, self.data_format, dilation)

        return self.convolved(convolution, x, kernel)

    def output_channels(self, input_shape: Shapes) -> tuple[int, int]:
        return self.high_filters, self.low_filters

    def macs(self, input_shape: Shapes) -> int:
        """Multiply-accumulates (MACs) for one sample of ``input_shape`` (known sizes; list of two for a pair)."""
        axis, taps = spatial.channel_axis(self.data_format, self.rank), math.prod(self.kernel_size)
        positions, cells = self._window_places(self.source_size(input_shape))
        from_high, from_low = (0 if shape is None else shape[axis] for shape in self.map_shapes(input_shape))
        high_macs = positions * from_high * self.high_filters
        low_macs = cells * (from_low * self.filters + from_high * self.low_filters)
        return (high_macs + low_macs) * taps // self.groups

    def _window_places(self, sizes: Sequence[Size]) -> tuple[int, int]:
        """(positions of the high window, cells of the low one) for an input of these sizes."""
        positions = math.prod(self.window.output(axis, size) for axis, size in enumerate(sizes))
        return positions, math.prod(self.window.low_outputs(axis, size) for axis, size in enumerate(sizes))

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "ratio_out": self.ratio_out, "groups": self.groups}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv1D(OctaveConv):
    """1-D convolution between tensors that hold their channels at two resolutions in time.

    Args: as `OctaveConv2D`, with one number where that has (rows, columns); ``padding`` may be ``((before, after),)``
        or 'causal', as in ``keras.layers.Conv1D``.
        causal: whether low cells are causal: cell ``i`` covers the ``octave`` positions up to ``octave * i``, so that
            no output reads a later input than the plain layer's would. Padding 'causal' implies it. All layers that
            hand low maps to one another must agree in it.

    Input: 3-D tensor (batch, steps, channels), or a list of a high map and a low one of ceil(steps / octave) steps.
    Output: the same, list or single tensor.

    Raises:
        ValueError: as `OctaveConv2D`.
    """

    rank = 1


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv2D(OctaveConv):
    """2-D convolution between tensors that hold their channels at two resolutions.

    ``high_out = act(HH * high + upsample(LH * low) + bias_high)`` and
    ``low_out  = act(LL * low + HL * average_pool(high) + bias_low)`` (paper, equations 2-4): first the sum, then one
    bias, then the activation. All four kernels together have the parameters of the plain convolution.

    One tensor in makes it a *first* layer, ``[high, low]`` an *intermediate* one; ``ratio_out=0.0`` makes it a *last*
    layer that returns one tensor. ``ratio_out=1.0`` returns the low map alone, for a tensor that is whole-low; the
    layer that reads that map has ``whole_low=True``, and the paths LH and LL only.

    Args:
        filters: channels of high and low output together.
        kernel_size: integer or (rows, columns).
        octave: factor between the resolutions, a power of two; 1 keeps one resolution. Two numbers are for rows and
            columns, (1, 2) keeps the rows.
        ratio_out: share of the output channels that are low (alpha), 0..1; ``int(ratio_out * filters)`` channels.
        strides: integer or (rows, columns).
        padding: 'same', 'valid' or ``((top, bottom), (left, right))`` zeros (negative: crop) around the high map. The
            low map is padded so that its cells stay under the positions they cover.
        data_format: 'channels_last' or 'channels_first'; None is Keras' default.
        dilation_rate: of the high window; the low one is ``max(1, dilation_rate / octave)``.
        groups: every path is grouped.
        whole_low: whether the one input is the low map of a tensor without high channels (alpha_in of 1).
        high_size: (rows, columns) of the map that this low map stands in for; None: ``octave`` times the low map's.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
        activity_regularizer, kernel_constraint, bias_constraint: as in ``keras.layers.Conv2D``. A fan-based initialiser
            draws every path with the fan of the whole convolution.

    Input: 4-D tensor, or a list of a high map (batch, rows, columns, channels) and a low map of
    (batch, ceil(rows / octave), ceil(columns / octave), channels). Output: the same, list or single tensor.

    Raises:
        ValueError: ratio outside 0..1, octave not a power of two, channels unknown or not divisible by ``groups``,
            two maps whose sizes do not fit ``octave``, a low map that does not fit ``high_size``.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv3D(OctaveConv):
    """3-D convolution between tensors that hold their channels at two resolutions; the low map has an eighth of the
    positions.

    Args: as `OctaveConv2D`, with (depth, rows, columns) where that has (rows, columns). ``octave=(1, 2, 2)`` keeps the
        depth: the time of a video, or the slices of a volume that are far apart.

    Input: 5-D tensor (batch, depth, rows, columns, channels), or a list of a high map and a low one. Output: the same,
    list or single tensor.

    Raises:
        ValueError: as `OctaveConv2D`.
    """

    rank = 3


class _PartOf:
    """Initialise one path with the fans of the whole convolution: draw the whole kernel and keep the path's part."""

    def __init__(self, initializer: Callable[..., Tensor], whole: Shape, *ends: slice):
        self.initializer, self.whole, self.ends = initializer, whole, ends

    def __call__(self, shape: Shape, dtype: Any = None, **kwargs: Any) -> Tensor:
        return self.initializer(self.whole, dtype=dtype, **kwargs)[..., *self.ends]
