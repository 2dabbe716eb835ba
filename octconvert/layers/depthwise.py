"""Depthwise convolutions of both maps of a pair (paper, section 3.3: HH and LL only)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from octconvert.layers import base, spatial
from octconvert.layers.tensors import Maps, Shapes, Tensor
from octconvert.octave.geometry import Padding


class DepthwiseKeywords(base.WindowKeywords, total=False):
    """Keyword arguments of depthwise octave convolutions, as in ``keras.layers.DepthwiseConv2D``."""

    depthwise_initializer: Any
    depthwise_regularizer: Any
    depthwise_constraint: Any


class OctaveDepthwiseConv(base.OctaveWindowLayer):
    """A depthwise octave convolution; see `OctaveDepthwiseConv2D`, whose arguments it has."""

    kernel_argument = "depthwise"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        octave: int | Sequence[int] = 2,
        strides: int | Sequence[int] = 1,
        padding: Padding = "same",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        **keywords: Unpack[DepthwiseKeywords],
    ):
        super().__init__(kernel_size, octave, strides, padding, data_format, dilation_rate, **keywords)
        if not isinstance(depth_multiplier, int) or depth_multiplier < 1:
            raise ValueError(f"`depth_multiplier` must be a positive integer, received: {depth_multiplier!r}")
        self.depth_multiplier = depth_multiplier

    def build(self, input_shape: Shapes) -> None:
        axis = spatial.channel_axis(self.data_format, self.rank)
        shapes = self._check_shapes(input_shape)
        high_channels, low_channels = (0 if shape is None else shape[axis] for shape in shapes)
        self.hh_kernel = self._add_kernel("hh_kernel", high_channels)
        self.high_bias = self._add_bias("high_bias", high_channels * self.depth_multiplier)
        self.ll_kernel = self._add_kernel("ll_kernel", low_channels)
        self.low_bias = self._add_bias("low_bias", low_channels * self.depth_multiplier)
        self.built = True

    def _add_kernel(self, name: str, channels: int) -> keras.Variable | None:
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        return base.add_weight(self, name, shape, self.kernel_argument) if channels else None

    def call(self, inputs: Maps) -> Any:
        high, low = self._maps(inputs)
        outputs = []
        if high is not None:
            prepared, padding = self.prepare_high(high)
            convolved = self._conv(prepared, self.hh_kernel, padding, self.dilation_rate)
            outputs.append(self._finish(convolved, self.high_bias))
        if low is not None:
            prepared, padding = self.prepare_low(low, self.source_sizes(inputs))
            convolved = self._conv(prepared, self.ll_kernel, padding, self.low_dilation)
            outputs.append(self._finish(convolved, self.low_bias))
        return outputs if len(outputs) == 2 else outputs[0]

    def _conv(self, x: Tensor, kernel: Tensor, padding: str, dilation: tuple[int, ...]) -> Tensor:
        if self.rank < 3:
            return ops.depthwise_conv(x, kernel, self.strides, padding, self.data_format, dilation)
        grouped = ops.reshape(kernel, (*self.kernel_size, 1, -1))  # Keras has no depthwise convolution of volumes
        return ops.conv(x, grouped, self.strides, padding, self.data_format, dilation)

    def output_channels(self, input_shape: Shapes) -> tuple[int, int]:
        axis = spatial.channel_axis(self.data_format, self.rank)
        high, low = (
            0 if shape is None else shape[axis] * self.depth_multiplier for shape in self.map_shapes(input_shape)
        )
        return high, low

    def macs(self, input_shape: Shapes) -> int:
        """Multiply-accumulates (MACs) for one sample of ``input_shape`` (known sizes; list of two for a pair)."""
        output = self.compute_output_shape(input_shape)
        shapes = output if isinstance(output, list) else [output]
        return sum(math.prod(shape[1:]) * math.prod(self.kernel_size) for shape in shapes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveDepthwiseConv1D(OctaveDepthwiseConv):
    """Depthwise 1-D convolution of a pair: ``high`` and ``low`` each with their own kernels, nothing between them.

    Args: as `OctaveDepthwiseConv2D`, with one number where that has (rows, columns).

    Input: ``[high, low]``, 3-D, or one tensor, which is convolved as it is. Output: the same.

    Raises:
        ValueError: as `OctaveConv1D`.
    """

    rank = 1


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveDepthwiseConv2D(OctaveDepthwiseConv):
    """Depthwise 2-D convolution of a pair: ``high`` and ``low`` each with their own kernels, nothing between them.

    Args:
        kernel_size: integer or (rows, columns).
        octave: factor between the resolutions, a power of two.
        strides, padding, dilation_rate, data_format, whole_low, high_size: as in `OctaveConv2D`.
        depth_multiplier: output channels per input channel.
        activation, use_bias, depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer,
        activity_regularizer, depthwise_constraint, bias_constraint: as in ``keras.layers.DepthwiseConv2D``.

    Input: ``[high, low]``, 4-D, or one tensor, which is convolved as it is. Output: the same, with
    ``channels * depth_multiplier`` channels each.

    Raises:
        ValueError: as `OctaveConv2D`.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveDepthwiseConv3D(OctaveDepthwiseConv):
    """Depthwise 3-D convolution of a pair: ``high`` and ``low`` each with their own kernels, nothing between them.

    Args: as `OctaveDepthwiseConv2D`, with (depth, rows, columns) where that has (rows, columns).

    Input: ``[high, low]``, 5-D, or one tensor, which is convolved as it is. Output: the same.

    Raises:
        ValueError: as `OctaveConv3D`.
    """

    rank = 3
