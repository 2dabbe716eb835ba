"""Models of the user's own class, and of Keras 2 in memory, are converted and keep what they can."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import octconvert


@keras.saving.register_keras_serializable("test_loading")
class Stepped(keras.Model):
    def train_step(self, data):
        return {"own": 1.0, **super().train_step(data)}


class Unregistered(keras.Model):
    def test_step(self, data):
        return super().test_step(data)


class Heated(keras.Model):
    def __init__(self, inputs, outputs, heat=1.0, **kwargs):
        super().__init__(inputs, outputs, **kwargs)

    def train_step(self, data):
        return super().train_step(data)


def of_class(kind):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    model = kind(image, layers.Conv2D(4, 3)(layers.Conv2D(8, 3, padding="same")(x)))
    model.compile("sgd", "mse")
    return model


def test_a_registered_model_class_is_kept(tmp_path):
    result = octconvert.convert(of_class(Stepped), calibration=False, output=tmp_path / "own.keras")
    assert type(result.model) is Stepped
    assert any(convolution.role != "plain" for convolution in result.convolutions)
    history = result.model.fit(np.zeros((2, 16, 16, 3)), np.zeros((2, 14, 14, 4)), verbose=0).history
    assert history["own"] == [1.0]
    assert type(keras.saving.load_model(tmp_path / "own.keras")) is Stepped


@pytest.mark.parametrize(("kind", "lost"), [(Unregistered, "test_step"), (Heated, "train_step")])
def test_a_model_class_that_can_not_be_kept_is_noted(kind, lost):
    result = octconvert.convert(of_class(kind), calibration=False)
    assert any(kind.__name__ in note and lost in note for note in result.report.notes)
    assert result.model.compiled


def test_a_model_class_among_the_custom_objects_is_kept():
    known = {"Unregistered": Unregistered}
    result = octconvert.convert(of_class(Unregistered), calibration=False, custom_objects=known)
    assert type(result.model) is Unregistered


def test_a_model_of_keras_2_in_memory_is_converted():
    keras2 = pytest.importorskip("tf_keras")
    image = keras2.Input((12, 12, 3))
    x = keras2.layers.Conv2D(8, 3, padding="same")(image)
    model = keras2.Model(image, keras2.layers.Conv2D(4, 3, activation="hard_sigmoid")(x))
    model.compile("adam", "mse")
    result = octconvert.convert(model, calibration=False, octave=1, alpha=0.5)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(result.model.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    assert result.model.compiled
    assert any("Keras 2" in note for note in result.report.repairs)
