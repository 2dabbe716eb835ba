"""Suffixes of layers' names: every layer of a conversion can be traced to its source by them."""

import keras
import pytest
from keras import layers

import octconvert
from octconvert.octave import names


@pytest.mark.parametrize("portable", [False, True])
def test_layers_with_weights_end_in_a_known_suffix(portable):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(image)
    x = layers.SeparableConv2D(8, 3, padding="same", name="second")(x)
    x = layers.Conv2D(8, 3, padding="same", name="third")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(image, x)
    converted = octconvert.convert(model, min_size=1, portable=portable, calibration=False).model
    sources = {layer.name for layer in model.layers}
    for layer in converted.layers:
        if layer.weights:
            assert any(layer.name.removesuffix(part) in sources for part in ("", *names.PARTS)), layer.name
