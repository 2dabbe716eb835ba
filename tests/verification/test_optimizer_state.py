"""A compiled model loads from its file as it was compiled: ready to be trained, and without a warning."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import octconvert

WIDTH = 96


def conversion(optimizer):
    image = keras.Input((8, 8, 3))
    x = image
    for _ in range(3):
        x = layers.Conv2D(WIDTH, 3, padding="same")(x)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.compile(optimizer, keras.losses.MeanSquaredError())
    return octconvert.convert(model, min_size=1, calibration=False)


def loaded(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return keras.saving.load_model(path)


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.Adam(0.02), keras.optimizers.SGD(0.1), keras.optimizers.Adagrad(use_ema=True)]
)
def test_an_optimizer_that_has_not_run(optimizer, tmp_path):
    path = tmp_path / "octave.keras"
    result = conversion(optimizer)
    result.save(path)
    model = loaded(path)
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    assert len(model.optimizer.variables) == len(fresh.variables) > 1
    for actual, expected in zip(model.optimizer.variables, fresh.variables, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert path.stat().st_size < 1.2 * 4 * result.after.parameters
    assert not result.model.optimizer.built  # the model itself is as it was


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_training_goes_on(suffix, tmp_path):
    result = conversion(keras.optimizers.SGD(1e-3, momentum=0.5))
    result.save(tmp_path / f"octave{suffix}")
    model = loaded(tmp_path / f"octave{suffix}")
    images, targets = np.ones((4, 8, 8, 3), "float32"), np.zeros((4, 2), "float32")
    expected, actual = (each.fit(images, targets, verbose=0).history["loss"] for each in (result.model, model))
    assert actual == pytest.approx(expected)
    result.save(tmp_path / f"trained{suffix}")
    again = loaded(tmp_path / f"trained{suffix}")
    if suffix == ".keras":  # the state of one that has run is kept
        assert int(again.optimizer.iterations) == 1
    assert again.fit(images, targets, verbose=0).history["loss"][0] < expected[0]
