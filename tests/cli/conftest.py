"""A small model in the working directory, and the command line in this process."""

from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import ROOT
from keras import layers


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A small model on disk."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv3")(x)
    outputs = layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x))
    path = tmp_path_factory.mktemp("source") / "net.keras"
    keras.Model(inputs, outputs).save(path)
    return path


@pytest.fixture
def net(source, tmp_path, monkeypatch):
    """A copy of it alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.keras").write_bytes(source.read_bytes())
    return tmp_path / "net.keras"


@pytest.fixture
def run(command):
    """The fixture of all tests, by the name that these ones use."""
    return command


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A trained classifier alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("net.h5").write_bytes((ROOT / "fixtures" / "fashion_cnn.h5").read_bytes())


@pytest.fixture
def images(net):
    """Coarse random images beside the small model."""
    x = np.random.default_rng(0).standard_normal((32, 8, 8, 3)).astype("float32")
    np.save("images.npy", x.repeat(4, axis=1).repeat(4, axis=2))
    return "images.npy"
