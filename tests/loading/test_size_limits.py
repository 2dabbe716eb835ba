"""Well-formed files with odd content: what they request, what they print, and what is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from edited_files import KINDS, edit_config, edit_weights, kernel, layer, refused, valid_model
from keras import layers

import octconvert
from octconvert import loading
from octconvert.costs import feasibility
from octconvert.errors import InputError, first_line

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ESCAPE = "a\x1b]0;title\x07\x1b[31m\nok: all checks passed\u202e"


def tensor(name: str, shape=(None, 12, 12, 3), call: int = 0) -> dict:
    config = {"shape": list(shape), "dtype": "float32", "keras_history": [name, call, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def constant(value, dtype="float32") -> dict:
    return {"class_name": "__tensor__", "config": {"value": value, "dtype": dtype}}


def operation(kind: str, *args, module="keras.src.ops.numpy", **config) -> dict:
    """The record of a raw operation named 'new'."""
    return {
        "module": module,
        "class_name": kind,
        "registered_name": kind,
        "config": {"name": "new", **config},
        "name": "new",
        "inbound_nodes": [{"args": list(args), "kwargs": {}}],
    }


def of_keras(kind: str, *args, **config) -> dict:
    return {**operation(kind, *args, module="keras.layers", **config), "registered_name": None}


def calling(name: str, arguments: dict, *args, **kwargs) -> dict:
    """A Lambda that calls a function of keras.ops."""
    function = {"class_name": "function", "module": "keras.ops", "config": name, "registered_name": name}
    record = of_keras("Lambda", *args, function=function, arguments=arguments)
    return {**record, "inbound_nodes": [{"args": list(args), "kwargs": kwargs}]}


def with_layer(folder: Path, record: dict, kind: str = "keras", output: bool = False) -> Path:
    """A model's file with one layer more, which may be its only output."""

    def change(model: dict) -> None:
        model["config"]["layers"].append(record)
        if output:
            model["config"]["output_layers"] = ["new", 0, 0]

    return edit_config(valid_model(folder, kind), change)


# -- nothing is computed while a model is built ------------------------------------------------------------------------

ALONE = {
    "zeros": calling("zeros", {}, inputs=[30_000, 30_000]),
    "random numbers": calling("arange", {}, inputs=10**9),
    "a loop without end": operation("WhileLoop", constant(1.0), module="keras.src.ops.core", cond="x", body="x"),
    "repeat": operation("Repeat", constant([1.0]), repeats=10**9, axis=None),
    "a layer": of_keras("UpSampling2D", constant([[[[1.0]]]]), size=[30_000, 30_000]),
    "a decoy": operation("Repeat", constant([1.0]), {"keras_history": ["image", 0, 0]}, repeats=10**9, axis=None),
}


@pytest.mark.quick("zeros-h5", "random numbers-keras", "a loop without end-h5", "a decoy-keras")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ALONE)
def test_layers_called_with_constants_only_are_refused(case, kind, tmp_path):
    assert "'new' is called with constants only" in refused(with_layer(tmp_path, ALONE[case], kind))


COUNTED = {
    "split": (operation("Split", tensor("image"), indices_or_sections=10**8, axis=1), "indices_or_sections"),
    "unstack": (operation("Unstack", tensor("image"), module="keras.src.ops.core", num=10**8, axis=1), "num="),
    "cells": (of_keras("RNN", tensor("image"), cell={"class_name": "X", "config": {"cells": [{}] * 3000}}), "cells"),
    "patches": (operation("ExtractPatches", tensor("image"), module="keras.src.ops.image", size=[300, 300]), "patches"),
    "array": (
        calling("abs", {"x": {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "<U500000000"}}},
                tensor("image")), "long texts",
    ),
}  # fmt: skip


@pytest.mark.quick("split", "cells")
@pytest.mark.parametrize("case", COUNTED)
def test_arguments_that_layers_count_through_are_bounded(case, tmp_path):
    record, words = COUNTED[case]
    assert words in refused(with_layer(tmp_path, record))


@pytest.mark.parametrize(
    "record",
    [
        operation("Unstack", tensor("q", (None, 10**8)), module="keras.src.ops.core", num=None, axis=1),
        calling("unstack", {"axis": 1}, tensor("q", (None, 10**8))),
    ],
)
def test_splitting_a_long_axis_is_refused(record, tmp_path):
    def change(model):
        entry = {"class_name": "InputLayer", "module": "keras.layers", "registered_name": None, "name": "q"}
        config = {"batch_shape": [None, 10**8], "dtype": "float32", "name": "q"}
        model["config"]["layers"] += [{**entry, "config": config, "inbound_nodes": []}, record]

    assert "layer 'q' has batch_shape=100000000" in refused(edit_config(valid_model(tmp_path, "keras"), change))


