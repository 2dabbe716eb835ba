"""What every octave layer shares: choices for its weights, and a window that moves over the maps that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import keras
from keras import activations, backend, constraints, initializers, ops, regularizers

from octconvert.layers import reading
from octconvert.layers.spatial import channel_axis, pad_or_crop, prepare_low, sizes, spatial_axes
from octconvert.layers.tensors import Maps, Shapes, Tensor
from octconvert.layers.window import Window
from octconvert.octave.geometry import Padding, Shape, Size, ceil_div, factors

FEWEST_CHANNELS = 16
"""Of a strided 1x1 window's input: below that, TensorFlow's own gradient of it writes past its memory."""
_MODULES = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def bias_is_misplaced(output_shape: Shape, data_format: str) -> bool:
    """Whether Keras adds the bias of a convolution with a 4-D output of this shape to the columns, not to the channels.

    `keras.ops.add` on TensorFlow (Keras 3.15) hands what looks like a bias to ``tf.nn.bias_add``, and takes the last
    axis for the channels' where that is as long: in channels_first, on maps with as many columns as channels.
    """
    if data_format == "channels_last":
        return False
    channels, columns = output_shape[1], output_shape[-1]
    return channels is not None and channels == columns != 1


def has_misplaced_bias(layer: keras.layers.Layer, output_shape: Shape) -> bool:
    """Whether Keras' own convolution has a bias, and misplaces it on an output of this shape."""
    return layer.bias is not None and bias_is_misplaced(output_shape, layer.data_format)


def set_choices(layer: keras.layers.Layer, choices: Mapping[str, Any]) -> None:
    """Set initialisers, regularisers and constraints by argument name, whose suffix is their kind."""
    for name, value in choices.items():
        setattr(layer, name, _MODULES[name.rpartition("_")[2]].get(value))


def add_weight(
    layer: keras.layers.Layer, name: str, shape: Shape, argument: str, initializer: Any = None, **options: Any
) -> keras.Variable:
    """Add a weight with the layer's choices for it.

    Args:
        argument: where the names of the choices begin: 'kernel' for ``kernel_initializer`` ...
        initializer: in place of the layer's own.
        options: further arguments of ``keras.layers.Layer.add_weight``.
    """
    return layer.add_weight(
        shape=shape,
        initializer=initializer or getattr(layer, f"{argument}_initializer"),
        regularizer=getattr(layer, f"{argument}_regularizer"),
        constraint=getattr(layer, f"{argument}_constraint"),
        name=name,
        **options,
    )


def choices_config(layer: keras.layers.Layer, names: Iterable[str]) -> dict[str, Any]:
    """The same, as a configuration holds them."""
    return {name: _MODULES[name.rpartition("_")[2]].serialize(getattr(layer, name)) for name in names}


class LayerKeywords(TypedDict, total=False):
    """What every Keras layer takes."""

    name: str | None
    dtype: Any
    trainable: bool


class WindowKeywords(LayerKeywords, total=False):
    """Keyword arguments of every octave layer with a window: `LowInput`, and as in ``keras.layers.Conv2D``."""

    causal: bool
    whole_low: bool
    high_size: Sequence[int | None] | None
    activation: Any
    use_bias: bool
    bias_initializer: Any
    bias_regularizer: Any
    activity_regularizer: Any
    bias_constraint: Any


