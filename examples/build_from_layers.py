"""Builds an octave network by hand, trains it a little, and compares its cost with the plain network.

python examples/build_from_layers.py
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers

import octconvert
from octconvert import OctaveConv2D, octave_dual

FIXTURES = Path(__file__).parents[1] / "fixtures"


def plain_network() -> keras.Model:
    """Two convolutions, a pooling and a classifier."""
    image = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x), name="plain")


def octave_network(alpha: float = 0.5) -> keras.Model:
    """The same with a low share ``alpha`` of the channels between the convolutions."""
    image = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(image)
    pair = OctaveConv2D(16, 3, ratio_out=alpha, activation="relu", name="conv1")(x)
    pair = octave_dual(pair, layers.MaxPooling2D(name="pool"))
    x = OctaveConv2D(32, 3, ratio_out=0.0, activation="relu", name="conv2")(pair)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x), name="octave")


def main() -> None:
    keras.utils.set_random_seed(0)
    data = np.load(FIXTURES / "fashion_test_200.npz")
    plain, octave = plain_network(), octave_network()
    octave.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    octave.fit(data["x"], data["y"], epochs=5, batch_size=20, verbose=2)
    report = octconvert.diff(plain, octave)
    assert report.before.parameters == report.after.parameters
    print(f"{report.before.macs:,} -> {report.after.macs:,} MACs, {report.after.parameters:,} parameters in both")


if __name__ == "__main__":
    main()