def chain(count: int, backwards: bool):
    def change(model):
        names = ["image", *(f"r{i}" for i in range(count))]
        records = [of_keras("Activation", tensor(names[i]), activation="relu") for i in range(count)]
        for name, record in zip(names[1:], records, strict=True):
            record["name"] = record["config"]["name"] = name
        model["config"]["layers"] += records[::-1] if backwards else records

    return change


@pytest.mark.long
def test_the_number_of_layers_is_bounded(tmp_path):
    assert "more than 10,000 layers" in refused(edit_config(valid_model(tmp_path, "keras"), chain(12_000, False)))


def test_an_order_of_layers_that_never_ends_is_refused(tmp_path):
    assert "in an order in which" in refused(edit_config(valid_model(tmp_path, "keras"), chain(3000, True)))


def test_an_unusual_order_is_read(tmp_path):
    path = edit_config(valid_model(tmp_path, "keras"), chain(20, True))
    assert len(loading.load(path).layers) == len(
        loading.load(valid_model(tmp_path, "keras")).layers
    )  # what is no output is left out


@pytest.mark.quick("-1")
@pytest.mark.parametrize("axis", [-1, [1, 2], None])
def test_one_number_is_not_repeated_along_an_axis(axis, tmp_path):
    image = keras.Input((4, 5, 3), name="image")
    keras.Model(image, layers.Normalization(axis=axis, mean=0.25, variance=4.0, name="n")(image)).save(
        tmp_path / "m.keras"
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    np.testing.assert_allclose(loading.load(tmp_path / "m.keras").predict(x, verbose=0), (x - 0.25) / 2, rtol=1e-6)

    def grow(model):
        found = next(one for one in model["config"]["layers"] if one["config"]["name"] == "n")
        found["build_config"] = {"input_shape": [None, 4, 5, 10**6]}

    loaded = loading.load(edit_config(tmp_path / "m.keras", grow))
    assert loaded.get_layer("n").mean.shape.num_elements() == 1


# -- constants of old files --------------------------------------------------------------------------------------------


def of_tensorflow(path: Path, function: str, node: list) -> Path:
    """An .h5 file as tf.keras 2.11 wrote it, with one function of TensorFlow."""
    image = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 12, 12, 3], "name": "image"}}
    call = {"class_name": "TFOpLambda", "config": {"name": "z", "function": function}}
    names = ({**image, "name": "image", "inbound_nodes": []}, {**call, "name": "z", "inbound_nodes": [node]})
    config = {"name": "m", "layers": names, "input_layers": [["image", 0, 0]], "output_layers": [["z", 0, 0]]}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        file.attrs["keras_version"], file.attrs["backend"] = "2.11.0", "tensorflow"
        file.create_group("model_weights").attrs["layer_names"] = []
    return path


IMAGE = ["image", 0, 0]
CONSTANTS = {
    "fill": ["_CONSTANT_VALUE", -1, [10**9], {"value": 1, "name": IMAGE}],
    "broadcast_to": [*IMAGE, {"shape": [30_000, 30_000, 12, 1, 1]}],
    "compat.v1.image.resize_bilinear": [*IMAGE, {"size": [10**9, 2]}],
    "compat.v1.image.resize_nearest_neighbor": [*IMAGE, {"size": [10**9, 2]}],
    "image.extract_patches": [
        *IMAGE, {"sizes": [1, 300, 300, 1], "strides": [1] * 4, "rates": [1] * 4, "padding": "SAME"},
    ],
}  # fmt: skip


@pytest.mark.quick("fill", "image.extract_patches")
@pytest.mark.parametrize("function", CONSTANTS)
def test_constants_of_tensorflow_functions_are_bounded(function, tmp_path):
    assert "it needs a constant of" in refused(of_tensorflow(tmp_path / "m.h5", function, CONSTANTS[function]))


# -- what is printed ---------------------------------------------------------------------------------------------------

NAMED = {
    "function": lambda path: of_tensorflow(path, ESCAPE, [*IMAGE, {}]),
    "argument": lambda path: of_tensorflow(path, "nn.relu", [*IMAGE, {ESCAPE: 1}]),
    "length": lambda path: of_tensorflow(path, "nn.relu", [*IMAGE, {"q": "x" * 10**5}]),
}


