"""Odd values for the arguments of the public functions end in one line of our own, never in an error from inside."""

from __future__ import annotations

import inspect
import json

import keras
import numpy as np
import pytest
from keras import layers

import octconvert
from octconvert import OctconvertError
from octconvert.options import limits

ODD = {
    "none": None,
    "zero": 0,
    "negative": -1,
    "fraction": 1.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge": 2**70,
    "thousands of digits": 10**5000,
    "numpy integer": np.int64(2),
    "numpy float": np.float32(0.25),
    "true": True,
    "empty text": "",
    "bracket": "[",
    "NUL": "a\0b.keras",
    "bytes": b"x",
    "empty list": [],
    "list of none": [None],
    "empty dict": {},
    "dict": {"a": 1},
    "object": object(),
    "array without axes": np.array(3),
    "array": np.array([1.0, 2.0]),
    "function": len,
    "class": int,
    "set": {1},
}


@pytest.fixture(scope="module")
def model():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="a")(image)
    return keras.Model(image, layers.Conv2D(8, 3, padding="same", name="b")(x))


def names_of(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters]


# What runs for long where the value is right is left out here: times and calibrations have tests of their own.
CALLS = {
    "convert": (octconvert.convert, {"calibration": False}, {"model_or_path", "calibration", "benchmark"}),
    "plan": (octconvert.plan, {}, {"model_or_path"}),
    "export": (octconvert.export, {"output": "out.tflite", "for_inference": False}, {"model_or_path"}),
    "for_inference": (octconvert.for_inference, {}, {"model"}),
}


@pytest.mark.quick(
    "convert-none",
    "convert-thousands of digits",
    "convert-numpy integer",
    "convert-true",
    "convert-NUL",
    "convert-array",
    "plan-none",
    "plan-nan",
    "plan-bytes",
    "plan-dict",
    "export-none",
    "export-huge",
    "export-object",
    "for_inference-fraction",
    "for_inference-list of none",
)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("call", CALLS)
def test_odd_values_of_arguments(call, odd, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, given, left_out = CALLS[call]
    for name in set(names_of(function)) - left_out:
        if name == "progress" and callable(ODD[odd]):
            continue  # what such a function raises is the user's own
        try:
            function(model, **{**given, name: ODD[odd]})
        except OctconvertError as error:
            assert "\n" not in str(error) and len(str(error)) < 500, name


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_of_models_and_paths(odd, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    conversion = octconvert.convert(model, calibration=False)
    for function in (
        octconvert.convert,
        octconvert.plan,
        octconvert.load,
        octconvert.for_inference,
        lambda value: octconvert.export(value, "x.onnx"),
        lambda value: octconvert.diff(model, value),
        lambda value: octconvert.bench(value, runtimes=["litert"], rounds=1),
        lambda value: octconvert.bench([model], runtimes=() if value is None else value, rounds=1),
        lambda value: conversion.save(value),
    ):
        with pytest.raises(OctconvertError):
            function(ODD[odd])


@pytest.mark.parametrize("name", limits.WHOLE)
def test_the_ends_of_a_range_are_allowed_and_what_is_beyond_is_not(name):
    least, most = limits.WHOLE[name]
    assert limits.whole(name, least) == least
    assert limits.whole(name, np.int64(most)) == most
    for value in (least - 1, most + 1, float(least), True, str(least), None):
        with pytest.raises(OctconvertError, match=f"`{name}` takes a whole number from {least} to {most}"):
            limits.whole(name, value)


@pytest.mark.parametrize("octave", [3, 128, 2**40, 0, -2, 2.0, "2"])
def test_octaves_are_powers_of_two_up_to_64(model, octave):
    with pytest.raises(OctconvertError, match="power of two"):
        octconvert.plan(model, octave=octave)


def test_numpy_numbers_are_taken_and_written(model, tmp_path):
    plan = octconvert.plan(model, alpha=np.float32(0.5), octave=np.int64(2), min_size=np.int32(4))
    assert octconvert.plan(model, plan=plan) == type(plan).from_json(plan.to_json())


@pytest.mark.parametrize(
    "edit, key",
    [
        (lambda data: data["convolutions"][0].update(name={"a": 1}), "name"),
        (lambda data: data["convolutions"][0].update(frozen="yes"), "frozen"),
        (lambda data: data["groups"][0].update(alpha="0.5"), "alpha"),
        (lambda data: data["groups"][0].update(producers="a"), "producers"),
        (lambda data: data["groups"][0].update(selection=[["1"]]), "selection"),
        (lambda data: data["groups"][0].update(selection={}), "selection"),
        (lambda data: data["chains"].append(3), "chains"),
        (lambda data: data.update(octave=2**40), "octave"),
        (lambda data: data.update(octave=True), "octave"),
        (lambda data: data.update(elementwise=[["x"]]), "elementwise"),
        (lambda data: data.update(weights=["slice"]), "weights"),
    ],
)
def test_a_plan_with_a_value_of_the_wrong_kind_names_its_key(model, tmp_path, edit, key):
    data = json.loads(octconvert.plan(model).to_json())
    edit(data)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(OctconvertError, match=key) as failure:
        octconvert.convert(model, plan=path, calibration=False)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": ' + "9" * 5000 + "}", '"', "[]", "{}", "null"])
def test_what_is_no_plan_is_refused_in_one_line(model, tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(OctconvertError, match=r"plan\.json: not") as failure:
        octconvert.plan(model, plan=str(path))
    assert len(str(failure.value)) < 500


def test_a_plan_is_not_read_from_a_device(model):
    with pytest.raises(OctconvertError, match="not a regular file"):
        octconvert.plan(model, plan="/dev/zero")


@pytest.mark.parametrize("call", [octconvert.convert, octconvert.plan, octconvert.export, octconvert.bench])
def test_an_argument_that_is_misspelled_is_named_with_the_one_that_is_meant(call, model):
    with pytest.raises(TypeError, match=rf"{call.__name__}\(\) has no argument 'verifi'.*(did you mean|help)"):
        call(model, verifi=True)
    with pytest.raises(TypeError, match="has no argument 'calibrate'; did you mean 'calibration'"):
        octconvert.convert(model, calibrate=False)
    with pytest.raises(TypeError, match=rf"{call.__name__}\(\): missing a required argument"):
        call()
