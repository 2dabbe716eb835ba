"""What other versions wrote in another way: compile settings, places of weights, Lambdas, classes of one's own."""

from __future__ import annotations

import base64
import io as streams
import json
import marshal
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import octconvert
from octconvert import InputError, loading
from octconvert.loading import training_settings
from octconvert.loading.configuration import Job
from octconvert.loading.repairs import layer_arguments

LEGACY = Path(__file__).parent.parent / "fixtures" / "legacy"


def rewritten(source: Path, target: Path, config=None, weights=None, version: str | None = None) -> Path:
    """A copy of an archive with its configuration and its weights edited in place."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json" and config is not None:
                record = json.loads(content)
                config(record)
                content = json.dumps(record).encode()
            if name == "metadata.json" and version is not None:
                content = json.dumps({**json.loads(content), "keras_version": version}).encode()
            if name == "model.weights.h5" and weights is not None:
                buffer = streams.BytesIO(content)
                with h5py.File(buffer, "r+") as file:
                    weights(file)
                content = buffer.getvalue()
            new.writestr(name, content)
    return target


# -- places of weights -------------------------------------------------------------------------------------------------


def test_weights_that_can_not_be_told_apart_are_refused(tmp_path):
    def lose_one(file):
        del file["_layer_checkpoint_dependencies/conv2d_2"]

    path = rewritten(LEGACY / "tf2_14_layers.keras", tmp_path / "lost.keras", weights=lose_one)
    with pytest.raises(InputError, match=r"3 places with weights .* which is whose"):
        loading.load(path)


def test_a_count_that_nobody_has_seen_is_read_by_its_order(tmp_path):
    # As a version might do that counts in tens.
    def renumber(file):
        group = file["_layer_checkpoint_dependencies"]
        for number in (3, 2, 1):
            group.move(f"conv2d_{number}", f"conv2d_{number * 10}")

    path = rewritten(LEGACY / "tf2_14_layers.keras", tmp_path / "tens.keras", weights=renumber)
    with np.load(LEGACY / "tf2_14_layers.npz") as data:
        np.testing.assert_allclose(loading.load(path)(data["x0"]), data["y"], rtol=1e-3, atol=1e-3)


def test_a_class_of_ones_own_inside_keeps_its_weights_without_the_class(tmp_path):
    @keras.saving.register_keras_serializable("test_io_versions")
    class Inner(keras.Model):
        pass

    image = keras.Input((6, 6, 2))
    inner = [Inner(image, layers.Conv2D(2, 3, padding="same")(image), name=name) for name in ("one", "two")]
    model = keras.Model(image, inner[1](inner[0](image)))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    expected = model.predict(x, verbose=0)
    del keras.saving.get_custom_objects()["test_io_versions>Inner"]
    known = loading.load(tmp_path / "model.keras", custom_objects={"Inner": Inner})
    assert type(known.get_layer("two")) is Inner
    np.testing.assert_allclose(known.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    loaded = loading.read(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert "'Inner'" in loaded.repairs[0]


# -- hard_sigmoid ------------------------------------------------------------------------------------------------------


def test_a_recurrent_hard_sigmoid_survives_conversion_without_octconvert_in_the_file(tmp_path):
    source = loading.load(LEGACY / "tf2_14_recurrent.keras")
    target = tmp_path / "out.keras"
    octconvert.convert(LEGACY / "tf2_14_recurrent.keras", portable=True, calibration=False, strict=False, output=target)
    with zipfile.ZipFile(target) as file:
        assert b"octconvert" not in file.read("config.json")
    with np.load(LEGACY / "tf2_14_recurrent.npz") as data:
        again = keras.saving.load_model(target)
        np.testing.assert_allclose(again(data["x0"]), source(data["x0"]), rtol=1e-4, atol=1e-5)


# -- training settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tf2_15_compiled.keras", "tf2_15_compiled.h5"])
def test_settings_made_of_objects_are_restored(name):
    loaded = loading.read(LEGACY / name)
    assert loaded.repairs == ()
    settings = loaded.model.get_compile_config()
    scaled = settings["optimizer"]
    assert scaled["class_name"] == "LossScaleOptimizer"
    inner = scaled["config"]["inner_optimizer"]
    assert (inner["class_name"], inner["config"]["weight_decay"]) == ("AdamW", 1e-3)
    assert inner["config"]["learning_rate"]["class_name"] == "CosineDecay"
    assert settings["loss"]["class_name"] == "SparseCategoricalCrossentropy"
    assert settings["loss"]["config"]["from_logits"] is True
    assert settings["loss"]["config"]["reduction"] == "sum_over_batch_size"
    x, y = np.zeros((4, 10, 10, 3), "float32"), np.zeros((4, 1), "int32")
    assert set(loaded.model.evaluate(x, y, verbose=0, return_dict=True)) == {
        "loss",
        "accuracy",
        "sparse_top_k_categorical_accuracy",
    }


ADAM = {
    "class_name": "Custom>Adam",
    "config": {"name": "Adam", "learning_rate": 1e-4, "jit_compile": False, "is_legacy_optimizer": False},
}
HUBER = {"class_name": "Huber", "config": {"reduction": "auto", "name": "huber_loss", "delta": 0.5, "fn": "huber"}}


def two_outputs():
    image = keras.Input((4,))
    return keras.Model(image, [layers.Dense(3, name="cls")(image), layers.Dense(1, name="reg")(image)])


def restored(model, settings, version=2):
    job = Job(Path("old.h5"), version)
    training_settings.restore(model, json.dumps(settings), job)
    return job.notes.sentences()


def test_settings_by_output_as_tf_keras_wrote_them_in_h5():
    model = two_outputs()
    metrics = [
        [{"class_name": "CategoricalAccuracy", "config": {"name": "cls_categorical_accuracy", "dtype": "float32"}}],
        [{"class_name": "MeanMetricWrapper", "config": {"name": "reg_mae", "fn": "mean_absolute_error"}}],
    ]
    loss = {"cls": "mse", "reg": HUBER}
    settings = {"loss": loss, "metrics": metrics, "loss_weights": {"cls": 1.0, "reg": 0.5}, "optimizer_config": ADAM}
    assert restored(model, settings) == ()
    y = {"cls": np.eye(3, dtype="float32"), "reg": np.full((3, 1), 9.0, "float32")}
    seen = model.evaluate(np.zeros((3, 4), "float32"), y, verbose=0, return_dict=True)
    assert {"cls_categorical_accuracy", "reg_mae"} <= set(seen)
    # The outputs are 0 for an input of 0: Huber of 9 with delta 0.5 is 0.5 * 9 - 0.125.
    assert seen["reg_loss"] == pytest.approx(4.375)
    assert seen["loss"] == pytest.approx(seen["cls_loss"] + 0.5 * seen["reg_loss"], rel=1e-5)


def test_the_decay_of_old_optimizers_is_the_schedule_of_the_same_meaning():
    model = two_outputs()
    old = {"class_name": "SGD", "config": {"name": "SGD", "lr": 0.1, "decay": 0.5, "momentum": 0.9, "nesterov": True}}
    assert restored(model, {"loss": "mse", "optimizer_config": old}) == ()
    rate = model.optimizer.get_config()["learning_rate"]
    schedule = keras.optimizers.schedules.deserialize(rate)
    assert [float(schedule(step)) for step in (0, 1, 6)] == pytest.approx([0.1, 0.1 / 1.5, 0.1 / 4])
    assert model.optimizer.nesterov


def test_what_can_not_be_restored_is_named_and_the_rest_is_kept():
    model = two_outputs()
    own = {"class_name": "Lion2", "config": {"learning_rate": 1e-4}}
    metrics = [["mae"], [{"class_name": "OwnMetric", "config": {"name": "own"}}, "mse"]]
    notes = restored(model, {"loss": HUBER, "metrics": metrics, "optimizer_config": own})
    assert model.compiled
    assert any("optimizer" in note and "Lion2" in note for note in notes)
    assert any("metric" in note and "OwnMetric" in note for note in notes)
    seen = model.evaluate(np.zeros((2, 4)), [np.zeros((2, 3)), np.zeros((2, 1))], verbose=0, return_dict=True)
    assert {"cls_mae", "reg_mse"} <= set(seen)


def test_an_argument_that_means_something_is_not_dropped():
    model = two_outputs()
    loss = {"class_name": "MeanSquaredError", "config": {"name": "mse", "sharpness": 3}}
    notes = restored(model, {"loss": loss, "optimizer_config": ADAM})
    assert not model.compiled
    assert any("sharpness=3" in note for note in notes)


# -- Lambda ------------------------------------------------------------------------------------------------------------


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
        return rewritten(path.with_name("new.keras"), path, config=edit, version="2.15.0")
    model.save(path)
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["model_config"])
        edit(record)
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(record), "2.15.0"
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_of_tf_keras_is_read_where_the_file_is_trusted(suffix, tmp_path):
    path = with_lambda(lambda t, k=3.0: t * k, tmp_path / f"old{suffix}")
    with pytest.raises(InputError, match="unsafe"):
        loading.load(path)
    model = loading.load(path, unsafe=True)
    x = np.ones((1, 8, 8, 3), "float32")
    inner = model.layers[0](x)
    np.testing.assert_allclose(model(x), model.layers[2](inner * 3.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_name_that_a_lambda_misses_is_named(suffix, tmp_path):
    path = with_lambda(lambda t: tf.nn.relu(t), tmp_path / f"old{suffix}")  # noqa: F821
    with pytest.raises(InputError, match=r"'own' is a Lambda whose code uses 'tf'"):
        loading.load(path, unsafe=True)


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_a_layer_idle_at_inference_is_made_anew_or_left_out(tmp_path):
    def edit(record):
        for layer in record["config"]["layers"]:
            if layer["class_name"] == "RandomZoom":
                layer["config"]["height_factor"] = "wide"
            if layer["class_name"] == "RandomRotation":
                layer["config"]["fill_mode"] = "odd"

    path = rewritten(LEGACY / "keras3_3_augmented.keras", tmp_path / "odd.keras", config=edit)
    loaded = loading.read(path)
    with np.load(LEGACY / "keras3_3_augmented.npz") as data:
        np.testing.assert_allclose(loaded.model(data["x0"], training=False), data["y"], rtol=1e-4, atol=1e-4)
    assert any("'RandomZoom' was replaced by 'Identity'" in note for note in loaded.repairs)
    assert any("'fill_mode' was dropped" in note for note in loaded.repairs)


NUMBERS = {
    **dict.fromkeys(("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"), (0.1,)),
    **dict.fromkeys(("RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue"), (0.2,)),
    **dict.fromkeys(("RandomRotation", "RandomSaturation", "RandomSharpness", "RandomZoom"), (0.2,)),
    **{"RandomPosterization": (4,), "RandomTranslation": (0.1, 0.1)},
}


@pytest.mark.parametrize("name", sorted(set(layer_arguments.IDLE) - {"SpatialDropout1D", "SpatialDropout3D"}))
def test_layers_called_idle_do_nothing_at_inference(name):
    layer = getattr(layers, name)(*NUMBERS.get(name, ()))
    x = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")
    model = keras.Sequential([keras.Input((12, 12, 3)), layer])
    np.testing.assert_array_equal(model(x, training=False), x)


# -- classes of one's own ----------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_io_versions")
class Stepped(keras.Model):
    def train_step(self, data):
        return {"own": 1.0, **super().train_step(data)}


class Unregistered(keras.Model):
    def test_step(self, data):
        return super().test_step(data)


class Heated(keras.Model):
    def __init__(self, inputs, outputs, heat=1.0, **kwargs):
        super().__init__(inputs, outputs, **kwargs)

    def train_step(self, data):
        return super().train_step(data)


def of_class(kind):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    model = kind(image, layers.Conv2D(4, 3)(layers.Conv2D(8, 3, padding="same")(x)))
    model.compile("sgd", "mse")
    return model


def test_a_functional_class_of_ones_own_is_kept(tmp_path):
    result = octconvert.convert(of_class(Stepped), calibration=False, output=tmp_path / "own.keras")
    assert type(result.model) is Stepped
    assert any(convolution.role != "plain" for convolution in result.convolutions)
    history = result.model.fit(np.zeros((2, 16, 16, 3)), np.zeros((2, 14, 14, 4)), verbose=0).history
    assert history["own"] == [1.0]
    assert type(keras.saving.load_model(tmp_path / "own.keras")) is Stepped


@pytest.mark.parametrize(("kind", "lost"), [(Unregistered, "test_step"), (Heated, "train_step")])
def test_what_goes_with_a_class_that_can_not_be_kept_is_said(kind, lost):
    result = octconvert.convert(of_class(kind), calibration=False)
    assert any(kind.__name__ in note and lost in note for note in result.report.notes)
    assert result.model.compiled


def test_a_custom_object_need_not_be_registered_to_keep_its_class():
    known = {"Unregistered": Unregistered}
    result = octconvert.convert(of_class(Unregistered), calibration=False, custom_objects=known)
    assert type(result.model) is Unregistered


def test_a_model_of_keras_2_in_memory_is_taken():
    keras2 = pytest.importorskip("tf_keras")
    image = keras2.Input((12, 12, 3))
    x = keras2.layers.Conv2D(8, 3, padding="same")(image)
    model = keras2.Model(image, keras2.layers.Conv2D(4, 3, activation="hard_sigmoid")(x))
    model.compile("adam", "mse")
    result = octconvert.convert(model, calibration=False, octave=1, alpha=0.5)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(result.model.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    assert result.model.compiled
    assert any("Keras 2" in note for note in result.report.repairs)


# -- errors ------------------------------------------------------------------------------------------------------------


def test_an_error_that_keras_wrapped_is_the_one_that_is_shown(tmp_path):
    def edit(record):
        for layer in record["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                layer["config"]["strides"] = [0, 0]

    path = rewritten(LEGACY / "keras3_3_augmented.keras", tmp_path / "odd.keras", config=edit)
    with pytest.raises(InputError) as caught:
        loading.load(path)
    text = str(caught.value)
    assert "strides" in text and "ValueError" in text
    assert "deserialized" not in text and "config=" not in text
