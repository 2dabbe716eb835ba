"""Reading models: what is repaired, what is refused, and how it is said."""

from __future__ import annotations

import io as bytes_io
import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from octconvert import loading
from octconvert.errors import InputError, UsageError

FIXTURES = Path(__file__).parent.parent / "fixtures"


def small(**options) -> keras.Model:
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(3, 3, name="conv", **options)(image)
    x = layers.BatchNormalization(name="bn")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="gap")(x), name="small")
    for variable in model.weights:
        variable.assign(np.random.default_rng(3).uniform(0.5, 1.5, variable.shape))
    return model


def h5(path: Path, model: keras.Model | None = None) -> Path:
    (model or small()).save(path)
    return path


def edit(path: Path, change, version: str | None = "2.4.0") -> Path:
    """Applies ``change`` to the configuration stored in an .h5 file, as if another Keras had written it."""
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["model_config"])
        record = change(record) or record
        file.attrs["model_config"] = json.dumps(record)
        if version is not None:
            file.attrs["keras_version"] = version
    return path


def layer(record: dict, name: str) -> dict:
    return next(one for one in record["config"]["layers"] if one["config"].get("name") == name)


def refused(path: Path, **options) -> str:
    """The one line with which reading ``path`` is refused; nothing may have been written or changed by that."""
    where = path if path.is_dir() else path.parent
    before = {one: one.read_bytes() for one in where.rglob("*") if one.is_file()}
    with pytest.raises(InputError) as caught:
        loading.read(path, **options)
    assert {one: one.read_bytes() for one in where.rglob("*") if one.is_file()} == before
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    assert path.name in message
    return message


# -- what is no whole Keras model --------------------------------------------------------------------------------------


def weights_only(path: Path) -> None:
    small().save_weights(path.with_suffix(".weights.h5"))
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
        whole = h5(path.with_name(f"whole{source}"))
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
        file.attrs["model_config"] = small().to_json()


def no_weights_keras(path: Path) -> None:
    zipped(config_json=small().to_json().encode(), metadata_json=b'{"keras_version": "3.15.1"}')(path)


def numpy_archive(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(3))


