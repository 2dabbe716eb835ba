"""Slices and folds of trained kernels: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octconvert.layers.window import TransposedWindow, Window


def fold_kernel(kernel: np.ndarray, window: Window | TransposedWindow, sizes: Sequence[int | None]) -> np.ndarray:
    """The kernel that does at low resolution what ``kernel`` does at high (least squares under nearest upsampling).

    Args:
        kernel: (rows, columns, ...), an axis for each spatial one.
        window: the source's operation.
        sizes: of the source's input map along them; None where unknown.
    """
    folded = kernel
    for axis, size in enumerate(sizes):
        folded = np.moveaxis(np.tensordot(window.alignment(axis, size).matrix, folded, axes=(1, axis)), 0, axis)
    return folded.astype(kernel.dtype)


def grouped_part(kernel: np.ndarray, rows: np.ndarray, columns: np.ndarray, channels: int, groups: int) -> np.ndarray:
    """The part of a convolution kernel between some input and some output channels.

    Args:
        kernel: (..., input channels / groups, output channels).
        rows, columns: ascending indices of input and output channels, evenly spread over the groups.
        channels: input channels of the whole convolution.
        groups: of the convolution.
    """
    if groups == 1:
        return kernel[..., rows[:, None], columns]
    inputs, outputs = channels // groups, kernel.shape[-1] // groups
    parts = []
    for group in range(groups):
        own_rows = rows[rows // inputs == group] - group * inputs
        own_columns = columns[columns // outputs == group]
        parts.append(kernel[..., own_rows[:, None], own_columns])
    return np.concatenate(parts, axis=-1)
