"""What the benchmarks of time measure, with random weights, and their conversions.

Models of keras.applications at 224x224; *UNet*: an encoder of MobileNetV2 and a decoder of transposed convolutions, at
256x256; *resnet1d*: a ResNet of 34 layers for electrocardiograms of 12 leads and 5,000 steps; *c3d*: C3D (Tran et al.
2015, arXiv 1412.0767) at half its widths, for clips of 16 frames of 112x112.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

import octconvert

PRESETS = {"ResNet50": "paper"}
"""Plans that are not the default."""
SPREAD = 0.1
ENCODER = ("block_16_project", *(f"block_{number}_expand_relu" for number in (13, 6, 3, 1)))
"""Outputs of MobileNetV2 that the U-Net reads, the smallest map first."""


def prepared(name: str):
    """The model, with numbers as training leaves them."""
    source = (
        _OTHERS[name]()
        if name in _OTHERS
        else getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    )
    _settle(source)
    return source


def source_and_octave(name: str, alpha: float, **options):
    """(the model, what `octconvert.convert` makes of it); weights are moved and that is all."""
    source = prepared(name)
    return source, octconvert.convert(source, alpha, preset=PRESETS.get(name), calibration=False, **options)


def _unet() -> keras.Model:
    encoder = keras.applications.MobileNetV2(input_shape=(256, 256, 3), include_top=False, weights=None)
    x, *skips = (encoder.get_layer(name).output for name in ENCODER)
    for skip, filters in zip(skips, (512, 256, 128, 64), strict=True):
        x = layers.Conv2DTranspose(filters, 3, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, skip])
    return keras.Model(encoder.input, layers.Conv2DTranspose(3, 3, 2, padding="same")(x), name="unet")


def _resnet1d(stages=((3, 64), (4, 128), (6, 256), (3, 512)), taps: int = 7) -> keras.Model:
    signal = keras.Input((5000, 12))
    x = layers.Conv1D(64, 15, 2, padding="same", use_bias=False)(signal)
    x = layers.MaxPooling1D(3, 2, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    for stage, (blocks, filters) in enumerate(stages):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            y = layers.Conv1D(filters, taps, strides, padding="same", use_bias=False)(x)
            y = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(y)))
            y = layers.BatchNormalization()(layers.Conv1D(filters, taps, padding="same", use_bias=False)(y))
            if strides > 1:
                x = layers.BatchNormalization()(layers.Conv1D(filters, 1, strides, use_bias=False)(x))
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(signal, layers.Dense(6, activation="sigmoid")(x), name="resnet1d")


def _c3d(widths=((32,), (64,), (128, 128), (256, 256), (256, 256))) -> keras.Model:
    x = clip = keras.Input((16, 112, 112, 3))
    for stage, filters in enumerate(widths):
        for width in filters:
            x = layers.Conv3D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling3D((1, 2, 2) if stage == 0 else 2)(x)
    for _ in range(2):
        x = layers.Dropout(0.5)(layers.Dense(1024, activation="relu")(layers.Flatten()(x)))
    return keras.Model(clip, layers.Dense(101, activation="softmax")(x), name="c3d")


_OTHERS = {"UNet": _unet, "resnet1d": _resnet1d, "c3d": _c3d}


def _settle(model) -> None:
    """Offsets and statistics as training leaves them: not 0 and 1, which graph optimisers take out."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0.0, SPREAD, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(1 - SPREAD, 1 + SPREAD, weight.shape))
