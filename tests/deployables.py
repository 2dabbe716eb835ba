"""Small models for the tests of runtimes, exports and times."""

import keras
import numpy as np
import pytest
from keras import layers

import octconvert
from octconvert.runtimes import find


def source():
    """A classifier of one image."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv1")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv3")(x)
    model = keras.Model(image, layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x)), name="small")
    return with_statistics(model)


def converted():
    return octconvert.convert(source(), min_size=4, calibration=False).model


def with_statistics(model):
    """Normalisation that does something."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2.0, value.shape) for value in layer.get_weights()])
    return model


def unsupported():
    """A model with an operation that no runtime but TensorFlow has."""
    image = keras.Input((4, 4, 1), name="image")
    return keras.Model(image, keras.ops.erfinv(image * 0.5), name="rare")


def installed(name):
    """The runtime; skips the test where it is not installed."""
    runtime = find(name)
    for module in (*runtime.runs_with, *runtime.exports_with):
        pytest.importorskip(module)
    return runtime
