"""Lambda layers of tf.keras are read where the user allows it."""

from __future__ import annotations

import base64
import json
import marshal
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from edited_files import (
    edited_copy,
)
from keras import layers

from octconvert import loading
from octconvert.errors import InputError


def with_lambda(function, path: Path) -> Path:
    """A model of tf.keras 2.15 with a Lambda, in the format that the path names."""
    steps = [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Lambda(lambda t: t, name="own"), layers.Conv2D(2, 3)]
    model = keras.Sequential(steps)
    code = base64.encodebytes(marshal.dumps(function.__code__)).decode()
    defaults = list(function.__defaults__) if function.__defaults__ else None

    def edit(record):
        for layer in record["config"]["layers"]:
            if layer["class_name"] == "Lambda":
                layer["config"] = {
                    **{"name": "own", "trainable": True, "dtype": "float32", "function": [code, defaults, None]},
                    **{"function_type": "lambda", "module": "__main__", "output_shape": None, "arguments": {}},
                    **{"output_shape_type": "raw", "output_shape_module": None},
                }

    if path.suffix == ".keras":
        model.save(path.with_name("new.keras"))
        return edited_copy(path.with_name("new.keras"), path, config=edit, version="2.15.0")
    model.save(path)
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["model_config"])
        edit(record)
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(record), "2.15.0"
    return path


@pytest.mark.quick(".keras")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_of_tf_keras_is_read_with_unsafe(suffix, tmp_path):
    path = with_lambda(lambda t, k=3.0: t * k, tmp_path / f"old{suffix}")
    with pytest.raises(InputError, match="`unsafe=True`"):
        loading.load(path)
    model = loading.load(path, unsafe=True)
    x = np.ones((1, 8, 8, 3), "float32")
    inner = model.layers[0](x)
    np.testing.assert_allclose(model(x), model.layers[2](inner * 3.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_missing_names_of_a_lambda_are_reported(suffix, tmp_path):
    path = with_lambda(lambda t: tf.nn.relu(t), tmp_path / f"old{suffix}")  # noqa: F821
    with pytest.raises(InputError, match=r"'own' is a Lambda whose code uses 'tf'"):
        loading.load(path, unsafe=True)
