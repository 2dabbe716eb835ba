"""Augmentation of image batches: as TensorFlow operations, and with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

SHARE = 0.125
"""Largest shift, as a share of the rows and of the columns."""


def flip_and_shift(images: tf.Tensor, share: float = SHARE) -> tf.Tensor:
    """An augmentation for `octconvert.distill`: half of the images are flipped left to right, all are shifted.

    Args:
        images: (batch, rows, columns, channels), rows and columns known.
        share: largest shift, as a share of the rows and of the columns; borders are filled with the mirror image.
    """
    import tensorflow as tf

    images = tf.image.random_flip_left_right(images)
    rows, columns = _largest_shifts(images.shape[1:3], share)
    padded = tf.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="REFLECT")
    return tf.ensure_shape(tf.image.random_crop(padded, tf.shape(images)), images.shape)


def flipped_and_shifted(
    images: np.ndarray, rng: np.random.Generator, axes: tuple[int, ...], share: float = SHARE
) -> np.ndarray:
    """The same of an array of maps of any rank, on every backend of Keras; signals are shifted alone.

    Args:
        axes: the spatial ones, rows and columns of images; the last one is flipped.
    """
    if len(axes) > 1:
        flips = rng.random(len(images)) < 0.5
        images = np.where(flips.reshape(-1, *[1] * (images.ndim - 1)), np.flip(images, axes[-1]), images)
    shifts = _largest_shifts([images.shape[axis] for axis in axes], share)
    pads, window = [(0, 0)] * images.ndim, [slice(None)] * images.ndim
    for axis, shift in zip(axes, shifts, strict=True):
        start = int(rng.integers(2 * shift + 1))
        pads[axis], window[axis] = (shift, shift), slice(start, start + images.shape[axis])
    return np.pad(images, pads, mode="reflect")[tuple(window)]


def _largest_shifts(sizes: Sequence[int], share: float) -> tuple[int, ...]:
    """Along each axis."""
    return tuple(min(max(1, int(share * size)), size - 1) for size in sizes)
