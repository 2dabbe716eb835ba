"""`OctaveSize`: the size that a whole-low map stands in for, where it is open until the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from octconvert.layers import base, reading, spatial
from octconvert.layers.tensors import Tensor
from octconvert.layers.window import TransposedWindow, Window
from octconvert.octave.geometry import Padding, Shape


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveSize(keras.layers.Layer):
    """Rows and columns of a map, or those of what a window makes of it.

    A whole-low map of n cells stands in for ``octave * n`` positions or a few less. Layers with ``whole_low=True`` take
    this layer's output as a second input where that is open until the model runs.

    Args:
        kernel_size, strides, padding, dilation_rate: of the window, as in `OctaveConv2D`; without them the map's own.
        output_padding: of a transposed window, as in ``keras.layers.Conv2DTranspose``.
        transposed: whether the window is that of a transposed convolution.
        data_format: of the map.

    Input: a map, 4-D, or the output of another such layer. Output: (rows, columns), int32, shape (2,).
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 1,
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        dilation_rate: int | Sequence[int] = 1,
        output_padding: Sequence[int] | None = None,
        transposed: bool = False,
        data_format: str | None = None,
        **keywords: Unpack[base.LayerKeywords],
    ):
        super().__init__(**keywords)
        self.kernel_size = reading.by_axis(kernel_size, "kernel_size")
        self.strides = reading.by_axis(strides, "strides")
        self.padding = reading.standard_padding(padding)
        self.dilation_rate = reading.by_axis(dilation_rate, "dilation_rate")
        self.output_padding: Any = None if output_padding is None else tuple(output_padding)
        self.transposed = transposed
        self.data_format = reading.standard_data_format(data_format)

    @property
    def window(self) -> Window | TransposedWindow:
        """The source's operation."""
        sizes = (self.kernel_size, self.strides, self.dilation_rate)
        if not self.transposed:
            return Window(*sizes, self.padding, 1)
        assert isinstance(self.padding, str)  # of a transposed convolution
        return TransposedWindow(*sizes, self.padding, self.output_padding, 1)

    def call(self, inputs: Tensor) -> Tensor:
        size = spatial.sizes(inputs, self.data_format) if len(inputs.shape) == 4 else (inputs[0], inputs[1])
        outputs = [self.window.output(axis, length) for axis, length in enumerate(size)]
        return ops.stack([ops.cast(length, "int32") for length in outputs])

    def compute_output_spec(self, inputs: keras.KerasTensor) -> reading.SizeTensor:
        if len(inputs.shape) == 4:
            rows, columns = (inputs.shape[axis] for axis in spatial.spatial_axes(self.data_format))
        else:
            rows, columns = reading.held_size(inputs) or (None, None)
        return reading.SizeTensor((self.window.output(0, rows), self.window.output(1, columns)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (2,)

    def get_config(self) -> dict[str, Any]:
        names = ("kernel_size", "strides", "padding", "dilation_rate", "output_padding", "transposed", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
