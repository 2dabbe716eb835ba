"""A model in memory is converted, copied and saved with its own functions, and nothing that it holds undecoded runs."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.saving.serialization_lib import SafeModeScope, in_safe_mode
from malicious_files import SUFFIXES, code, edited, function, hidden, turned_into

import octconvert
from octconvert import loading
from octconvert.errors import CheckError, InputError
from octconvert.model.copying import config_of, rebuild

RELU = function("builtins", "relu")
FACTOR = 3.0  # a global of the functions below: code alone would not find it


def halves(x):
    return x / 2.0


def network(*middle: layers.Layer) -> keras.Model:
    image = keras.Input((16, 16, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="a")(image)
    for layer in middle:
        x = layer(x)
    x = layers.Conv2D(8, 3, padding="same", name="b")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="g")(x), name="net")


def converted(model, **options):
    return octconvert.convert(model, octave=1, calibration=False, **options)


def test_functions_that_are_opened_leave_no_code_in_the_file(tmp_path):
    model = network(
        layers.Lambda(lambda x: x * 2.0 + 1.0, name="twice"),
        layers.TimeDistributed(layers.Lambda(lambda x: x - FACTOR, name="inner"), name="rows"),
    )
    samples = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    converted(model, output=tmp_path / "out.keras")
    loaded = loading.load(tmp_path / "out.keras")
    np.testing.assert_allclose(loaded.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-4)


@pytest.mark.quick(".keras")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_functions_of_the_model_are_saved_and_read_again(suffix, tmp_path):
    """Those that do not run on Keras tensors."""
    shift = 0.25
    model = network(
        layers.Lambda(lambda x: x * 2.0 + 1.0 if not hasattr(x, "_keras_history") else None, name="twice"),
        layers.Lambda(
            lambda x, k: x * k if not hasattr(x, "_keras_history") else None,
            arguments={"k": 0.5},
            output_shape=lambda shape: shape,
            name="once",
        ),
        layers.Lambda(keras.ops.relu, name="rectify"),
        layers.TimeDistributed(
            layers.Lambda(lambda x: x - 1.0 if not hasattr(x, "_keras_history") else None, name="inner"), name="rows"
        ),
    )
    result = converted(model, output=tmp_path / f"out{suffix}")
    samples = np.random.default_rng(0).normal(size=(2, 16, 16, 2)).astype("float32")
    np.testing.assert_allclose(result.model.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-4)
    with pytest.raises(InputError, match="`unsafe=True`"):
        loading.load(tmp_path / f"out{suffix}")
    loaded = loading.load(tmp_path / f"out{suffix}", unsafe=True)
    np.testing.assert_allclose(loaded.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-4)
    assert shift == 0.25


def test_copies_share_the_functions_of_the_model():
    offset = np.float32(1.5)
    first = layers.TimeDistributed(layers.Lambda(lambda x: x * FACTOR + offset, name="inner"))
    second = layers.TimeDistributed(layers.Lambda(halves, name="inner"))
    third = layers.TextVectorization(standardize=lambda x: x, vocabulary=["a"])
    x = np.ones((1, 2, 3), "float32")
    assert rebuild(type(first), config_of(first)).layer.function is first.layer.function
    np.testing.assert_allclose(np.asarray(rebuild(type(first), config_of(first))(x)), 4.5)
    assert rebuild(type(second), config_of(second)).layer.function is halves
    assert rebuild(type(third), config_of(third))._standardize is third._standardize


def test_a_layer_may_hold_functions_that_no_configuration_can():
    class Bound(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.shift = lambda x: x + len(self.weights)

        def call(self, x):
            return self.shift(x)

    assert rebuild(Bound, config_of(Bound(name="bound"))).name == "bound"


def test_the_loss_of_a_nested_model_is_not_saved(tmp_path):
    inner = keras.Sequential([keras.Input((16, 16, 8)), layers.BatchNormalization()], name="inner")
    inner.compile("sgd", loss=lambda a, b: keras.ops.mean(a - b))
    model = network(layers.TimeDistributed(layers.Activation("relu"), name="td"), inner)
    converted(model).save(tmp_path / "out.keras")
    assert (tmp_path / "out.keras").exists()


def test_functions_with_the_same_code_are_distinguished():
    def scaled(factor):
        return layers.Lambda(lambda x: x * factor, name=f"by_{factor}")

    two = keras.Sequential([keras.Input((3,)), scaled(2.0), scaled(5.0)])
    layer = layers.TimeDistributed(two)
    layer(np.ones((1, 2, 3), "float32"))
    copy = rebuild(type(layer), config_of(layer))
    np.testing.assert_allclose(np.asarray(copy(np.ones((1, 2, 3), "float32"))), 10.0)


# -- a model that Keras itself loaded, in its safe mode, and that holds what it did not decode ------------------------


def undecoded(tmp_path: Path, mask: dict) -> keras.Model:
    """Keras' reader of .keras files leaves a mask as it is."""
    change = turned_into("r", "Lambda", function=RELU, output_shape=[8, 8, 4], mask=mask, arguments={})
    return keras.saving.load_model(edited(tmp_path / "from_keras.keras", change))


