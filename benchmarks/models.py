"""What the benchmarks of time measure: keras.applications with random weights at 224x224, and their conversions."""

from __future__ import annotations

import keras

import octconvert

PRESETS = {"ResNet50": "paper"}
"""Plans that are not the default."""


def source_and_octave(name: str, alpha: float, **options):
    """(the model, what `octconvert.convert` makes of it); weights are moved and that is all."""
    source = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    return source, octconvert.convert(source, alpha, preset=PRESETS.get(name), calibration=False, **options)
