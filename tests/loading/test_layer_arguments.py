"""Layers without an effect at inference are kept, simplified or replaced by the identity."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from edited_files import (
    edited_copy,
)
from keras import layers

from octconvert import loading
from octconvert.loading.repairs import layer_arguments

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"


def test_a_layer_without_effect_is_simplified_or_replaced(tmp_path):
    def edit(record):
        for layer in record["config"]["layers"]:
            if layer["class_name"] == "RandomZoom":
                layer["config"]["height_factor"] = "wide"
            if layer["class_name"] == "RandomRotation":
                layer["config"]["fill_mode"] = "odd"

    path = edited_copy(LEGACY / "keras3_3_augmented.keras", tmp_path / "odd.keras", config=edit)
    loaded = loading.read(path)
    with np.load(LEGACY / "keras3_3_augmented.npz") as data:
        np.testing.assert_allclose(loaded.model(data["x0"], training=False), data["y"], rtol=1e-4, atol=1e-4)
    assert any("'RandomZoom' was replaced by 'Identity'" in note for note in loaded.repairs)
    assert any("'fill_mode' was dropped" in note for note in loaded.repairs)


NUMBERS = {
    **dict.fromkeys(("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"), (0.1,)),
    **dict.fromkeys(("RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue"), (0.2,)),
    **dict.fromkeys(("RandomRotation", "RandomSaturation", "RandomSharpness", "RandomZoom"), (0.2,)),
    **{"RandomPosterization": (4,), "RandomTranslation": (0.1, 0.1)},
}


@pytest.mark.parametrize(
    "name", sorted(set(layer_arguments.IDENTITY_AT_INFERENCE) - {"SpatialDropout1D", "SpatialDropout3D"})
)
def test_layers_listed_as_identity_are_the_identity_at_inference(name):
    layer = getattr(layers, name)(*NUMBERS.get(name, ()))
    x = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")
    model = keras.Sequential([keras.Input((12, 12, 3)), layer])
    np.testing.assert_array_equal(model(x, training=False), x)
