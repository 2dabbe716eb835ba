"""A factor for each axis: the time of a video, or thin slices, stay at their resolution."""

import json

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_portable, example, largest_difference, randomise, reasons, run

import octconvert
from octconvert import Plan, UsageError

OPTIONS = {"min_size": 1, "calibration": False}


def video(frames=4, size=10):
    inputs = Input((frames, size, size, 3))
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling3D((1, 2, 2))(layers.LayerNormalization()(x))
    x = layers.Conv3D(8, (3, 1, 1), padding="same", activation="relu", name="time")(x)
    y = layers.Conv3D(8, 3, strides=2)(layers.ZeroPadding3D(1)(x))
    y = layers.UpSampling3D(2)(layers.GroupNormalization(2)(y))
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling3D(keepdims=True)(y))
    y = layers.Multiply()([y, gate])
    y = y * ops.sigmoid(ops.mean(y, axis=-1, keepdims=True))
    y = layers.Conv3D(8, (1, 3, 3), groups=2, name="last")(y)
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling3D()(y)))


def images():
    inputs = Input((16, 21, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(layers.BatchNormalization()(x))
    x = layers.Conv2D(8, 1, strides=2)(layers.AveragePooling2D(3, 1)(x))
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(x))))


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "octave"),
    [(video, (1, 2, 2)), (video, (2, 4, 1)), (images, (1, 2))],
    ids=["video", "video 2,4,1", "images"],
)
def test_the_plan_the_oracle_and_the_saved_model(make, octave, tmp_path):
    model = randomise(make())
    inputs, path = example(model), tmp_path / "m.keras"
    result = octconvert.convert(model, octave=octave, verify="deep", output=path, **OPTIONS)
    assert not reasons(result) and all(check.passed for check in result.report.checks)
    assert "octave=1 oracle" in {check.name for check in result.report.checks}
    found = run(result.model, inputs)
    assert largest_difference(found, run(keras.models.load_model(path), inputs)) <= 1e-6
    assert result.plan.octave == octave and dict(result.report.options)["octave"] == octave
    plan = Plan.from_json(result.plan.to_json())
    assert plan == result.plan
    again = octconvert.convert(model, plan=plan, calibration=False)
    assert largest_difference(found, run(again.model, inputs)) <= 1e-6


def test_the_time_is_kept_and_costs_follow():
    inputs = Input((8, 16, 16, 4))
    x = layers.Conv3D(8, 3, padding="same", name="a")(inputs)
    model = Model(inputs, layers.Conv3D(8, 3, padding="same", name="b")(layers.Conv3D(8, 3, padding="same")(x)))
    result = octconvert.convert(model, octave=(1, 2, 2), **OPTIONS)
    high, low = result.model.get_layer("a").output
    assert high.shape[1:] == (8, 16, 16, 4) and low.shape[1:] == (8, 8, 8, 4)
    first, pair, last = (1 - 3 / 8, 1 - 3 / 4 * 0.5 * 1.5, 1 - 3 / 8)  # paper, section 3.2: a quarter, as for images
    expected = (4 * first + 8 * pair + 8 * last) / 20
    assert np.isclose(result.after.macs / result.before.macs, expected)
    everywhere = octconvert.convert(model, octave=(2, 2, 2), **OPTIONS)
    assert everywhere.plan.octave == 2 and everywhere.after.macs < result.after.macs


def test_built_in_layers_do_the_same():
    assert_portable(images(), octave=(1, 2))


def test_axes_that_are_kept_do_not_count_for_the_least_size():
    thin = video(frames=2, size=20)
    assert len(octconvert.convert(thin, octave=(1, 2, 2), min_size=8, calibration=False).plan.converted) == 4
    assert "below min_size 8" in repr(reasons(octconvert.convert(thin, min_size=8, calibration=False, strict=False)))


@pytest.mark.parametrize(
    ("octave", "words"),
    [
        ((1, 2), r"`octave` 1,2 has 2 numbers, but the maps of '.*' have depth, rows and columns"),
        ((1, 2, 3), "must be a power of two .*, or one for each axis"),
        ((), "must be a power of two"),
        ((1, 2, 2, 2), "must be a power of two"),
        ("1,2,2", "must be a power of two"),
    ],
)
def test_mistakes_are_clear(octave, words):
    with pytest.raises(UsageError, match=words):
        octconvert.plan(video(), octave=octave)


def test_a_plan_for_other_axes_is_refused():
    data = json.loads(octconvert.plan(video(), octave=(1, 2, 2), min_size=1).to_json())
    with pytest.raises(UsageError, match=r"plan: `octave` 1,2 has 2 numbers"):
        octconvert.convert(video(), plan=Plan.from_json(json.dumps({**data, "octave": [1, 2]})))


@pytest.mark.long
def test_alphas_are_chosen_and_there_is_a_form_for_inference():
    model = randomise(images())
    result = octconvert.convert(model, octave=(1, 2), min_size=1, target_macs=0.8, calibration_budget=5.0)
    assert result.after.macs <= 0.8 * result.before.macs
    inputs = example(model)
    form = octconvert.for_inference(result.model)
    assert largest_difference(run(result.model, inputs), run(form, inputs)) <= 1e-5