class OctaveWindowLayer(keras.layers.Layer):
    """A layer whose window (kernel, strides, padding, dilation) moves over one map or over both maps of a pair.

    One map is a high one, or with ``whole_low=True`` the low map of a tensor without high channels (`LowInput`).
    ``keywords``: `WindowKeywords`, and the initialiser, regulariser and constraint of the kernels.
    """

    rank: ClassVar[int] = 2
    """Spatial axes of the maps."""
    kernel_argument = "kernel"
    """Where the names of the arguments for the kernels begin: ``kernel_initializer`` ..."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        octave: int | Sequence[int],
        strides: int | Sequence[int],
        padding: Padding,
        data_format: str | None,
        dilation_rate: int | Sequence[int],
        **keywords: Any,
    ):
        activation, use_bias = keywords.pop("activation", None), keywords.pop("use_bias", True)
        whole_low, high_size = keywords.pop("whole_low", False), keywords.pop("high_size", None)
        causal = keywords.pop("causal", False)
        defaults = {f"{self.kernel_argument}_initializer": "glorot_uniform", "bias_initializer": "zeros"}
        names = [f"{argument}_{kind}" for kind in _MODULES for argument in (self.kernel_argument, "bias")]
        choices = {name: keywords.pop(name, defaults.get(name)) for name in names}
        super().__init__(**keywords)
        self.kernel_size = reading.by_axis(kernel_size, "kernel_size", self.rank)
        self.octave = reading.check_octave(octave, self.rank)
        self.strides = reading.by_axis(strides, "strides", self.rank)
        self.dilation_rate = reading.by_axis(dilation_rate, "dilation_rate", self.rank)
        if self.rank == 1 and padding == "causal":
            padding, causal = reading.causal_padding(self.kernel_size, self.dilation_rate), True
        self.padding = reading.standard_padding(padding, self.rank)
        self.causal = reading.check_causal(self.name, causal, self.rank)
        self.data_format = reading.standard_data_format(data_format)
        self.low_input = reading.LowInput(self.name, whole_low, high_size, self.octave, self.data_format, self.rank)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self._choices = tuple(choices)
        set_choices(self, choices)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError("`strides > 1` not supported in conjunction with `dilation_rate > 1`")

    @property
    def window(self) -> Any:  # a `Window`, or a `TransposedWindow`
        """The source operation that the low paths follow."""
        return Window(self.kernel_size, self.strides, self.dilation_rate, self.padding, self.octave, self.causal)

    @property
    def low_dilation(self) -> tuple[int, ...]:
        """Dilation of the low window."""
        return tuple(self.window.alignment(axis, None).dilation for axis in range(self.rank))

    def map_shapes(self, input_shape: Shapes) -> tuple[Any, Any]:
        """Shapes of the (high, low) maps that are read; None for one that is not.

        Raises:
            ValueError: two where ``whole_low`` reads one.
        """
        return self.low_input.maps(*reading.split_shapes(input_shape, self.name))

    def _check_shapes(self, input_shape: Shapes) -> tuple[Any, Any]:
        high, low = self.map_shapes(input_shape)
        reading.check_pair_shapes(self.name, high, low, self.octave, self.data_format, self.rank)
        if high is None:
            self.low_input.check(low)
        return high, low

    def _maps(self, inputs: Maps) -> tuple[Tensor | None, Tensor | None]:
        return self.low_input.maps(*reading.split_inputs(inputs, self.name))

    def source_sizes(self, inputs: Maps) -> tuple[Size, ...]:
        """Of the source's map along its axes: integers where known, else scalar tensors, None where symbolic."""
        first, second = reading.split_inputs(inputs, self.name)
        own = sizes(first, self.data_format)
        return self.low_input.size_of(own, second) if self.low_input.whole_low else own

    def source_size(self, input_shape: Shapes, run_size: Any = None) -> Shape:
        """Of the source's map that inputs of this shape hold or stand in for; None where open.

        Args:
            input_shape: of the inputs. With that of a tensor of sizes it is what the low map can stand in for at most.
            run_size: what that tensor holds.
        """
        first = reading.split_shapes(input_shape, self.name)[0]
        own = tuple(first[axis] for axis in spatial_axes(self.data_format, self.rank))
        return self.low_input.size_of(own, run_size) if self.low_input.whole_low else own

    def _add_bias(self, name: str, channels: int) -> keras.Variable | None:
        return add_weight(self, name, (channels,), "bias") if self.use_bias and channels else None

    def prepare_high(self, high: Tensor) -> tuple[Tensor, str]:
        """(map, padding) for the operation on the high map."""
        if isinstance(self.padding, str):
            return high, self.padding
        return pad_or_crop(high, self.padding, self.data_format), "valid"

    def prepare_low(self, low: Tensor, high_sizes: Sequence[Size]) -> tuple[Tensor, Any]:
        """(map, padding) for the operation on a low map that belongs to a high one of ``high_sizes``."""
        return prepare_low(low, high_sizes, self.window, self.data_format)

    def convolved(self, operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor) -> Tensor:
        """``operation(x, kernel)``, whose gradient is right on every processor: see `octconvert.layers.gradients`."""
        is_point = len(kernel.shape) == 4 and tuple(kernel.shape[:2]) == (1, 1)
        affected = is_point and max(self.strides) > 1 and kernel.shape[2] < FEWEST_CHANNELS
        if not affected or backend.backend() != "tensorflow":
            return operation(x, kernel)
        from octconvert.layers.gradients import with_safe_gradient  # TensorFlow alone; the layers run on all backends

        return with_safe_gradient(operation, ops.convert_to_tensor(x), ops.convert_to_tensor(kernel))

    def _finish(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            shape = [1] * (self.rank + 2)
            shape[channel_axis(self.data_format, self.rank)] = -1
            x = x + ops.reshape(bias, shape)
        return self.activation(x)

    def output_channels(self, input_shape: Shapes) -> tuple[int, int]:
        """Channels of the (high, low) outputs for inputs of this shape."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shapes) -> Any:
        return self._output_shapes(input_shape, self.source_size(input_shape))

    def _output_shapes(self, input_shape: Shapes, size: Sequence[Size]) -> Any:
        """Shapes of the (high, low) outputs for a source map of ``size``; one without channels is left out."""
        axes, shapes = spatial_axes(self.data_format, self.rank), list[Shape]()
        batch, channels = reading.split_shapes(input_shape, self.name)[0][0], self.output_channels(input_shape)
        outputs = [self.window.output(i, length) for i, length in enumerate(size)]
        if any(length is not None and length < 1 for length in outputs):
            raise ValueError(f"layer '{self.name}': a map of {size} is too small for its window")
        for count, octave in zip(channels, (1, self.octave), strict=True):
            if count:
                shape: list[int | None] = [batch, *[count] * (self.rank + 1)]
                for length, axis, cell in zip(outputs, axes, factors(octave, self.rank), strict=True):
                    shape[axis] = None if length is None else ceil_div(length, cell)
                shapes.append(tuple(shape))
        return shapes if len(shapes) == 2 else shapes[0]

    def compute_output_spec(self, inputs: Maps) -> Any:
        high, low = reading.split_inputs(inputs, self.name)
        shapes = tuple(high.shape) if low is None else [tuple(high.shape), tuple(low.shape)]
        self._check_shapes(shapes)
        output = self._output_shapes(shapes, self.source_sizes(inputs))
        if isinstance(output, list):
            return [keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in output]
        return keras.KerasTensor(output, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {
            "kernel_size": self.kernel_size,
            "octave": self.octave,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "whole_low": self.low_input.whole_low,
            "high_size": self.low_input.high_size,
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
        }
        causal = {"causal": self.causal} if self.rank == 1 else {}
        return {**super().get_config(), **own, **causal, **choices_config(self, self._choices)}
