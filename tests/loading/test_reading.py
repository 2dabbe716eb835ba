"""Reading whole models: what is repaired, what is refused, and with which message."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from edited_files import (
    edit_as_old,
    edit_config,
    edit_weights,
    layer,
    refused,
    saved_small_model,
    small_model,
)
from keras import layers

from octconvert import loading
from octconvert.errors import UsageError

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_a_flipped_byte_in_a_keras_archive_is_refused(tmp_path):
    path = saved_small_model(tmp_path / "m.keras")
    data = bytearray(path.read_bytes())
    data[data.index(b"BatchNormalization")] ^= 1
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_a_missing_weight_is_refused(tmp_path):
    path = saved_small_model(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights/conv"].attrs["weight_names"] = [b"conv/kernel"]
    assert "'conv' needs 2 weights, but the file has 1" in refused(path)


def test_a_missing_layer_is_refused(tmp_path):
    path = saved_small_model(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = [b"conv"]
    assert "'bn' has no weights in the file" in refused(path)


def test_a_weight_of_another_shape_is_refused(tmp_path):
    path = edit_config(saved_small_model(tmp_path / "m.h5"), lambda r: layer(r, "conv").update(filters=4))
    assert "'kernel' of shape (3, 3, 2, 3) in the file and (3, 3, 2, 4)" in refused(path)


def test_a_missing_weight_in_a_keras_archive_is_refused(tmp_path):
    def without(file):
        del file["layers/conv2d/vars/1"]

    path = edit_weights(saved_small_model(tmp_path / "m.keras"), without)
    assert "conv" in refused(path)


def test_a_damaged_configuration_is_refused(tmp_path):
    path = saved_small_model(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = '{"class_name": "Functional", "config": {"lay'
    assert "unreadable architecture" in refused(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_lambda_is_refused_and_named_unless_unsafe(tmp_path, suffix):
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, layers.Lambda(lambda x: x * 3, name="triple")(image))
    path = saved_small_model(tmp_path / f"m{suffix}", model)
    message = refused(path)
    assert "'triple'" in message and "`unsafe=True`" in message
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


@pytest.mark.quick(".keras")
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_unknown_layers_are_named_with_what_to_do(tmp_path, suffix):
    path = saved_small_model(tmp_path / f"m{suffix}", with_custom())
    message = refused(path)
    assert "'Scaled' (layers 'first', 'second')" in message and "`custom_objects`" in message
    assert len(loading.load(path, custom_objects={"Scaled": Scaled}).weights) == 2


def test_an_unknown_activation_is_named(tmp_path):
    path = edit_as_old(saved_small_model(tmp_path / "m.h5"), lambda r: layer(r, "conv").update(activation="mine"))
    message = refused(path)
    assert "'mine' (layer 'conv')" in message and "`custom_objects`" in message
    model = loading.load(path, custom_objects={"mine": lambda x: x * 0})
    assert np.allclose(model.get_layer("conv")(np.ones((1, 6, 6, 2))), 0)


def test_a_current_file_needs_no_repair(tmp_path):
    for suffix in (".h5", ".keras"):
        model = small_model()
        loaded = loading.read(saved_small_model(tmp_path / f"m{suffix}", model))
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
        loaded = loading.load(saved_small_model(tmp_path / f"m{suffix}", model))
        x = np.random.default_rng(0).random((2, 9, 9, 3), np.float32)
        np.testing.assert_allclose(np.asarray(loaded(x)), np.asarray(model(x)), rtol=1e-5)


def test_the_format_does_not_depend_on_the_suffix(tmp_path):
    saved_small_model(tmp_path / "m.h5").rename(tmp_path / "model.bin")
    assert loading.read(tmp_path / "model.bin").kind == "h5"
    saved_small_model(tmp_path / "m.keras").rename(tmp_path / "model.h5")
    assert loading.read(tmp_path / "model.h5").kind == "keras"


@pytest.mark.long
def test_compilation_is_restored(tmp_path):
    for suffix in (".h5", ".keras"):
        model = small_model()
        model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
        loaded = loading.load(saved_small_model(tmp_path / f"m{suffix}", model))
        assert loaded.compiled
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)
        x, y = np.ones((2, 6, 6, 2)), np.zeros((2, 3))
        assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


def own_loss(true, predicted):
    return keras.ops.mean(true - predicted)


def test_a_keras_file_with_an_unknown_loss_is_loaded_uncompiled(tmp_path):
    model = small_model()
    model.compile("sgd", own_loss)
    loaded = loading.read(saved_small_model(tmp_path / "m.keras", model))
    assert not loaded.model.compiled
    assert any("not compiled" in one for one in loaded.repairs)
    assert loading.load(tmp_path / "m.keras", custom_objects={"own_loss": own_loss}).compiled


@pytest.mark.quick(
    "conv-{'time_major': False}",
    "conv-{'kernel_initializer': {'class_name': 'MyInitializer', 'config': {}}}",
    "bn-{'axis': [3]}",
    "image-{'ragged': False, 'sparse': False}",
)
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
    model = small_model()
    path = edit_as_old(saved_small_model(tmp_path / "m.h5", model), lambda r: layer(r, name).update(extra))
    x = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    np.testing.assert_allclose(np.asarray(loading.load(path)(x)), np.asarray(model(x)), rtol=1e-5)


@pytest.mark.quick("conv-{'time_major': True}", "conv-{'something_new': 3}")
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
    path = edit_as_old(saved_small_model(tmp_path / "m.h5"), lambda r: layer(r, name).update(extra))
    message = refused(path)
    assert f"'{name}'" in message and next(iter(extra)) in message


def test_depthwise_groups_other_than_one_are_refused(tmp_path):
    image = keras.Input((6, 6, 2))
    model = keras.Model(image, layers.DepthwiseConv2D(3, name="depth")(image))
    good = edit_as_old(saved_small_model(tmp_path / "good.h5", model), lambda r: layer(r, "depth").update(groups=1))
    assert any("'depth'" in one and "'groups'" in one for one in loading.read(good).repairs)
    bad = edit_as_old(saved_small_model(tmp_path / "bad.h5", model), lambda r: layer(r, "depth").update(groups=2))
    assert "groups=2" in refused(bad)


def test_a_future_keras_archive_with_an_unknown_argument(tmp_path):
    def newer(record):
        layer(record, "conv")["not_yet_known"] = None

    path = edit_config(saved_small_model(tmp_path / "m.keras"), newer)
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

    path = groups(edit_config(saved_small_model(tmp_path / "m.h5", model), slashed))
    loaded = loading.read(path)
    x = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    np.testing.assert_allclose(np.asarray(loaded.model(x)), np.asarray(model(x)), rtol=1e-5)
    assert "x_inner" in [one.name for one in loaded.model.layers]
    assert any("'x/inner'" in one and "'/'" in one for one in loaded.repairs)


def shapeless(path: Path) -> Path:
    model = keras.Sequential([layers.Conv2D(3, 3, name="conv"), layers.Flatten()])
    model.build((None, 5, 5, 2))
    saved_small_model(path, model)

    def forget(record):
        record["config"].pop("build_input_shape", None)
        record["config"]["layers"] = [one for one in record["config"]["layers"] if one["class_name"] != "InputLayer"]

    return edit_as_old(path, forget)


def test_a_sequential_without_a_shape_needs_the_option(tmp_path):
    path = shapeless(tmp_path / "m.h5")
    assert "`input_shape`" in refused(path)
    loaded = loading.read(path, input_shape=(5, 5, 2))
    assert loaded.model.input_shape == (None, 5, 5, 2)
    assert any("(5, 5, 2)" in one for one in loaded.repairs)
    with pytest.raises(UsageError, match="positive"):
        loading.read(path, input_shape=(5, 0, 2))


def test_the_shape_in_the_file_has_priority(tmp_path):
    assert loading.load(saved_small_model(tmp_path / "m.h5"), input_shape=(9, 9, 2)).input_shape == (None, 6, 6, 2)


def test_tensorflow_functions_without_equivalent_are_refused_by_name(tmp_path):
    def fourier(record):
        record["config"]["layers"][-1] = {
            "class_name": "TFOpLambda",
            "config": {"name": "gap", "function": "signal.rfft"},
            "name": "gap",
            "inbound_nodes": [["bn", 0, 0, {}]],
        }

    message = refused(edit_as_old(saved_small_model(tmp_path / "m.h5"), fourier))
    assert "'gap'" in message and "tf.signal.rfft" in message


def test_unsupported_arguments_of_tensorflow_functions_are_refused(tmp_path):
    def pooled(options):
        def change(record):
            record["config"]["layers"][-1] = {
                "class_name": "TFOpLambda",
                "config": {"name": "gap", "function": "math.reduce_mean"},
                "name": "gap",
                "inbound_nodes": [["bn", 0, 0, options]],
            }

        return change

    whole = edit_as_old(saved_small_model(tmp_path / "m.h5"), pooled({"axis": [1, 2]}))
    assert type(loading.load(whole).layers[-1]).__name__ == "GlobalAveragePooling2D"
    assert "weights=2 is not supported" in refused(
        edit_as_old(saved_small_model(tmp_path / "n.h5"), pooled({"axis": [1, 2], "weights": 2}))
    )


def test_the_fashion_model_has_its_accuracy():
    path = FIXTURES / "fashion_cnn.h5"
    loaded = loading.read(path)
    assert loaded.repairs == () and loaded.model.compiled
    assert path.stat().st_size < 2_000_000
    data = np.load(FIXTURES / "fashion_test_200.npz")
    assert data["x"].dtype == np.uint8 and data["x"].shape == (200, 28, 28, 1)
    right = np.asarray(loaded.model(data["x"])).argmax(axis=1) == data["y"]
    assert right.mean() > 0.9
