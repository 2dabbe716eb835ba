"""Files written by old Keras versions give the predictions that those versions gave."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from octconvert import loading
from octconvert.verification import keras_files

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"
FILES = sorted(path for path in LEGACY.iterdir() if path.suffix in (".h5", ".keras"))


def stored(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs and the old Keras' own predictions that belong to a file."""
    with np.load(LEGACY / f"{path.name.split('.')[0]}.npz") as data:
        return [data[key] for key in sorted(data.files) if key != "y"], data["y"]


def predict(model, inputs: list[np.ndarray]) -> np.ndarray:
    return np.asarray(model(inputs if len(inputs) > 1 else inputs[0], training=False))


def repairs(name: str) -> str:
    return "\n".join(loading.read(LEGACY / name).repairs)


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.name)
def legacy(request):
    """(file, its content before it was read, what was read)."""
    before = request.param.read_bytes()
    return request.param, before, loading.read(request.param)


@pytest.mark.quick(
    "keras1_channels_first.h5",
    "keras1_theano_sequential.h5",
    "keras1_two_branches.h5",
    "keras2_0_theano_nested.h5",
    "keras2_1_mobilenet.h5",
    "keras2_2_functions.h5",
    "keras2_2_slashes.h5",
    "keras3_3_augmented.keras",
    "keras3_8_casts.h5",
    "tf2_12_exported.v3.keras",
    "tf2_12_operations.h5",
    "tf2_12_preprocessing.h5",
    "tf2_12_slashes.keras",
    "tf2_14_attention.keras",
    "tf2_14_layers.keras",
    "tf2_15_adapted.h5",
    "tf2_15_compiled.h5",
    "tf2_15_recurrent.h5",
)
def test_predictions_are_those_of_the_old_keras(legacy):
    path, before, loaded = legacy
    inputs, expected = stored(path)
    error = np.abs(predict(loaded.model, inputs) - expected).max()
    assert error < 1e-4 * np.abs(expected).max()
    # Small against what distinguishes one input from another, too: a model that ignores its input does not pass.
    assert error < 1e-2 * expected.std(axis=0).max()
    assert path.read_bytes() == before


@pytest.mark.quick("keras1_functional.h5", "keras2_2_slashes.h5", "tf2_14_attention.keras")
def test_the_loaded_model_survives_saving_as_keras(legacy, tmp_path):
    path, _, loaded = legacy
    model = loaded.model
    keras_files.save(model, tmp_path / "again.keras")
    inputs, _ = stored(path)
    again = loading.read(tmp_path / "again.keras")
    assert again.repairs == ()
    np.testing.assert_allclose(predict(again.model, inputs), predict(model, inputs), rtol=1e-5, atol=1e-6)


def test_all_versions_are_there():
    versions = {path.name.split("_")[0] for path in FILES}
    assert versions == {"keras1", "keras2", "keras3", "tf2"}
    assert len(FILES) >= 37


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tf2_12_slashes.keras", "h5"), ("tf2_12_slashes.v3.keras", "keras"), ("keras1_sequential.h5", "h5")],
)
def test_the_format_is_recognized_by_content(name, kind):
    assert loading.read(LEGACY / name).kind == kind


def test_reshape_first_has_no_batch_axis_in_its_shape():
    # Keras 3 by itself takes the batch axis for a part of the shape, and says nothing.
    model = loading.load(LEGACY / "keras2_2_reshape_first.h5")
    assert model.input_shape == (None, 36)
    assert model.layers[0].output.shape == (None, 6, 6, 1)


def test_functions_that_changed_under_the_same_name_are_kept():
    notes = repairs("keras2_2_functions.h5")
    assert "'gate', 'hard'" in notes and "hard_sigmoid" in notes
    assert "'ThresholdedReLU' is now called 'ReLU'" in notes


def test_slashes_are_replaced_without_collision():
    loaded = loading.read(LEGACY / "keras2_2_slashes.h5")
    names = [layer.name for layer in loaded.model.layers]
    assert len(set(names)) == len(names) and not any("/" in name for name in names)
    # "block1_conv" was taken by a layer of its own.
    assert {"block1_conv", "block1_conv_1", "block1_conv_second"} <= set(names)
    assert "'block1/conv'" in "\n".join(loaded.repairs)


def test_theano_kernels_are_flipped_and_padded():
    notes = repairs("keras1_theano_sequential.h5")
    assert "kernels were flipped" in notes
    assert "ZeroPadding2D" in notes
    assert "flipped" not in repairs("keras1_channels_first.h5")


def test_theano_in_keras1_is_recognized_by_variable_names():
    with h5py.File(LEGACY / "keras1_theano_sequential.h5") as file:
        assert "backend" not in file.attrs and "backend" not in file["model_weights"].attrs


def test_an_unknown_loss_leaves_the_model_uncompiled_with_a_note():
    loaded = loading.read(LEGACY / "keras2_2_nested.h5")
    assert not loaded.model.compiled
    assert any("'own_loss'" in one and "not compiled" in one for one in loaded.repairs)


def test_known_training_settings_are_restored():
    model = loading.load(LEGACY / "keras2_2_sequential.h5")
    assert model.compiled
    assert getattr(model.loss, "__name__", model.loss) == "categorical_crossentropy"
    assert type(model.optimizer).__name__ == "SGD"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.long
def test_settings_that_tf_keras_left_open_do_not_break_predict():
    model = loading.load(LEGACY / "tf2_15_exported.keras")
    inputs, expected = stored(LEGACY / "tf2_15_exported.keras")
    assert model.compiled
    np.testing.assert_allclose(model.predict(inputs[0], verbose=0), expected, rtol=1e-4)


def test_weights_of_a_nested_model_are_matched_by_name(tmp_path):
    # Another Keras may sort the layers of a nested model in another way.
    path = tmp_path / "shuffled.h5"
    path.write_bytes((LEGACY / "keras2_2_nested.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/inner"]
        group.attrs["weight_names"] = group.attrs["weight_names"][::-1]
    inputs, expected = stored(LEGACY / "keras2_2_nested.h5")
    np.testing.assert_allclose(predict(loading.load(path), inputs), expected, rtol=1e-3, atol=1e-5)


def test_frozen_layers_stay_frozen():
    inner = loading.load(LEGACY / "keras2_2_nested.h5").get_layer("inner")
    assert not inner.get_layer("inner_frozen").trainable
    assert inner.get_layer("inner_b").trainable


def test_tensorflow_operations_become_layers():
    kinds = [type(one).__name__ for one in loading.load(LEGACY / "tf2_12_operations.h5").operations]
    assert kinds.count("Rescaling") >= 5
    assert "GlobalAveragePooling2D" in kinds
    assert not any("Lambda" in kind for kind in kinds)
    assert "GetItem" in kinds


def test_an_unknown_model_class_is_read_as_a_functional_model():
    loaded = loading.read(LEGACY / "tf2_12_attention.h5")
    assert type(loaded.model).__name__ == "Functional"
    assert any("'Own'" in one for one in loaded.repairs)


def test_depthwise_groups_are_dropped_with_one_note():
    notes = loading.read(LEGACY / "tf2_12_exported.h5").repairs
    assert any("'depthwise'" in one and "'groups'" in one for one in notes)
    assert len(notes) == len(set(notes))
