"""Weights of .keras archives of other versions are assigned to the right layers, or refused."""

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
from octconvert.errors import InputError

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"


def test_ambiguous_weights_are_refused(tmp_path):
    def lose_one(file):
        del file["_layer_checkpoint_dependencies/conv2d_2"]

    path = edited_copy(LEGACY / "tf2_14_layers.keras", tmp_path / "lost.keras", weights=lose_one)
    with pytest.raises(InputError, match=r"3 groups of weights for .* which belong to which layer"):
        loading.load(path)


def test_unusual_numbers_of_weight_groups_are_read_in_order(tmp_path):
    # As a version might do that counts in tens.
    def renumber(file):
        group = file["_layer_checkpoint_dependencies"]
        for number in (3, 2, 1):
            group.move(f"conv2d_{number}", f"conv2d_{number * 10}")

    path = edited_copy(LEGACY / "tf2_14_layers.keras", tmp_path / "tens.keras", weights=renumber)
    with np.load(LEGACY / "tf2_14_layers.npz") as data:
        np.testing.assert_allclose(loading.load(path)(data["x0"]), data["y"], rtol=1e-3, atol=1e-3)


def test_a_nested_custom_model_is_read_without_its_class(tmp_path):
    @keras.saving.register_keras_serializable("test_loading")
    class Inner(keras.Model):
        pass

    image = keras.Input((6, 6, 2))
    inner = [Inner(image, layers.Conv2D(2, 3, padding="same")(image), name=name) for name in ("one", "two")]
    model = keras.Model(image, inner[1](inner[0](image)))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    expected = model.predict(x, verbose=0)
    del keras.saving.get_custom_objects()["test_loading>Inner"]
    known = loading.load(tmp_path / "model.keras", custom_objects={"Inner": Inner})
    assert type(known.get_layer("two")) is Inner
    np.testing.assert_allclose(known.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    loaded = loading.read(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert "'Inner'" in loaded.repairs[0]


def test_the_innermost_error_of_keras_is_shown(tmp_path):
    def edit(record):
        for layer in record["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                layer["config"]["strides"] = [0, 0]

    path = edited_copy(LEGACY / "keras3_3_augmented.keras", tmp_path / "odd.keras", config=edit)
    with pytest.raises(InputError) as caught:
        loading.load(path)
    text = str(caught.value)
    assert "strides" in text and "ValueError" in text
    assert "deserialized" not in text and "config=" not in text
