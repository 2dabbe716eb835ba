"""Without `unsafe`, nothing in a file runs code, opens another file or calls what is not a part of a network."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import h5py
import keras
import pytest
from edited_files import refused, set_version
from keras import layers
from malicious_files import (
    SUFFIXES,
    byte_code,
    code,
    configuration,
    edited,
    function,
    hidden,
    network,
    record,
    substitute,
    turned_into,
    value_code,
)

from octconvert import loading
from octconvert.errors import InputError
from octconvert.loading.context import LoadingContext
from octconvert.loading.repairing import repair_in_place

RELU = function("builtins", "relu")


def refused_alone(suffix: str, change) -> str:
    """The same for the configuration without a file around it."""
    with pytest.raises(InputError) as caught:
        repair_in_place(configuration(suffix, change), LoadingContext(Path("model"), 3))
    return str(caught.value)


def put(name: str, key: str, value) -> object:
    def change(model: dict) -> None:
        record(model, name)["config"][key] = value

    return change


def put_beside(name: str, key: str, value) -> object:
    def change(model: dict) -> None:
        record(model, name)[key] = value

    return change


def keyword(value) -> object:
    """The layer 'r' is called with one more argument."""

    def change(model: dict) -> None:
        record(model, "r")["inbound_nodes"][0]["kwargs"]["training"] = value

    return change


# (what, the change that needs the mark's path, the layer named, the key named)
CODE = [
    ("function", lambda m: turned_into("r", "Lambda", function=code(m)), "r", "function"),
    (
        "old list",
        lambda m: turned_into("r", "Lambda", function=[byte_code(m), None, None]),
        "r",
        "function",
    ),
    (
        "old list with its type",
        lambda m: turned_into("r", "Lambda", function=[byte_code(m), None, None], function_type="lambda"),
        "r",
        "function",
    ),
    ("output shape", lambda m: turned_into("r", "Lambda", function=RELU, output_shape=code(m)), "r", "output_shape"),
    (
        "old output shape",
        lambda m: turned_into(
            "r",
            "Lambda",
            function=RELU,
            output_shape=[byte_code(m), None, None],
            output_shape_type="lambda",
        ),
        "r",
        "output_shape",
    ),
    ("mask", lambda m: turned_into("r", "Lambda", function=RELU, mask=code(m)), "r", "mask"),
    ("mask in a model", lambda m: turned_into("r", "Lambda", function=RELU, mask=hidden(m)), "r", "mask"),
    ("mask in a list", lambda m: turned_into("r", "Lambda", function=RELU, mask=[[hidden(m)]]), "r", "mask"),
    (
        "argument",
        lambda m: turned_into("r", "Lambda", function=RELU, arguments={"x": {"y": [value_code(m)]}}),
        "r",
        "arguments",
    ),
    (
        "default value",
        lambda m: turned_into("r", "Lambda", function=RELU, arguments={"d": {"a": [code(m), None]}}),
        "r",
        "arguments",
    ),
    ("in TimeDistributed", lambda m: turned_into("inner", "Lambda", function=code(m)), "inner", "function"),
    (
        "in Bidirectional",
        lambda m: turned_into(
            "r", "Bidirectional", layer={"class_name": "Lambda", "config": {"name": "low", "function": code(m)}}
        ),
        "low",
        "function",
    ),
    (
        "in a recurrent layer",
        lambda m: turned_into("r", "RNN", cell={"class_name": "Lambda", "config": {"name": "c", "function": code(m)}}),
        "r",
        "cell",
    ),
    (
        "in a nested model",
        lambda m: turned_into("r", "Sequential", layers=hidden(m)["config"]["layers"]),
        "q",
        "function",
    ),
    ("activation", lambda m: put("a", "activation", value_code(m)), "a", "activation"),
    ("activation without its kind", lambda m: put("a", "activation", value_code(m)["config"]), "a", "activation"),
    ("initial values", lambda m: put("a", "kernel_initializer", value_code(m)), "a", "kernel_initializer"),
    (
        "inside initial values",
        lambda m: put("a", "kernel_initializer", {"class_name": "Constant", "config": {"value": value_code(m)}}),
        "a",
        "kernel_initializer",
    ),
    ("regularizer", lambda m: put("a", "kernel_regularizer", hidden(m)), "a", "kernel_regularizer"),
    ("type", lambda m: put("a", "dtype", hidden(m)), "a", "dtype"),
    ("quantization", lambda m: put("a", "quantization_config", hidden(m)), "a", "quantization_config"),
    ("unknown argument", lambda m: put("a", "surprise", {"deep": [[{"er": hidden(m)}]]}), "a", "surprise"),
    ("argument of a call", lambda m: keyword(value_code(m)), "r", "inbound_nodes"),
    ("build settings", lambda m: put_beside("a", "build_config", {"input_shape": value_code(m)}), "a", "build_config"),
    ("unknown entry", lambda m: put_beside("a", "extra", hidden(m)), "a", "extra"),
]


@pytest.mark.quick(
    "function-.keras",
    "function-.h5",
    "old list-.h5",
    "old list with its type-.keras",
    "output shape-.h5",
    "mask-.keras",
    "argument-.h5",
    "default value-.keras",
    "in TimeDistributed-.keras",
    "in Bidirectional-.h5",
    "in a nested model-.keras",
    "activation-.h5",
    "initial values-.keras",
    "regularizer-.h5",
    "quantization-.keras",
    "argument of a call-.keras",
    "build settings-.h5",
    "unknown entry-.keras",
)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("change, layer, key", [row[1:] for row in CODE], ids=[row[0] for row in CODE])
def test_code_is_refused_in_any_place(change, layer, key, suffix, tmp_path):
    mark = tmp_path / "mark"
    message = refused(edited(tmp_path / f"bad{suffix}", change(mark)))
    assert not mark.exists()
    assert f"layer '{layer}' contains Python code under '{key}'" in message and "`unsafe=True`" in message


@pytest.mark.quick(".keras-2.15.0", ".h5-2.4.0")
@pytest.mark.parametrize("version", ["2.15.0", "2.4.0"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_code_is_refused_in_old_files(suffix, version, tmp_path):
    mark = tmp_path / "mark"
    change = turned_into("inner", "Lambda", function=[byte_code(mark), None, None], function_type="lambda")
    path = edited(tmp_path / f"bad{suffix}", change)
    set_version(path, version)
    assert "'inner' contains Python code" in refused(path)
    assert not mark.exists()


FOREIGN = [
    ("downloads", function("keras.utils", "get_file")),
    ("draws", function("keras.utils", "plot_model")),
    ("switches", function("keras.config", "enable_unsafe_deserialization")),
    ("loads", function("keras.models", "load_model")),
    ("builds", function("keras.layers", "deserialize")),
    ("builds by a short name", function("builtins", "deserialize")),
    ("builds models", function("keras.models", "clone_model")),
    ("reads weights", function("keras.applications.resnet50", "ResNet50")),
    ("calls", function("keras.tree", "map_structure")),
    ("a class in the place of a function", function("keras.layers", "StringLookup")),
    ("system", function("os", "system")),
    ("built-in", function("builtins", "eval")),
    ("internal", function("keras.src.backend.common.global_state", "set_global_attribute")),
    (
        "hidden by a registered name",
        {**function("keras.utils", "plot_model"), "registered_name": "octconvert>OctaveCrop"},
    ),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [row[1] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_only_functions_on_tensors_may_be_named(value, suffix):
    message = refused_alone(suffix, turned_into("r", "Lambda", function=value))
    assert "layer 'r'" in message and value["config"] in message


CLASSES = [
    ("a SavedModel", "keras.layers", "TFSMLayer", {"filepath": "somewhere"}),
    ("a pickle", "keras.layers", "TorchModuleWrapper", {"module": "gASVIAAA"}),
    ("functions of JAX", "keras.layers", "JaxLayer", {"call_fn": RELU, "init_fn": RELU}),
    ("a callback", "keras.callbacks", "CSVLogger", {"filename": "written"}),
    ("a function as a class", "keras.utils", "plot_model", {}),
    ("a function of the old reader's module", "keras.layers", "deserialize", {"config": {}}),
    ("an editor of files", "keras.saving", "KerasFileEditor", {"filepath": "x.keras"}),
    ("a module", "subprocess", "Popen", {"args": "id"}),
    ("a name that is none", "keras.layers", 7, {}),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("module, kind, config", [row[1:] for row in CLASSES], ids=[row[0] for row in CLASSES])
def test_only_parts_of_networks_are_built(module, kind, config, suffix):
    written = {"module": module, "class_name": kind, "config": config, "registered_name": None}
    for value in (written, {"class_name": kind, "config": config}):
        change = turned_into("r", "Lambda", function=RELU, arguments={"x": value})
        assert str(kind) in refused_alone(suffix, change)

    def as_layer(model: dict) -> None:
        found = record(model, "r")
        found.update(class_name=kind, config={"name": "r", **config})
        if "module" in found:
            found["module"] = module

    assert str(kind) in refused_alone(suffix, as_layer)


IMPORTS = [
    ("class", {"class_name": "Thing", "config": {}, "registered_name": "Thing"}),
    ("function", {"class_name": "function", "config": "Thing", "registered_name": "Thing"}),
    ("type", {"class_name": "__typespec__", "spec_name": "Thing", "config": [], "registered_name": None}),
    ("class with the name of a value", {"class_name": "TypeSpec", "config": {}, "registered_name": None}),
]


@pytest.mark.parametrize("module", ["payload", "keras_hub", "keras.payload"])
@pytest.mark.parametrize("value", [row[1] for row in IMPORTS], ids=[row[0] for row in IMPORTS])
def test_no_module_is_imported_for_a_file(value, module, tmp_path, monkeypatch):
    package = tmp_path / "keras_hub"
    package.mkdir()
    for place in (package / "__init__.py", tmp_path / "payload.py"):
        place.write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(keras, "__path__", [*keras.__path__, str(tmp_path)])
    change = turned_into("r", "Lambda", function=RELU, arguments={"x": {**value, "module": module}})
    assert "layer 'r'" in refused_alone(".keras", change)
    around = {"module": "keras.initializers", "class_name": "Constant", "registered_name": None}
    change = put("a", "kernel_initializer", {**around, "config": {"value": {**value, "module": module}}})
    repair_in_place(
        configuration(".keras", change), LoadingContext(Path("model"), 3)
    )  # only training needs it: left out
    assert not (tmp_path / "mark").exists()


# -- training settings -------------------------------------------------------------------------------------------------


def settings(mark: Path) -> dict[str, object]:
    return {
        "loss": value_code(mark),
        "metrics": [[hidden(mark)]],
        "optimizer": {
            "module": "keras.optimizers",
            "class_name": "Adam",
            "registered_name": None,
            "config": {"learning_rate": hidden(mark)},
        },
        "loss_weights": {"class_name": "TFSMLayer", "config": {"filepath": "x"}},
    }


@pytest.mark.quick("loss", "optimizer")
@pytest.mark.parametrize("key", ["loss", "metrics", "optimizer", "loss_weights"])
def test_training_settings_with_code_are_left_out(key, tmp_path):
    model, mark = network(), tmp_path / "mark"
    model.compile("adam", "mse", metrics=["mae"])

    def change(config: dict) -> None:
        config["compile_config"][key] = settings(mark)[key]

    loaded = loading.read(edited(tmp_path / "bad.keras", change, model))
    assert not loaded.model.compiled and not mark.exists()
    assert any("training settings" in note for note in loaded.repairs)


def test_training_settings_of_a_nested_model_with_code_are_left_out(tmp_path):
    mark = tmp_path / "mark"

    def change(config: dict) -> None:
        turned_into("r", "Sequential", layers=hidden(mark)["config"]["layers"][:1])(config)
        entry = record(config, "r")["config"]["layers"][0]
        entry["config"]["batch_shape"] = [None, 8, 8, 4]
        entry["module"] = "keras.layers"
        record(config, "r").update(module="keras", compile_config={"loss": value_code(mark)})

    assert not loading.read(edited(tmp_path / "bad.keras", change)).model.compiled
    assert not mark.exists()


@pytest.mark.parametrize("key", ["loss", "metrics", "optimizer_config"])
def test_training_settings_of_h5_files_with_code_are_left_out(key, tmp_path):
    model, mark, path = network(), tmp_path / "mark", tmp_path / "bad.h5"
    model.compile("adam", "mse", metrics=["mae"])
    model.save(path)
    with h5py.File(path, "r+") as file:
        stored = json.loads(file.attrs["training_config"])
        stored[key] = settings(mark)[key.removesuffix("_config")]
        file.attrs["training_config"] = json.dumps(stored)
    loaded = loading.read(path)
    assert not mark.exists()
    assert any("could not be restored" in note for note in loaded.repairs)
    assert loaded.model.compiled == (key != "loss")  # without a loss there is nothing to compile for


# -- other files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    """A named pipe as a vocabulary: who opens it is seen."""
    pipe, seen = tmp_path / "pipe", []
    os.mkfifo(pipe)

    def feed() -> None:
        while not done.is_set():
            try:
                end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # fails while nobody reads
            except OSError:
                done.wait(0.01)
                continue
            seen.append(True)
            os.write(end, b"one\ntwo\n")
            os.close(end)

    done = threading.Event()
    thread = threading.Thread(target=feed)
    thread.start()
    yield pipe, seen
    done.set()
    thread.join()


@pytest.mark.quick(
    "StringLookup-{}-.keras",
    "StringLookup-{'has_input_vocabulary': True}-.h5",
    "IntegerLookup-{'vocabulary_size': 2}-.keras",
    "TextVectorization-{}-.h5",
)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("extra", [{}, {"vocabulary_size": 2}, {"has_input_vocabulary": True}], ids=str)
@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_no_vocabulary_is_read(kind, extra, suffix, opened, tmp_path):
    pipe, seen = opened
    change = turned_into("r", kind, vocabulary=str(pipe), **extra)
    message = refused(edited(tmp_path / f"bad{suffix}", change))
    assert f"layer 'r' reads the file '{str(pipe)[:20]}" in message and "'vocabulary'" in message
    assert not seen


@pytest.mark.long
def test_no_vocabulary_is_read_inside_of_other_layers(opened, tmp_path):
    pipe, seen = opened
    lookup = {"class_name": "StringLookup", "config": {"name": "deep", "vocabulary": str(pipe), "vocabulary_size": 2}}
    written = {"class_name": "__numpy__", "config": {"value": str(pipe), "dtype": "str"}}
    for number, change in enumerate(
        (
            turned_into("inner", "StringLookup", vocabulary=str(pipe), vocabulary_size=2),
            turned_into("r", "Pipeline", layers=[lookup]),
            turned_into("r", "Lambda", function=RELU, arguments={"x": lookup}),
            turned_into("r", "StringLookup", vocabulary=written, vocabulary_size=2),
            turned_into("r", "StringLookup", vocabulary={"type": "ndarray", "value": str(pipe)}, vocabulary_size=2),
        )
    ):
        refused(edited(tmp_path / f"bad{number}.keras", change))
    assert not seen


# -- configurations of an unusual shape --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_too_deep_nesting_is_refused_in_one_line(suffix, tmp_path):
    path, deep = tmp_path / f"deep{suffix}", 90_000

    def change(model: dict) -> None:
        record(model, "a")["config"]["surprise"] = "HERE"

    edited(path, change)
    substitute(path, '"HERE"', "[" * deep + "]" * deep)
    refused(path)


def test_the_message_is_one_line_for_any_name(tmp_path):
    def change(model: dict) -> None:
        turned_into("r", "StringLookup", vocabulary="x\n" * 5000)(model)

    assert len(refused(edited(tmp_path / "bad.keras", change))) < 600


# -- valid files -------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("test_trust_files")
class Registered(layers.Layer):
    def __init__(self, settings=None, **options):
        super().__init__(**options)
        self.settings = settings

    def call(self, x):
        return x

    def get_config(self):
        return {**super().get_config(), "settings": self.settings}


class Passed(Registered):
    pass


def times(x):
    return x * 2.0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_valid_files_load(suffix, tmp_path):
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, activation=times, kernel_initializer="he_normal", kernel_regularizer="l2")(image)
    x = layers.Conv2D(4, 1, activation=keras.layers.LeakyReLU(0.1) if suffix == ".keras" else "leaky_relu")(x)
    x = Registered(settings={"class_name": "colour", "config": [1, 2]}, name="mine")(x)
    x = layers.Lambda(keras.ops.relu, name="rectify")(x)
    x = layers.Lambda(times, name="double", output_shape=(6, 6, 4))(x)
    x = layers.TimeDistributed(layers.Dense(3), name="td")(Passed(name="passed")(x))
    x = layers.Bidirectional(layers.LSTM(2))(layers.Reshape((36, 3))(x))
    model = keras.Model(image, x)
    model.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)), "mse", metrics=["mae"]
    )
    model.save(tmp_path / f"m{suffix}")
    mine = {"times": times, "Passed": Passed}
    loaded = loading.load(tmp_path / f"m{suffix}", custom_objects=mine)
    assert loaded.get_layer("mine").settings == {"class_name": "colour", "config": [1, 2]}
    assert loaded.compiled


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_vocabularies_in_the_file_load(suffix, tmp_path):
    words = keras.Input((), dtype="string", name="words")
    lookup = layers.StringLookup(vocabulary=["one", "two"], name="lookup")(words)
    model = keras.Model(words, layers.Embedding(4, 2)(lookup))
    model.save(tmp_path / f"m{suffix}")
    assert loading.load(tmp_path / f"m{suffix}").get_layer("lookup").get_vocabulary() == ["[UNK]", "one", "two"]
