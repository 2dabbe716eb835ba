"""Small models, arrays and image files to read samples of."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def net(*shape, dtype="float32", data_format="channels_last", name="image"):
    inputs = keras.Input(shape, dtype=dtype, name=name)
    x = layers.Rescaling(1.0)(inputs) if dtype != "float32" else inputs
    return keras.Model(inputs, layers.Conv2D(2, 1, data_format=data_format)(x), name="net")


def pair_net():
    left, right = keras.Input((4, 4, 1), name="left"), keras.Input((3,), name="right")
    pooled = layers.GlobalAveragePooling2D()(left)
    return keras.Model([left, right], layers.Concatenate()([pooled, right]), name="pair")


def images(count=10, shape=(8, 8, 3), dtype="float32"):
    """Sample i is filled with i."""
    return np.broadcast_to(np.arange(count, dtype=dtype).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()


def values(samples, number=0):
    """The first value of each sample."""
    return [row.flat[0] for row in samples.arrays[number]]


def picture(path, value=100, size=(8, 8), channels=3):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, channels), value, "uint8") if np.isscalar(value) else value
    encode = tf.io.encode_jpeg if str(path).endswith("jpg") else tf.io.encode_png
    Path(path).write_bytes(encode(pixels).numpy())
    return path


def bitmap(path, size, value):
    """A 24-bit BMP of one colour; TensorFlow has no encoder."""
    header = b"BM" + np.array([54 + 3 * size * size, 0, 54, 40, size, size], "<u4").tobytes()
    header += np.array([1, 24], "<u2").tobytes() + np.array([0, 3 * size * size, 0, 0, 0, 0], "<u4").tobytes()
    Path(path).write_bytes(header + bytes([value]) * (3 * size * size))
