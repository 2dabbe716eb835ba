"""What the benchmarks of time measure: keras.applications with random weights at 224x224, and their conversions."""

from __future__ import annotations

import keras
import numpy as np

import octconvert

PRESETS = {"ResNet50": "paper"}
"""Plans that are not the default."""
SPREAD = 0.1


def prepared(name: str):
    """The model, with numbers as training leaves them."""
    source = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    _settle(source)
    return source


def source_and_octave(name: str, alpha: float, **options):
    """(the model, what `octconvert.convert` makes of it); weights are moved and that is all."""
    source = prepared(name)
    return source, octconvert.convert(source, alpha, preset=PRESETS.get(name), calibration=False, **options)


def _settle(model) -> None:
    """Offsets and statistics as training leaves them: not 0 and 1, which graph optimisers take out."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0.0, SPREAD, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(1 - SPREAD, 1 + SPREAD, weight.shape))
