"""The octave convolution out of built-in Keras layers only, for models that load with plain Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from octconvert.layers import reading
from octconvert.layers.conv import WindowInput
from octconvert.layers.portable import (
    biased,
    known_sizes,
    pad_or_crop,
    pool_blocks,
    pool_octave,
    prepare_low,
    upsample_to,
)
from octconvert.layers.tensors import Maps, Tensor
from octconvert.layers.window import Window
from octconvert.octave.geometry import Alignment, Padding
from octconvert.octave.names import HH, HIGH, HL, LH, LL, LOW


def octave_conv_2d(
    inputs: Maps,
    filters: int,
    kernel_size: int | Sequence[int],
    octave: int | Sequence[int] = 2,
    ratio_out: float = 0.5,
    strides: int | Sequence[int] = 1,
    padding: Padding = "same",
    *,
    name: str | None = None,
    **arguments: Any,
) -> Any:
    """The function of `OctaveConv2D` out of Conv2D, AveragePooling2D, UpSampling2D, Add ... layers.

    Args:
        inputs: Keras tensor, or ``[high, low]``, of known rows and columns; with ``whole_low=True`` a low map.
        filters, kernel_size, octave, ratio_out, strides, padding: as `OctaveConv2D`.
        name: the layers are called ``name-HH``, ``name-HL``, ``name-LH``, ``name-LL`` and so on; None counts
            ``octave_conv_1``, ``octave_conv_2`` ... The biases are in ``name-HH`` (high) and ``name-HL`` (low), or
            in ``name-LH`` and ``name-LL`` where there is no high input.
        **arguments: data_format, dilation_rate, groups, activation, use_bias, whole_low, high_size: as `OctaveConv2D`;
            initialisers, regularisers, constraints and dtype: passed on to every Conv2D.

    Returns:
        ``[high, low]``, or one tensor for ``ratio_out`` 0.0 or 1.0.

    Raises:
        ValueError: as `OctaveConv2D`, and for unknown rows or columns.
    """
    return _called(2, inputs, (filters, kernel_size, octave, ratio_out), name, strides, padding, arguments)


def octave_conv_1d(
    inputs: Maps,
    filters: int,
    kernel_size: int | Sequence[int],
    octave: int | Sequence[int] = 2,
    ratio_out: float = 0.5,
    strides: int | Sequence[int] = 1,
    padding: Padding = "same",
    *,
    name: str | None = None,
    **arguments: Any,
) -> Any:
    """The function of `OctaveConv1D` out of Conv1D, AveragePooling1D, UpSampling1D, Add ... layers.

    Args:
        inputs: Keras tensor, or ``[high, low]``, of a known number of steps, in channels_last.
        filters, kernel_size, octave, ratio_out, strides, padding, name, arguments: as `octave_conv_2d`.

    Returns:
        ``[high, low]``, or one tensor for ``ratio_out`` 0.0 or 1.0.

    Raises:
        ValueError: as `OctaveConv1D`, for an unknown number of steps, and for channels_first.
    """
    return _called(1, inputs, (filters, kernel_size, octave, ratio_out), name, strides, padding, arguments)


def octave_conv_3d(
    inputs: Maps,
    filters: int,
    kernel_size: int | Sequence[int],
    octave: int | Sequence[int] = 2,
    ratio_out: float = 0.5,
    strides: int | Sequence[int] = 1,
    padding: Padding = "same",
    *,
    name: str | None = None,
    **arguments: Any,
) -> Any:
    """The function of `OctaveConv3D` out of Conv3D, AveragePooling3D, UpSampling3D, Add ... layers.

    Args:
        inputs: Keras tensor, or ``[high, low]``, of known depth, rows and columns.
        filters, kernel_size, octave, ratio_out, strides, padding, name, arguments: as `octave_conv_2d`.

    Returns:
        ``[high, low]``, or one tensor for ``ratio_out`` 0.0 or 1.0.

    Raises:
        ValueError: as `OctaveConv3D`, and for unknown sizes.
    """
    return _called(3, inputs, (filters, kernel_size, octave, ratio_out), name, strides, padding, arguments)


def _called(
    rank: int,
    inputs: Maps,
    sizes: tuple[Any, ...],
    name: str | None,
    strides: int | Sequence[int],
    padding: Padding,
    arguments: dict[str, Any],
) -> Any:
    name = name or f"octave_conv_{keras.backend.get_uid('octave_conv')}"
    convolution = PortableConv(name, *sizes, strides=strides, padding=padding, **arguments, rank=rank)
    return convolution(inputs)


class PortableConv:
    """The four paths as built-in layers; called once or, if ``shared``, more often and with maps of other sizes.

    Arguments: as `octave_conv_2d`; ``rank``: spatial axes of the maps.
    """

    def __init__(
        self,
        name: str,
        filters: int,
        kernel_size: int | Sequence[int],
        octave: int | Sequence[int],
        ratio_out: float,
        *,
        shared: bool = False,
        rank: int = 2,
        **arguments: Any,
    ):
        self.name, self.shared, self.rank = name, shared, rank
        self.window = Window(
            reading.by_axis(kernel_size, "kernel_size", rank),
            reading.by_axis(arguments.pop("strides"), "strides", rank),
            reading.by_axis(arguments.pop("dilation_rate", 1), "dilation_rate", rank),
            reading.standard_padding(arguments.pop("padding"), rank),
            reading.check_octave(octave, rank),
        )
        self.data_format = reading.standard_data_format(arguments.pop("data_format", None))
        whole_low, high_size = arguments.pop("whole_low", False), arguments.pop("high_size", None)
        self.low_input = reading.LowInput(name, whole_low, high_size, self.window.octave, self.data_format, rank)
        groups = arguments.pop("groups", 1)
        self.high_filters, self.low_filters = reading.divide_filters(name, filters, ratio_out, groups)
        self.activation, self.use_bias = arguments.pop("activation", None), arguments.pop("use_bias", True)
        self.arguments = {"data_format": self.data_format, "groups": groups, **arguments}
        self.paths: dict[str, keras.layers.Layer] = {}
        self.calls = 0

    def __call__(self, inputs: Maps) -> Any:
        high, low = self.low_input.maps(*reading.split_inputs(inputs, self.name))
        size = self._source_size(high, low)
        label = self.name if not self.calls else f"{self.name}-{self.calls + 1}"
        self.calls += 1
        alignments = [self.window.alignment(i, length) for i, length in enumerate(size)]
        outputs = [self.window.low_outputs(i, length) for i, length in enumerate(size)]
        prepared = None if low is None else self._prepare(low, alignments, outputs, f"{label}-low")
        results = []
        if self.high_filters:
            results.append(self._high(high, prepared, alignments, size, label))
        if self.low_filters:
            pooled = None if high is None else self._pooled(high, size, alignments, outputs, label)
            results.append(self._low(pooled, prepared, alignments, label))
        return results if len(results) == 2 else results[0]

    def _source_size(self, high: Tensor | None, low: Tensor | None) -> tuple[int, ...]:
        """Of the source's map; the inputs are checked."""
        high_shape, low_shape = (None if x is None else tuple(x.shape) for x in (high, low))
        reading.check_pair_shapes(self.name, high_shape, low_shape, self.window.octave, self.data_format, self.rank)
        if high is not None:
            return known_sizes(high, self.data_format, self.name)
        assert low is not None  # one of both is read
        self.low_input.check(tuple(low.shape))
        return self.low_input.size_of(known_sizes(low, self.data_format, self.name))

    def _pooled(
        self,
        high: Tensor,
        size: Sequence[int],
        alignments: Sequence[Alignment],
        outputs: Sequence[int],
        label: str,
    ) -> WindowInput:
        """The high map at the low resolution, as in `OctaveConv2D`; other calls may need the stride."""
        blocks = None if self.shared else self.window.strided_blocks(size)
        if blocks is not None:
            return WindowInput(pool_blocks(high, blocks, self.data_format, f"{label}-pool"), "valid", (1,) * self.rank)
        pooled = pool_octave(high, self.window.octave, self.data_format, f"{label}-pool")
        return self._prepare(pooled, alignments, outputs, f"{label}-pooled")

    def _prepare(self, x: Tensor, alignments: Sequence[Alignment], outputs: Sequence[int], name: str) -> WindowInput:
        same = not self.shared
        x, padding = prepare_low(x, self.window, alignments, outputs, self.data_format, name, allow_same=same)
        return WindowInput(x, padding, self.window.strides)

    def _high(
        self,
        high: Tensor | None,
        low: WindowInput | None,
        alignments: Sequence[Alignment],
        size: Sequence[int],
        label: str,
    ) -> Tensor:
        parts: list[Tensor] = []
        if high is not None:
            padding = self.window.padding
            if not isinstance(padding, str):
                high, padding = pad_or_crop(high, padding, self.data_format, f"{label}-high"), "valid"
            window = WindowInput(high, padding, self.window.strides)
            parts.append(self._path(HH, self.high_filters, window, self.window.dilation, label, self.use_bias))
        if low is not None:
            bias = self.use_bias and high is None
            part = self._low_path(LH, self.high_filters, low, alignments, label, bias)
            outputs = [self.window.output(axis, length) for axis, length in enumerate(size)]
            parts.append(upsample_to(part, self.window.octave, outputs, self.data_format, f"{label}-up"))
        return self._activate(self._sum(parts, f"{label}-add{HIGH}"), f"{label}-act{HIGH}")

    def _low(
        self,
        pooled: WindowInput | None,
        low: WindowInput | None,
        alignments: Sequence[Alignment],
        label: str,
    ) -> Tensor:
        parts: list[Tensor] = []
        for path, prepared in ((HL, pooled), (LL, low)):
            if prepared is not None:
                bias = self.use_bias and not parts
                parts.append(self._low_path(path, self.low_filters, prepared, alignments, label, bias))
        return self._activate(self._sum(parts, f"{label}-add{LOW}"), f"{label}-act{LOW}")

    def _sum(self, parts: Sequence[Tensor], name: str) -> Tensor:
        return parts[0] if len(parts) == 1 else layers.Add(name=name, dtype=parts[0].dtype)(parts)

    def _low_path(
        self,
        path: str,
        filters: int,
        prepared: WindowInput,
        alignments: Sequence[Alignment],
        label: str,
        bias: bool,
    ) -> Tensor:
        return self._path(path, filters, prepared, tuple(a.dilation for a in alignments), label, bias)

    def _path(
        self,
        path: str,
        filters: int,
        read: WindowInput,
        dilation: tuple[int, ...],
        label: str,
        bias: bool,
    ) -> Tensor:
        if path not in self.paths:
            self.paths[path] = getattr(layers, f"Conv{self.rank}D")(
                filters,
                self.window.kernel,
                strides=read.strides,
                padding=read.padding,
                dilation_rate=dilation,
                use_bias=bias,
                name=f"{self.name}{path}",
                **self.arguments,
            )
        if not bias:
            return self.paths[path](read.map)
        layer = self.paths[path]
        shape = layer.compute_output_shape(read.map.shape)
        return biased(layer, read.map, shape, read.strides[-1], self.data_format, f"{label}{path}")

    def _activate(self, x: Tensor, name: str) -> Tensor:
        activation = keras.activations.get(self.activation)
        if activation is keras.activations.linear:
            return x
        return layers.Activation(activation, dtype=self.arguments.get("dtype"), name=name)(x)