@pytest.mark.quick("model-.keras", "function-.h5")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", [hidden, code], ids=["model", "function"])
def test_undecoded_code_is_not_run_by_the_check_of_a_saved_model(form, suffix, tmp_path):
    mark = tmp_path / "mark"
    model = undecoded(tmp_path, form(mark))
    result = converted(model)
    with pytest.raises(CheckError, match="layer 'r' contains Python code under 'mask'"):
        result.save(tmp_path / f"out{suffix}")
    assert not mark.exists() and not (tmp_path / f"out{suffix}").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_code_beside_the_model_s_own_is_not_run(suffix, tmp_path):
    mark = tmp_path / "mark"
    path = edited(
        tmp_path / "mixed.keras",
        turned_into("r", "Lambda", function=RELU, output_shape=[16, 16, 8], mask=hidden(mark), arguments={}),
        network(layers.ReLU(name="r"), layers.Lambda(lambda x: x * 2.0, name="valid")),
    )
    model = loading.load(path, unsafe=True)
    assert not mark.exists()  # nobody decodes a mask in a .keras file
    with pytest.raises(CheckError, match="layer 'r'"):
        converted(model).save(tmp_path / f"out{suffix}")
    assert not mark.exists()


def test_code_in_a_layer_s_configuration_is_not_run_by_copies(tmp_path):
    mark = tmp_path / "mark"
    outer = layers.TimeDistributed(layers.Lambda(lambda x: x + 1.0, mask=hidden(mark), name="inner"))
    copy = rebuild(type(outer), config_of(outer))
    assert copy.layer.mask == hidden(mark)

    class Strange(layers.Layer):
        def get_config(self):
            return {**super().get_config(), "inner": {"module": "keras.layers", **lambda_record}}

        @classmethod
        def from_config(cls, config):
            keras.saving.deserialize_keras_object(config.pop("inner"))
            return cls(**config)

    lambda_record = {"class_name": "Lambda", "config": {"name": "x", "function": code(mark), "arguments": {}}}
    lambda_record["registered_name"] = None
    with pytest.raises(ValueError, match="lambda"):
        rebuild(Strange, config_of(Strange()))
    assert not mark.exists()


def test_safe_mode_is_restored_after_reading(tmp_path):
    before = in_safe_mode()
    network(layers.Lambda(lambda x: x, name="same")).save(tmp_path / "m.keras")
    loading.load(tmp_path / "m.keras", unsafe=True)
    with pytest.raises(InputError):
        loading.load(tmp_path / "m.keras")
    assert in_safe_mode() is before


def test_keras_unsafe_mode_does_not_allow_code_in_octconvert(tmp_path):
    """Keras' switch is for the user's own loading; here the word is unsafe=True."""
    mark = tmp_path / "mark"
    path = edited(tmp_path / "bad.keras", turned_into("r", "Lambda", function=code(mark)))
    with SafeModeScope(False), pytest.raises(InputError):
        loading.load(path)
    assert not mark.exists()


def test_unsafe_runs_the_code_of_the_file(tmp_path):
    """The marks of these tests are no empty promise."""
    for suffix in SUFFIXES:
        mark = tmp_path / f"mark{suffix}"
        change = turned_into("r", "Lambda", function=code(mark), output_shape=[8, 8, 4], arguments={})
        loading.load(edited(tmp_path / f"m{suffix}", change), unsafe=True)(np.ones((1, 8, 8, 2)))
        assert mark.exists()


MODES: dict[str, set] = {}


def recording(base):
    class Recording(base):
        def __init__(self, *arguments, **options):
            MODES.setdefault(base.__name__, set()).add(in_safe_mode())
            super().__init__(*arguments, **options)

    return keras.saving.register_keras_serializable("test_trust_models", base.__name__)(Recording)


@pytest.mark.quick(".keras-False", ".h5-True")
@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_objects_of_a_file_are_created_in_safe_mode(suffix, unsafe, tmp_path):
    layer, initializer, loss, metric, optimizer = map(
        recording,
        (
            layers.Conv2D,
            keras.initializers.HeNormal,
            keras.losses.MeanSquaredError,
            keras.metrics.AUC,
            keras.optimizers.SGD,
        ),
    )
    model = network(layer(4, 3, kernel_initializer=initializer(), name="mine"))
    model.compile(optimizer(), loss(), metrics=[metric()])
    model.save(tmp_path / f"m{suffix}")
    MODES.clear()
    loaded = loading.read(tmp_path / f"m{suffix}", unsafe=unsafe)
    assert {key: {not unsafe} for key in ("Conv2D", "HeNormal", "MeanSquaredError", "AUC", "SGD")} == MODES, (
        loaded.repairs
    )
