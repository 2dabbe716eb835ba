"""Transposed convolutions as regressions: each is a convolution of its input with zeros between the positions.

Position ``r`` of the output is the sum over the taps ``d`` of ``x[(r + before - dilation * d) / stride]``, where that
is an integer. So the rows are windows on a map with ``stride - 1`` zeros between its positions, and the kernel lies in
them back to front, with its input channels before its output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from octconvert.layers.spatial import fit_transposed, pad_or_crop, rank_of, sizes, spatial_axes
from octconvert.layers.window import TransposedWindow
from octconvert.model.tensors import BackendTensor


def turned(kernel: np.ndarray) -> np.ndarray:
    """A kernel (..., outputs, inputs) as that of the convolution, and the other way round."""
    return np.swapaxes(np.flip(kernel, tuple(range(kernel.ndim - 2))), -1, -2)


@dataclass(frozen=True, eq=False)
class TransposedInputs:
    """The maps that the windows of a transposed convolution move over, as `OctaveConv2D` has them for its own.

    Attributes:
        window: of the source's operation.
        data_format: of the maps.
        low_dilation: of the kernel on low maps.
    """

    window: TransposedWindow
    data_format: str
    low_dilation: tuple[int, ...] = ()

    def prepare_high(self, high: BackendTensor) -> tuple[BackendTensor, str]:
        """The map on which the window of an output position begins at that position; no padding is left."""
        reach = self._reach(self.window.dilation)
        x = self._spread(high, reach)
        pads = []
        for axis, size in enumerate(sizes(high, self.data_format)):
            before = self.window.before(axis)
            length = self.window.output(axis, size) + reach[axis]
            pads.append((-before, length + before - sizes(x, self.data_format)[axis]))
        return pad_or_crop(x, pads, self.data_format), "valid"

    def prepare_low(self, low: BackendTensor, size: tuple[int, ...]) -> tuple[BackendTensor, str]:
        """The same for a low map; ``size``: of the high map that it belongs to."""
        reach = self._reach(self.low_dilation)
        return fit_transposed(self._spread(low, reach), size, self.window, self.data_format, reach), "valid"

    def _reach(self, dilation: Sequence[int]) -> tuple[int, ...]:
        """Positions from the first tap of a kernel to its last one."""
        return tuple((taps - 1) * step for taps, step in zip(self.window.kernel, dilation, strict=True))

    def _spread(self, x: BackendTensor, reach: Sequence[int]) -> BackendTensor:
        """The map with zeros between its positions, and with those that a window reaches around it."""
        for axis, stride in zip(spatial_axes(self.data_format, rank_of(x)), self.window.strides, strict=True):
            if stride > 1:
                shape = list(x.shape)
                pads = [(0, 0)] * (len(shape) + 1)
                pads[axis + 1] = (0, stride - 1)
                x = ops.pad(ops.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :])), pads)
                x = ops.reshape(x, (*shape[:axis], stride * shape[axis], *shape[axis + 1 :]))
        pads = [(each, each - (stride - 1)) for each, stride in zip(reach, self.window.strides, strict=True)]
        return pad_or_crop(x, pads, self.data_format)
