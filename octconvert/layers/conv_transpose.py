"""The transposed convolutions of decoders, between tensors at two resolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from octconvert.layers import spatial
from octconvert.layers.conv import OctaveConv, WindowInput
from octconvert.layers.tensors import End, Tensor
from octconvert.layers.window import TransposedWindow
from octconvert.octave.geometry import Size, ceil_div, factors


class OctaveConvTranspose(OctaveConv):
    """A transposed octave convolution of any rank; see `OctaveConv2DTranspose`, whose arguments it has."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        octave: int | Sequence[int] = 2,
        ratio_out: float = 0.5,
        output_padding: int | Sequence[int] | None = None,
        **keywords: Any,
    ):
        super().__init__(filters, kernel_size, octave, ratio_out, **keywords)
        if self.groups != 1:
            raise ValueError(f"layer '{self.name}': a transposed convolution has no groups, received {self.groups}")
        if not isinstance(self.padding, str):
            raise ValueError(f"layer '{self.name}': `padding` must be 'same' or 'valid', received: {self.padding!r}")
        if output_padding is not None:
            output_padding = (output_padding,) * self.rank if isinstance(output_padding, int) else tuple(output_padding)
        self.output_padding: Any = output_padding

    @property
    def window(self) -> TransposedWindow:
        """The source operation that the low paths follow."""
        assert isinstance(self.padding, str)  # see the constructor
        sizes = (self.kernel_size, self.strides, self.dilation_rate)
        return TransposedWindow(*sizes, self.padding, self.output_padding, self.octave, self.causal)

    def _kernel_ends(self, rows: End, columns: End) -> tuple[End, End]:
        return columns, rows

    def prepare_low(self, low: Tensor, high_sizes: Sequence[Size]) -> tuple[Tensor, Any]:
        """``low`` as it is, and the size of the high map: what `fit_transposed` cuts the result to."""
        return low, high_sizes

    def _high_conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        return self._spread(x, kernel, self.padding, self.dilation_rate, self.output_padding)

    def _low_conv(self, low: WindowInput, kernel: Tensor) -> Tensor:
        full = self._spread(low.map, kernel, "valid", self.low_dilation, None)
        return spatial.fit_transposed(full, low.padding, self.window, self.data_format)

    def _spread(
        self,
        x: Tensor,
        kernel: Tensor,
        padding: Any,
        dilation: tuple[int, ...],
        output_padding: tuple[int, ...] | None,
    ) -> Tensor:
        def spreading(x: Tensor, kernel: Tensor) -> Tensor:
            return ops.conv_transpose(x, kernel, self.strides, padding, output_padding, self.data_format, dilation)

        return self.convolved(spreading, x, kernel)

    def _window_places(self, sizes: Sequence[Size]) -> tuple[int, int]:
        cells = map(ceil_div, sizes, factors(self.octave, self.rank))  # every one of the input is spread
        return math.prod(sizes), math.prod(cells)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "output_padding": self.output_padding}
        del config["groups"]
        return config


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv1DTranspose(OctaveConvTranspose):
    """Transposed 1-D convolution of a map or pair.

    Args: as `OctaveConv2DTranspose`, with one number where that has (rows, columns).

    Input and output: as `OctaveConv1D`, with the output sizes of ``keras.layers.Conv1DTranspose``.

    Raises:
        ValueError: as `OctaveConv2DTranspose`.
    """

    rank = 1


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv2DTranspose(OctaveConvTranspose):
    """Transposed 2-D convolution of a map or pair, with the four paths of `OctaveConv2D` (paper, equations 2-4).

    Args:
        output_padding: None, an integer or (rows, columns), as in ``keras.layers.Conv2DTranspose``.
        padding: 'same' or 'valid'.
        filters, kernel_size, octave, ratio_out, strides, data_format, dilation_rate, activation, use_bias and the
        initialisers, regularisers and constraints, whole_low and high_size: as in `OctaveConv2D`; there are no groups.

    Kernels are (rows, columns, output channels, input channels), as Keras' own.
    Input and output: as `OctaveConv2D`, with the output sizes of ``keras.layers.Conv2DTranspose``.

    Raises:
        ValueError: as `OctaveConv2D`; explicit padding; groups.
    """

    rank = 2


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveConv3DTranspose(OctaveConvTranspose):
    """Transposed 3-D convolution of a map or pair.

    Args: as `OctaveConv2DTranspose`, with (depth, rows, columns) where that has (rows, columns).

    Input and output: as `OctaveConv3D`, with the output sizes of ``keras.layers.Conv3DTranspose``.

    Raises:
        ValueError: as `OctaveConv2DTranspose`.
    """

    rank = 3