@pytest.mark.parametrize("case", NAMED)
def test_errors_print_no_control_characters_of_a_file(case, tmp_path):
    line = refused(NAMED[case](tmp_path / "m.h5"))
    assert line.startswith(f"{tmp_path}/m.h5: layer 'z' calls TensorFlow's tf.") and line.endswith("save it again")


@pytest.mark.quick("keras")
@pytest.mark.parametrize("kind", KINDS)
def test_names_that_can_not_be_printed_are_replaced(kind, tmp_path):
    plain = loading.load(valid_model(tmp_path, kind))

    def rename(model):
        text = json.dumps(model)
        for old, new in {'"a"': ESCAPE, '"b"': "a\ud800", '"valid"': "valid\u202e"}.items():
            text = text.replace(old, json.dumps(new))
        model.update(json.loads(text))

    path = edit_config(valid_model(tmp_path, kind), rename)
    if kind == "h5":
        with h5py.File(path, "r+") as file:
            weights = file["model_weights"]
            names = [name.decode() if isinstance(name, bytes) else name for name in weights.attrs["layer_names"]]
            weights.move("a", ESCAPE)
            changed = [ESCAPE if name == "a" else name for name in names]
            weights.attrs["layer_names"] = [name.encode() for name in changed]
            rest = {"image", "up", "gap", "d", ESCAPE}
            if "b" in names:  # h5py writes no halves of characters: this layer keeps its name
                config = json.loads(file.attrs["model_config"])
                file.attrs["model_config"] = json.dumps(config).replace(json.dumps("a\ud800"), '"b"')
                rest.add("b")
            assert set(changed) == rest
    loaded = loading.read(path)
    assert all(layer.name.isprintable() for layer in loaded.model.layers) and loaded.model.name.isprintable()
    assert any("can not be printed were replaced" in line for line in loaded.repairs)
    assert all(line.isprintable() for line in loaded.repairs)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.model(x), plain(x))


def test_reports_print_no_control_characters_and_no_markup_of_names():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="\x1b[2J[red]a")(image)
    x = layers.Conv2D(8, 3, padding="same", name="[bold]b")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x), name="m\x1b[2J")
    result = octconvert.convert(model, calibration=False)
    text = str(result)
    assert "\x1b" not in text and "[red]a" in text and "[bold]b" in text


# -- what can not be run -----------------------------------------------------------------------------------------------


def test_a_layer_that_fails_at_run_time_is_reported_in_one_line(tmp_path):
    def change(model):
        layer(model, "b").update(strides=[1, 1], dilation_rate=[10**9, 10**9])

    path = edit_config(valid_model(tmp_path, "keras"), change)
    assert "layer 'b' can not be run" in refused(path, lambda path: octconvert.convert(path, calibration=False))


def test_steps_one_by_one_are_bounded(tmp_path):
    sequence = keras.Input((10**6, 1), name="sequence")
    x = layers.TimeDistributed(layers.Activation("relu", name="inner"), name="each")(sequence)
    model = keras.Model(sequence, x)
    with pytest.raises(InputError, match="'each' runs 1,000,000 steps one by one"):
        octconvert.convert(model, calibration=False)


def test_multiplications_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(feasibility, "MACS", 10**5)
    assert "one run needs" in refused(valid_model(tmp_path, "keras"), lambda path: octconvert.convert(path))


def test_the_reason_at_the_end_of_a_traceback_is_kept():
    error = ValueError('in user code:\n\n    File "x.py", line 1, in f\n\n    ValueError: the reason\n')
    assert first_line(error) == "ValueError: the reason"


# -- what is odd and right ---------------------------------------------------------------------------------------------


def test_weights_in_bfloat16_are_read_from_h5(tmp_path):
    """Keras writes them there and can not read them."""
    image = keras.Input((6, 6, 3), dtype="bfloat16", name="image")
    x = layers.Conv2D(4, 3, dtype="bfloat16", bias_initializer="random_normal", name="a")(image)
    model = keras.Model(image, layers.Flatten(dtype="bfloat16", name="f")(x))
    model.save(tmp_path / "m.h5")
    for value, expected in zip(loading.load(tmp_path / "m.h5").weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(value, "float32"), np.asarray(expected, "float32"))


def test_untyped_bytes_are_refused_as_weights(tmp_path):
    def change(file):
        values = file[kernel(path)][()].astype("f4")
        del file[kernel(path)]
        file[kernel(path)] = values.view("V4")

    path = valid_model(tmp_path, "h5")
    assert "layer 'd' has a weight that does not consist of numbers" in refused(edit_weights(path, change))