BROKEN = {
    "missing": ("m.h5", lambda path: None, "no such file", "check the path"),
    "empty": ("m.h5", content(b""), "empty", "again"),
    "directory": ("m", lambda path: path.mkdir(), "directory", "give a .keras or .h5"),
    "SavedModel": ("m", saved_model, "SavedModel", "save the whole model"),
    "unpacked .keras": ("m", unpacked, "unpacked", "zip"),
    "weights of Keras 3": ("m.h5", weights_only, "weights only", "save the whole model"),
    "weights of Keras 2": ("m.h5", old_weights_only, "weights only", "save the whole model"),
    "architecture in .h5": ("m.h5", architecture_h5, "no weights", "save the whole model"),
    "architecture in .keras": ("m.keras", no_weights_keras, "no weights", "save the whole model"),
    "to_json": ("m.json", lambda path: path.write_text(small().to_json()), "no weights", "save the whole model"),
    "TensorFlow.js": ("model.json", content(b'{"modelTopology": {}}'), "TensorFlow.js", "give the Keras model"),
    "other JSON": ("m.json", content(b'{"a": 1}'), "JSON", "give a .keras or .h5"),
    "text": ("notes.h5", content(b"accuracy was 93 %\n"), "text file", "give a .keras or .h5"),
    "web page": ("m.h5", content(b"\n<!DOCTYPE html><html>404</html>"), "web page", "download the model"),
    "Git LFS": ("m.h5", content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS", "pull"),
    "TFLite": ("m.tflite", content(b"\x1c\0\0\0TFL3\x14\0 \0"), "TensorFlow Lite", "give the Keras model"),
    "ONNX": ("m.onnx", content(b"\x08\x07\x12\x07pytorch"), "ONNX", "port the model"),
    "ONNX by another name": ("m.h5", content(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0"), "ONNX", "port the model"),
    "PyTorch": ("m.pt", zipped(archive__data_pkl=b"x"), "PyTorch", "port the model"),
    "old PyTorch": ("m.pth", content(pickle.dumps({}, protocol=2)), "pickle", "Keras models only"),
    "other zip": ("m.keras", zipped(readme_txt=b"x"), "zip file but not a Keras model", "give a .keras"),
    "Teachable Machine zip": ("m.zip", zipped(keras__keras_model__h5=b"x"), "zip", "give"),
    "NumPy": ("m.npz", numpy_archive, "NumPy", "save the whole model"),
    "gzip": ("m.h5.gz", content(b"\x1f\x8b\x08"), "gzip", "unpack"),
    "other HDF5": ("m.h5", plain_hdf5, "HDF5 file but not a Keras model", "give a .keras or .h5"),
    "truncated .h5": ("m.h5", cut(".h5", 0.5), "damaged or incomplete HDF5", "again"),
    "head of an .h5": ("m.h5", cut(".h5", 0.01), "damaged or incomplete HDF5", "again"),
    "truncated .keras": ("m.keras", cut(".keras", 0.6), "damaged or incomplete", "again"),
    "bytes": ("m.h5", content(bytes(range(256))), "no file of a known kind", "give a .keras or .h5"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_model_is_refused_in_one_line(case, tmp_path):
    name, make, what, todo = BROKEN[case]
    path = tmp_path / name
    make(path)
    message = refused(path)
    assert what in message and todo in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = h5(tmp_path / "m.h5")
    path.chmod(0)
    assert "no permission" in refused(path)


def test_a_flipped_byte_in_a_keras_archive_is_found(tmp_path):
    path = h5(tmp_path / "m.keras")
    data = bytearray(path.read_bytes())
    data[data.index(b"BatchNormalization")] ^= 1
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_a_missing_weight_is_refused(tmp_path):
    path = h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/conv"].attrs["weight_names"] = [b"conv/kernel"]
    assert "'conv' needs 2 weights and the file has 1" in refused(path)


def test_a_missing_layer_is_refused(tmp_path):
    path = h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = [b"conv"]
    assert "'bn' has no weights in the file" in refused(path)


def test_a_weight_of_another_shape_is_refused(tmp_path):
    path = edit(h5(tmp_path / "m.h5"), lambda r: layer(r, "conv")["config"].update(filters=4), version=None)
    assert "'kernel' of shape (3, 3, 2, 3) in the file and (3, 3, 2, 4)" in refused(path)


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of a .keras archive with one of its files changed: ``change(name, data)`` gives the new data."""
    result = bytes_io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, change(entry, old.read(entry)))
    target.write_bytes(result.getvalue())
    return target


def test_a_missing_weight_in_a_keras_archive_is_refused(tmp_path):
    def without(name, data):
        if not name.endswith(".h5"):
            return data
        weights = bytes_io.BytesIO(data)
        with h5py.File(weights, "r+") as file:
            del file["layers/conv2d/vars/1"]
        return weights.getvalue()

    path = rewritten(h5(tmp_path / "m.keras"), tmp_path / "less.keras", without)
    assert "conv" in refused(path)


def test_no_function_gets_past_a_damaged_configuration(tmp_path):
    path = h5(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = '{"class_name": "Functional", "config": {"lay'
    assert "unreadable architecture" in refused(path)


# -- code and custom objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_lambda_is_refused_and_named_unless_unsafe(tmp_path, suffix):
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, layers.Lambda(lambda x: x * 3, name="triple")(image))
    path = h5(tmp_path / f"m{suffix}", model)
    message = refused(path)
    assert "'triple'" in message and "--unsafe" in message
    loaded = loading.load(path, unsafe=True)
    np.testing.assert_allclose(np.asarray(loaded(np.ones((1, 4, 4, 1)))), 3)


class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="ones")

    def call(self, x):
        return x * self.scale


def with_custom() -> keras.Model:
    image = keras.Input((4, 4, 3))
    return keras.Model(image, Scaled(name="second")(Scaled(name="first")(image)))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_unknown_layers_are_named_with_what_to_do(tmp_path, suffix):
    path = h5(tmp_path / f"m{suffix}", with_custom())
    message = refused(path)
    assert "'Scaled' (layers 'first', 'second')" in message and "--custom-objects module.py:Name" in message
    assert len(loading.load(path, custom_objects={"Scaled": Scaled}).weights) == 2


def test_an_unknown_activation_is_named(tmp_path):
    path = edit(h5(tmp_path / "m.h5"), lambda r: layer(r, "conv")["config"].update(activation="mine"))
    message = refused(path)
    assert "'mine' (layer 'conv')" in message and "--custom-objects" in message
    model = loading.load(path, custom_objects={"mine": lambda x: x * 0})
    assert np.allclose(model.get_layer("conv")(np.ones((1, 6, 6, 2))), 0)


def test_parse_custom_object_from_a_file(tmp_path):
    (tmp_path / "own.py").write_text("class One: pass\nclass Two: friend = One\n")
    name, one = loading.parse_custom_object(f"{tmp_path / 'own.py'}:One")
    assert name == "One" and one.__name__ == "One"
    # The file is run once: its classes know each other.
    assert loading.parse_custom_object(f"{tmp_path / 'own.py'}:Two")[1].friend is one


def test_parse_custom_object_from_a_package(tmp_path, monkeypatch):
    assert loading.parse_custom_object("collections:OrderedDict")[0] == "OrderedDict"
    (tmp_path / "besides_the_user.py").write_text("def act(x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    assert loading.parse_custom_object("besides_the_user:act")[1](5) == 5


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("nothing", "module.py:Name"),
        (":Name", "module.py:Name"),
        ("own.py:not a name", "module.py:Name"),
        ("missing.py:Name", "there is no file missing.py"),
        ("no.such.package:Name", "importing no.such.package failed"),
        ("collections:Nope", "has no 'Nope'"),
        ("broken.py:Name", "ZeroDivisionError"),
        ("leaves.py:Name", "SystemExit"),
    ],
)
def test_parse_custom_object_tells_what_is_wrong(spec, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UsageError) as caught:
        loading.parse_custom_object(spec)
    assert what in str(caught.value) and "\n" not in str(caught.value)


# -- repairs -----------------------------------------------------------------------------------------------------------


def test_a_healthy_file_needs_no_repair(tmp_path):
    for suffix in (".h5", ".keras"):
        model = small()
        loaded = loading.read(h5(tmp_path / f"m{suffix}", model))
        assert loaded.repairs == () and loaded.kind == suffix[1:] and loaded.path.name == f"m{suffix}"
        for a, b in zip(model.weights, loaded.model.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_partly_frozen_nested_model(tmp_path):
    # .h5 keeps what is trained before what is not; all three kernels have one shape.
    frozen, trained = layers.Conv2D(3, 3, name="frozen", trainable=False), layers.Conv2D(3, 3, name="trained")
    inner = keras.Sequential([layers.Conv2D(3, 3, name="first"), frozen, trained], name="inner")
    image = keras.Input((9, 9, 3))
    model = keras.Model(image, inner(image))
    for suffix in (".h5", ".keras"):
        loaded = loading.load(h5(tmp_path / f"m{suffix}", model))
        x = np.random.default_rng(0).random((2, 9, 9, 3), np.float32)
        np.testing.assert_allclose(np.asarray(loaded(x)), np.asarray(model(x)), rtol=1e-5)


def test_the_content_decides_and_not_the_ending(tmp_path):
    h5(tmp_path / "m.h5").rename(tmp_path / "model.bin")
    assert loading.read(tmp_path / "model.bin").kind == "h5"
    h5(tmp_path / "m.keras").rename(tmp_path / "model.h5")
    assert loading.read(tmp_path / "model.h5").kind == "keras"


def test_compilation_is_restored(tmp_path):
    for suffix in (".h5", ".keras"):
        model = small()
        model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
        loaded = loading.load(h5(tmp_path / f"m{suffix}", model))
        assert loaded.compiled
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)
        x, y = np.ones((2, 6, 6, 2)), np.zeros((2, 3))
        assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


def own_loss(true, predicted):
    return keras.ops.mean(true - predicted)


def test_an_unknown_loss_in_a_keras_file_is_no_obstacle(tmp_path):
    model = small()
    model.compile("sgd", own_loss)
    loaded = loading.read(h5(tmp_path / "m.keras", model))
    assert not loaded.model.compiled
    assert any("not compiled" in one for one in loaded.repairs)
    assert loading.load(tmp_path / "m.keras", custom_objects={"own_loss": own_loss}).compiled


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("conv", {"time_major": False}),
        ("conv", {"implementation": 2}),
        ("conv", {"dtype": {"class_name": "Policy", "config": {"name": "float32"}}}),
        ("conv", {"kernel_initializer": {"class_name": "Zeros", "config": {"dtype": "float32"}}}),
        ("conv", {"kernel_initializer": {"class_name": "MyInitializer", "config": {}}}),
        ("conv", {"bias_regularizer": {"class_name": "MyPenalty", "config": {}}}),
        ("conv", {"something_new": None}),
        ("bn", {"axis": [3]}),
        ("bn", {"fused": True}),
        ("bn", {"renorm": False, "virtual_batch_size": None, "adjustment": None}),
        ("gap", {"implementation": 0}),
        ("image", {"ragged": False, "sparse": False}),
    ],
    ids=str,
)
def test_harmless_arguments_of_other_versions(tmp_path, name, extra):
    model = small()
    path = edit(h5(tmp_path / "m.h5", model), lambda r: layer(r, name)["config"].update(extra))
    x = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    np.testing.assert_allclose(np.asarray(loading.load(path)(x)), np.asarray(model(x)), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("conv", {"time_major": True}),
        ("conv", {"something_new": 3}),
        ("bn", {"virtual_batch_size": 8}),
        ("bn", {"mode": 2}),
        ("gap", {"groups": 2}),
    ],
    ids=str,
)
def test_arguments_that_change_the_function_are_refused(tmp_path, name, extra):
    path = edit(h5(tmp_path / "m.h5"), lambda r: layer(r, name)["config"].update(extra))
    message = refused(path)
    assert f"'{name}'" in message and next(iter(extra)) in message


def test_depthwise_groups_other_than_one_are_refused(tmp_path):
    image = keras.Input((6, 6, 2))
    model = keras.Model(image, layers.DepthwiseConv2D(3, name="depth")(image))
    good = edit(h5(tmp_path / "good.h5", model), lambda r: layer(r, "depth")["config"].update(groups=1))
    assert any("'depth'" in one and "'groups'" in one for one in loading.read(good).repairs)
    bad = edit(h5(tmp_path / "bad.h5", model), lambda r: layer(r, "depth")["config"].update(groups=2))
    assert "groups=2" in refused(bad)


def test_a_future_keras_archive_with_an_unknown_argument(tmp_path):
    def newer(name, data):
        if name != "config.json":
            return data
        record = json.loads(data)
        layer(record, "conv")["config"]["not_yet_known"] = None
        return json.dumps(record)

    path = rewritten(h5(tmp_path / "m.keras"), tmp_path / "new.keras", newer)
    assert any("'not_yet_known'" in one for one in loading.read(path).repairs)


def test_names_with_slashes_in_nested_models(tmp_path):
    inner_image = keras.Input((6, 6, 2), name="inner_image")
    inner = keras.Model(inner_image, layers.Conv2D(2, 3, padding="same", name="a")(inner_image), name="inner")
    image = keras.Input((6, 6, 2), name="image")
    model = keras.Model(image, layers.Add(name="sum")([inner(image), inner(inner(image))]))

    def slashed(record):
        text = json.dumps(record)
        for name in ("inner", "a", "image", "sum"):
            text = text.replace(f'"{name}"', f'"x/{name}"')
        return json.loads(text)

    def groups(path):
        with h5py.File(path, "r+") as file:
            weights = file["model_weights"]
            weights.move("inner", "x/inner")
            weights.attrs["layer_names"] = [b"x/inner"]
        return path

    path = groups(edit(h5(tmp_path / "m.h5", model), slashed, version=None))
    loaded = loading.read(path)
    x = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    np.testing.assert_allclose(np.asarray(loaded.model(x)), np.asarray(model(x)), rtol=1e-5)
    assert "x_inner" in [one.name for one in loaded.model.layers]
    assert any("'x/inner'" in one and "'/'" in one for one in loaded.repairs)


def shapeless(path: Path) -> Path:
    model = keras.Sequential([layers.Conv2D(3, 3, name="conv"), layers.Flatten()])
    model.build((None, 5, 5, 2))
    h5(path, model)

    def forget(record):
        record["config"].pop("build_input_shape", None)
        record["config"]["layers"] = [one for one in record["config"]["layers"] if one["class_name"] != "InputLayer"]

    return edit(path, forget)


def test_a_sequential_without_a_shape_asks_for_it(tmp_path):
    path = shapeless(tmp_path / "m.h5")
    assert "--input-shape" in refused(path)
    loaded = loading.read(path, input_shape=(5, 5, 2))
    assert loaded.model.input_shape == (None, 5, 5, 2)
    assert any("(5, 5, 2)" in one for one in loaded.repairs)
    with pytest.raises(UsageError, match="positive"):
        loading.read(path, input_shape=(5, 0, 2))


def test_the_shape_of_the_file_wins(tmp_path):
    assert loading.load(h5(tmp_path / "m.h5"), input_shape=(9, 9, 2)).input_shape == (None, 6, 6, 2)


def test_tensorflow_operations_without_translation_are_named(tmp_path):
    def fourier(record):
        record["config"]["layers"][-1] = {
            "class_name": "TFOpLambda",
            "config": {"name": "gap", "function": "signal.rfft"},
            "name": "gap",
            "inbound_nodes": [["bn", 0, 0, {}]],
        }

    message = refused(edit(h5(tmp_path / "m.h5"), fourier))
    assert "'gap'" in message and "tf.signal.rfft" in message


def test_tensorflow_operations_with_settings_they_can_not_keep(tmp_path):
    def pooled(options):
        def change(record):
            record["config"]["layers"][-1] = {
                "class_name": "TFOpLambda",
                "config": {"name": "gap", "function": "math.reduce_mean"},
                "name": "gap",
                "inbound_nodes": [["bn", 0, 0, options]],
            }

        return change

    whole = edit(h5(tmp_path / "m.h5"), pooled({"axis": [1, 2]}))
    assert type(loading.load(whole).layers[-1]).__name__ == "GlobalAveragePooling2D"
    assert "with weights=2" in refused(edit(h5(tmp_path / "n.h5"), pooled({"axis": [1, 2], "weights": 2})))


# -- the trained model -------------------------------------------------------------------------------------------------


def test_the_fashion_model_is_as_good_as_it_should_be():
    path = FIXTURES / "fashion_cnn.h5"
    loaded = loading.read(path)
    assert loaded.repairs == () and loaded.model.compiled
    assert path.stat().st_size < 2_000_000
    data = np.load(FIXTURES / "fashion_test_200.npz")
    assert data["x"].dtype == np.uint8 and data["x"].shape == (200, 28, 28, 1)
    right = np.asarray(loaded.model(data["x"])).argmax(axis=1) == data["y"]
    assert right.mean() > 0.9
