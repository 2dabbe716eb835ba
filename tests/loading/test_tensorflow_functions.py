"""Calls of plain TensorFlow functions, as the real tf.keras 2.15 wrote them, compute what they computed there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from octconvert import InputError, loading
from octconvert.verification import keras_files

FIXTURES = Path(__file__).parents[2] / "fixtures" / "operations"
CONFIGS = json.loads((FIXTURES / "tf2_15_operations.json").read_text())
COMPUTED = [group for group in CONFIGS if group != "refused"]


def _made():
    spec = importlib.util.spec_from_file_location("make_operations", FIXTURES / "make_operations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = _made()
INPUTS = list(MADE.inputs().values())


def written(path: Path, config: dict) -> Path:
    """An .h5 file of a model without weights."""
    with h5py.File(path, "w") as file:
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = []
        for place in (file, weights):
            place.attrs["keras_version"], place.attrs["backend"] = "2.15.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
    return path


def values(model) -> list[np.ndarray]:
    return [np.asarray(value) for value in model(INPUTS, training=False)]


def differences(group: str, found: list[np.ndarray]) -> dict[str, str]:
    """Expression -> how the value differs from that of TensorFlow."""
    wrong = {}
    with np.load(FIXTURES / "tf2_15_operations.npz") as expected:
        for number, (expression, value) in enumerate(zip(MADE.expressions(group), found, strict=True)):
            right = expected[f"{group}_{number}"]
            same = value.dtype == right.dtype and value.shape == right.shape
            bound = 1e-5 * max(1.0, float(np.abs(right).max()))
            if not same or not np.allclose(value, right, rtol=1e-5, atol=bound, equal_nan=True):
                distance = np.abs(value - right).max() if same else "another type or shape"
                wrong[expression] = f"{value.dtype}{value.shape}, {right.dtype}{right.shape}: {distance}"
    return wrong


@pytest.mark.quick("maps", "comparisons")
@pytest.mark.parametrize("group", COMPUTED)
def test_values_are_those_of_tensorflow_also_after_saving(group, tmp_path):
    model = loading.load(written(tmp_path / "old.h5", CONFIGS[group]))
    assert differences(group, values(model)) == {}
    keras_files.save(model, tmp_path / "new.keras")
    again = loading.read(tmp_path / "new.keras")
    assert again.repairs == ()
    assert differences(group, values(again.model)) == {}


@pytest.mark.quick("x == y", "tf.nn.dropout(x, 0.5)", "tf.image.resize(x, [9, 9], 'gaussian')", "tf.where(x > 0)")
@pytest.mark.parametrize("expression", CONFIGS["refused"])
def test_functions_without_equivalent_are_refused_by_name(expression, tmp_path):
    with pytest.raises(InputError) as error:
        loading.load(written(tmp_path / "old.h5", CONFIGS["refused"][expression]))
    message = str(error.value)
    assert "\n" not in message and "calls TensorFlow's tf." in message and "layer 'tf." in message
    print(message)
