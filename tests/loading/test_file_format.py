"""Files that are not complete Keras models are recognized and refused with one line."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from edited_files import (
    refused,
    saved_small_model,
    small_model,
)


def weights_only(path: Path) -> None:
    small_model().save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def old_weights_only(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file.create_group("conv").attrs["weight_names"] = []


def zipped(**content: bytes):
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name.replace("__", "/").replace("_", "."), data)

    return make


def cut(source: str, share: float):
    def make(path: Path) -> None:
        whole = saved_small_model(path.with_name(f"whole{source}"))
        data = whole.read_bytes()
        whole.unlink()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def content(data: bytes):
    return lambda path: path.write_bytes(data)


def saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    (path / "variables").mkdir()


def unpacked(path: Path) -> None:
    path.mkdir()
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        (path / name).write_bytes(b"{}")


def plain_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["measurements"] = np.arange(3)


def architecture_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = small_model().to_json()


def no_weights_keras(path: Path) -> None:
    zipped(config_json=small_model().to_json().encode(), metadata_json=b'{"keras_version": "3.15.1"}')(path)


def numpy_archive(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(3))


BROKEN = {
    "missing": ("m.h5", lambda path: None, "no such file", "check the path"),
    "empty": ("m.h5", content(b""), "empty", "again"),
    "directory": ("m", lambda path: path.mkdir(), "directory", "use a .keras or .h5"),
    "SavedModel": ("m", saved_model, "SavedModel", "save the complete model"),
    "unpacked .keras": ("m", unpacked, "unpacked", "zip"),
    "weights of Keras 3": ("m.h5", weights_only, "only weights", "save the complete model"),
    "weights of Keras 2": ("m.h5", old_weights_only, "only weights", "save the complete model"),
    "architecture in .h5": ("m.h5", architecture_h5, "no weights", "save the complete model"),
    "architecture in .keras": ("m.keras", no_weights_keras, "no weights", "save the complete model"),
    "to_json": (
        "m.json",
        lambda path: path.write_text(small_model().to_json()),
        "no weights",
        "save the complete model",
    ),
    "TensorFlow.js": ("model.json", content(b'{"modelTopology": {}}'), "TensorFlow.js", "use the Keras model"),
    "other JSON": ("m.json", content(b'{"a": 1}'), "JSON", "use a .keras or .h5"),
    "text": ("notes.h5", content(b"accuracy was 93 %\n"), "text file", "use a .keras or .h5"),
    "web page": ("m.h5", content(b"\n<!DOCTYPE html><html>404</html>"), "web page", "download the model"),
    "Git LFS": ("m.h5", content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS", "pull"),
    "TFLite": ("m.tflite", content(b"\x1c\0\0\0TFL3\x14\0 \0"), "TensorFlow Lite", "use the Keras model"),
    "ONNX": ("m.onnx", content(b"\x08\x07\x12\x07pytorch"), "ONNX", "convert the model"),
    "ONNX by another name": ("m.h5", content(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0"), "ONNX", "convert the model"),
    "PyTorch": ("m.pt", zipped(archive__data_pkl=b"x"), "PyTorch", "convert the model"),
    "old PyTorch": ("m.pth", content(pickle.dumps({}, protocol=2)), "pickle", "Keras models only"),
    "other zip": ("m.keras", zipped(readme_txt=b"x"), "zip file but not a Keras model", "use a .keras"),
    "Teachable Machine zip": ("m.zip", zipped(keras__keras_model__h5=b"x"), "zip", "use"),
    "NumPy": ("m.npz", numpy_archive, "NumPy", "save the complete model"),
    "gzip": ("m.h5.gz", content(b"\x1f\x8b\x08"), "gzip", "unpack"),
    "other HDF5": ("m.h5", plain_hdf5, "HDF5 file but not a Keras model", "use a .keras or .h5"),
    "truncated .h5": ("m.h5", cut(".h5", 0.5), "damaged or incomplete HDF5", "again"),
    "head of an .h5": ("m.h5", cut(".h5", 0.01), "damaged or incomplete HDF5", "again"),
    "truncated .keras": ("m.keras", cut(".keras", 0.6), "damaged or incomplete", "again"),
    "bytes": ("m.h5", content(bytes(range(256))), "unknown format", "use a .keras or .h5"),
}


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below ``folder``: nothing may be written or changed by a refusal."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_not_a_model_is_refused_in_one_line(case, tmp_path):
    name, make, what, todo = BROKEN[case]
    path = tmp_path / name
    make(path)
    before = contents(tmp_path)
    message = refused(path)
    assert path.name in message and what in message and todo in message
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = saved_small_model(tmp_path / "m.h5")
    path.chmod(0)
    assert "no permission" in refused(path)
