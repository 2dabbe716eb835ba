"""The hard_sigmoid of Keras 2 is written with plain layers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import octconvert
from octconvert import loading

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"


@pytest.mark.long
def test_a_recurrent_hard_sigmoid_survives_conversion_without_octconvert_in_the_file(tmp_path):
    source = loading.load(LEGACY / "tf2_14_recurrent.keras")
    target = tmp_path / "out.keras"
    octconvert.convert(LEGACY / "tf2_14_recurrent.keras", portable=True, calibration=False, strict=False, output=target)
    with zipfile.ZipFile(target) as file:
        assert b"octconvert" not in file.read("config.json")
    with np.load(LEGACY / "tf2_14_recurrent.npz") as data:
        again = keras.saving.load_model(target)
        np.testing.assert_allclose(again(data["x0"]), source(data["x0"]), rtol=1e-4, atol=1e-5)
