"""Augmentation of image batches, as TensorFlow operations."""

from __future__ import annotations

import tensorflow as tf


def flip_and_shift(images: tf.Tensor, share: float = 0.125) -> tf.Tensor:
    """An augmentation for `octconvert.distill`: half of the images are flipped left to right, all are shifted.

    Args:
        images: (batch, rows, columns, channels), rows and columns known.
        share: largest shift, as a share of the rows and of the columns; borders are filled with the mirror image.
    """
    images = tf.image.random_flip_left_right(images)
    rows, columns = (min(max(1, int(share * size)), size - 1) for size in images.shape[1:3])
    padded = tf.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="REFLECT")
    return tf.ensure_shape(tf.image.random_crop(padded, tf.shape(images)), images.shape)
