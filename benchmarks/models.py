"""What the benchmarks of time measure, with random weights, and their conversions.

Models of keras.applications at 224x224, and *UNet*: an encoder of MobileNetV2 and a decoder of transposed convolutions,
at 256x256.
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
    application = getattr(keras.applications, name, None)
    source = _unet() if application is None else application(weights=None, input_shape=(224, 224, 3))
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


def _settle(model) -> None:
    """Offsets and statistics as training leaves them: not 0 and 1, which graph optimisers take out."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0.0, SPREAD, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(1 - SPREAD, 1 + SPREAD, weight.shape))
