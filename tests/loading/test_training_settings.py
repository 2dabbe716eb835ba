"""Optimizer, loss and metrics of other versions are restored, or named in a note."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from octconvert import loading
from octconvert.loading import training_settings
from octconvert.loading.context import LoadingContext

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"


@pytest.mark.quick("tf2_15_compiled.keras")
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
    context = LoadingContext(Path("old.h5"), version)
    training_settings.restore(model, json.dumps(settings), context)
    return context.notes.sentences()


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


def test_an_argument_with_an_effect_is_not_dropped():
    model = two_outputs()
    loss = {"class_name": "MeanSquaredError", "config": {"name": "mse", "sharpness": 3}}
    notes = restored(model, {"loss": loss, "optimizer_config": ADAM})
    assert not model.compiled
    assert any("sharpness=3" in note for note in notes)
