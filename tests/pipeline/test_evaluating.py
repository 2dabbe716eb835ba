"""The evaluation of a conversion: what is wrong is said before it, and what fails behind it takes nothing away."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.errors import InputError, UsageError


@pytest.fixture(scope="module")
def model():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    return randomise(keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))))


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).random((12, 16, 16, 3), "float32"), np.arange(12) % 4


def convert(model, data, **options):
    return octconvert.convert(model, evaluate=data, calibration=False, **options)


class Failing:
    """A metric that fails from its second call on: the converted model is finished by then."""

    def __init__(self, outcome):
        self.outcome, self.calls, self.__name__ = outcome, 0, "mine"

    def __call__(self, labels, outputs):
        self.calls += 1
        if self.calls == 1:
            return 0.25
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.mark.quick("memory")
@pytest.mark.parametrize(
    "outcome, reason",
    [
        (MemoryError(), "mine of the converted model could not be measured: metric mine failed: MemoryError"),
        (ValueError("a\nb"), "mine of the converted model could not be measured: metric mine failed: ValueError: a b"),
        (float("nan"), "mine of the converted model is nan"),
    ],
    ids=["memory", "error", "nan"],
)
def test_what_fails_behind_the_conversion_is_a_note(model, data, tmp_path, outcome, reason):
    result = convert(model, data, metric=Failing(outcome), output=tmp_path / "out.keras")
    assert (tmp_path / "out.keras").exists() and result.report.notes[-1] == reason
    [metric] = result.report.evaluation.metrics
    assert (metric.name, metric.before) == ("mine", 0.25) and np.isnan(metric.after)
    assert "mine 0.25 -> not measured of 12 samples" in str(result)
    evaluation = json.loads(json.dumps(result.to_dict(), allow_nan=False))["evaluation"]
    assert evaluation["before"] == 0.25 and evaluation["after"] is None


def test_the_file_is_there_before_the_converted_model_is_evaluated(model, data, tmp_path):
    path, there = tmp_path / "out.keras", []

    def metric(labels, outputs):
        there.append(path.exists())
        return 1.0

    convert(model, data, metric=metric, output=path)
    assert there == [False, True]


@pytest.mark.parametrize(
    "labels, options, error",
    [
        (np.arange(12), {}, r"^given data \(12 samples\): the labels are from 0 to 11, and .* the classes 0 to 3$"),
        (np.zeros(11), {}, "^evaluate: 12 samples but 11 labels$"),
        (None, {}, "holds no labels"),
        (np.zeros(12), {"metric": "psnr"}, "psnr is for images"),
        (np.zeros(12), {"metric": lambda labels, outputs: {}[0]}, "failed: KeyError"),
        (np.zeros(12), {"metric": lambda labels, outputs: float("inf")}, "of the source is inf$"),
    ],
)
def test_what_is_wrong_is_said_before_the_conversion(model, data, labels, options, error):
    stages = []
    given = data[0] if labels is None else (data[0], labels)
    with pytest.raises((InputError, UsageError), match=error):
        octconvert.convert(model, evaluate=given, progress=lambda stage, *_: stages.append(stage), **options)
    assert set(stages) == {"read", "plan", "evaluate"}


def test_a_file_is_named(model, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("test.npz", x=data[0], y=data[1] + 1)
    with pytest.raises(InputError, match=r"^test\.npz \(12 samples\): the labels are from 1 to 4"):
        convert(model, "test.npz")
    np.savez("test.npz", x=data[0][:, :8], y=data[1])
    with pytest.raises(InputError, match=r"^test\.npz: input 'image' takes samples of shape"):
        convert(model, Path("test.npz"))


@pytest.mark.long
def test_metrics_of_a_conversion(model, data):
    several = np.eye(4)[data[1]] + np.eye(4)[(data[1] + 1) % 4]
    evaluation = convert(model, (data[0], several)).report.evaluation
    assert [(each.name, each.unit) for each in evaluation.metrics] == [("auc", "")] and evaluation.smaller is None
    assert 0 < evaluation.before == evaluation.metrics[0].before < 1


@pytest.mark.long
def test_notes_on_the_evaluation():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same")(image))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, [layers.Dense(4)(x), layers.Dense(2)(x)])
    raw = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    notes = convert(model, (raw, np.arange(8) % 4)).report.notes
    assert any("0..255 as read" in note for note in notes) and "of 2 outputs the first one is evaluated" in notes
