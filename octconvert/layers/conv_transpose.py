"""`OctaveConv2DTranspose`: the transposed convolution of decoders, between tensors at two resolutions."""

from __future__ import annotations

import keras
from keras import ops

from octconvert.layers import base, spatial
from octconvert.layers.conv import OctaveConv2D


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv2DTranspose(OctaveConv2D):
    """Transposed 2-D convolution of a map or pair, with the four paths of `OctaveConv2D` (paper, equations 2-4).

    Args:
        output_padding: None, an integer or (rows, columns), as in ``keras.layers.Conv2DTranspose``.
        padding: 'same' or 'valid'.
        filters, kernel_size, octave, ratio_out, strides, data_format, dilation_rate, activation, use_bias and the
        initialisers, regularisers and constraints: as in `OctaveConv2D`; there are no groups.

    Kernels are (rows, columns, output channels, input channels), as Keras' own.
    Input and output: as `OctaveConv2D`, with the output sizes of ``keras.layers.Conv2DTranspose``.

    Raises:
        ValueError: as `OctaveConv2D`; explicit padding; groups.
    """

    def __init__(self, filters, kernel_size, octave=2, ratio_out=0.5, output_padding=None, **kwargs):
        super().__init__(filters, kernel_size, octave, ratio_out, **kwargs)
        if self.groups != 1:
            raise ValueError(f"layer '{self.name}': a transposed convolution has no groups, received {self.groups}")
        if not isinstance(self.padding, str):
            raise ValueError(f"layer '{self.name}': `padding` must be 'same' or 'valid', received: {self.padding!r}")
        if output_padding is not None:
            output_padding = (output_padding,) * 2 if isinstance(output_padding, int) else tuple(output_padding)
        self.output_padding = output_padding

    @property
    def window(self) -> spatial.TransposedWindow:
        """The source operation that the low paths follow."""
        sizes = (self.kernel_size, self.strides, self.dilation_rate)
        return spatial.TransposedWindow(*sizes, self.padding, self.output_padding, self.octave)

    def _kernel_ends(self, rows, columns):
        return columns, rows

    def prepare_low(self, low, high):
        return low, spatial.sizes(high, self.data_format)

    def _high_conv(self, x, kernel):
        return self._spread(x, kernel, self.padding, self.dilation_rate, self.output_padding)

    def _low_conv(self, x, kernel, high_sizes):
        full = self._spread(x, kernel, "valid", self.low_dilation, None)
        return spatial.fit_transposed(full, high_sizes, self.window, self.data_format)

    def _spread(self, x, kernel, padding, dilation, output_padding):
        arguments = (padding, output_padding, self.data_format, dilation)
        spreading = lambda x, kernel: ops.conv_transpose(x, kernel, self.strides, *arguments)  # noqa: E731
        return self.convolved(spreading, x, kernel)

    def macs(self, input_shape) -> int:
        """Multiply-accumulates for one sample of ``input_shape`` (known sizes; list of two for a pair)."""
        high, low = base.split_shapes(input_shape, self.name)
        (rows, columns), channels = spatial.spatial_axes(self.data_format), spatial.channel_axis(self.data_format)
        positions = high[rows] * high[columns]
        cells = -(-high[rows] // self.octave) * -(-high[columns] // self.octave)
        from_high, from_low = high[channels], low[channels] if low is not None else 0
        high_macs = positions * from_high * self.high_filters
        low_macs = cells * (from_low * self.filters + from_high * self.low_filters)
        return (high_macs + low_macs) * self.kernel_size[0] * self.kernel_size[1]

    def get_config(self):
        config = {**super().get_config(), "output_padding": self.output_padding}
        del config["groups"]
        return config
