"""Every way the layers are meant to be used, from an Input to a saved file that loads in a fresh process."""

import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from layer_reference import close, randomise

from octconvert.layers import (
    OctaveConv2D,
    OctaveCrop,
    OctaveDepthwiseConv2D,
    OctaveMerge,
    OctavePooling2D,
    octave_conv_2d,
    octave_dual,
)

ROOT = pathlib.Path(__file__).parents[2]


def by_hand():
    """First layer on an Input, intermediate after pooling of both, last with ratio_out=0.0, Flatten, Dense."""
    image = keras.Input((16, 16, 3))
    high, low = OctaveConv2D(8, 3, activation="relu", name="first")(image)
    high, low = layers.MaxPool2D()(high), layers.MaxPool2D()(low)
    high, low = OctaveConv2D(8, 3, activation="relu", name="intermediate")([high, low])
    high, low = layers.MaxPool2D()(high), layers.MaxPool2D()(low)
    x = OctaveConv2D(6, 3, ratio_out=0.0, name="last")([high, low])
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def dual():
    """The same network; octave_dual in place of two calls, and BatchNormalization of both."""
    image = keras.Input((16, 16, 3))
    pair = OctaveConv2D(8, 3, use_bias=False, name="first")(image)
    pair = octave_dual(pair, lambda: layers.BatchNormalization(name="norm"))
    pair = octave_dual(pair, layers.ReLU(name="relu"))
    pair = octave_dual(pair, layers.MaxPool2D(name="pool"))
    skip = pair
    pair = OctaveConv2D(8, 3, activation="relu", name="intermediate")(pair)
    pair = octave_dual([pair, skip], layers.Add(name="add"))
    pair = octave_dual(pair, lambda: layers.MaxPool2D(name="pool2"))
    x = OctaveConv2D(6, 3, ratio_out=0.0, name="last")(pair)
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def built_in():
    """The same network out of Keras' own layers."""
    image = keras.Input((16, 16, 3))
    pair = octave_conv_2d(image, 8, 3, activation="relu", name="first")
    pair = octave_dual(pair, layers.MaxPool2D(name="pool"))
    pair = octave_conv_2d(pair, 8, 3, activation="relu", name="intermediate")
    pair = octave_dual(pair, layers.MaxPool2D(name="pool2"))
    x = octave_conv_2d(pair, 6, 3, ratio_out=0.0, name="last")
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def mobile():
    """Every other layer of the library, on sizes that are not known: depthwise, pooling, crop and merge."""
    image = keras.Input((None, None, 3))
    pair = OctaveConv2D(8, 3, strides=2, ratio_out=0.25, padding=((1, 1), (1, 1)), activation="relu")(image)
    pair = OctaveDepthwiseConv2D(3, strides=2, activation="relu")(pair)
    pair = OctaveConv2D(8, 1, groups=2)(pair)
    high, low = OctavePooling2D("max", 3, 2, "same")(pair)
    high, low = layers.UpSampling2D()(high), layers.UpSampling2D()(low)
    low = OctaveCrop()([high, low])
    x = OctaveMerge(order=[7, 0, 1, 2, 3, 4, 5, 6])([high, low])
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def images(count=24, seed=0):
    """Four classes: where the bright quarter is, and in which colour."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    x = generator.normal(size=(count, 16, 16, 3), scale=0.3)
    for i, label in enumerate(labels):
        quarter = x[i, 8 * (label // 2) :, 8 * (label % 2) :][:8, :8]
        quarter += np.array([label // 2, label % 2, 1.0]) * 2
    return x.astype("float32"), labels


@pytest.mark.long
@pytest.mark.parametrize("make", [by_hand, dual, built_in, mobile])
def test_fit_save_load_predict(make, tmp_path):
    model = make()
    data, labels = images()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    before = model.test_on_batch(data, labels)
    model.fit(data, labels, batch_size=12, epochs=8, verbose=0)
    assert model.test_on_batch(data, labels) < 0.8 * before
    expected = np.asarray(model(data))
    for file in ("model.keras", "model.h5"):
        model.save(tmp_path / file)
        loaded = keras.models.load_model(tmp_path / file)
        close(loaded(data), expected)
        assert loaded.count_params() == model.count_params()
    close(loaded.predict(data, batch_size=24, verbose=0), expected)


@pytest.mark.long
def test_unknown_sizes_run_at_several_sizes():
    model = randomise(mobile(), seed=2)
    function = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec([None, None, None, 3])])
    generator = np.random.default_rng(0)
    for size in ((16, 12), (15, 17), (21, 10), (9, 30)):
        x = generator.normal(size=(2, *size, 3)).astype("float32")
        close(function(x), model(x))
    assert function.experimental_get_tracing_count() == 1


@pytest.mark.quick("by_hand", "dual", "built_in")
@pytest.mark.parametrize("make", [by_hand, dual, built_in, mobile])
def test_every_weight_learns(make):
    """No path is cut off: every trainable weight gets a gradient that is not zero."""
    model = make()
    data, labels = images(8)
    with tf.GradientTape() as tape:
        output = model(data, training=True)
        loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, output))
    weights = model.trainable_weights
    assert len(weights) >= 10
    for weight, gradient in zip(weights, tape.gradient(loss, [w.value for w in weights]), strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 1e-6, weight.path


def test_shapes_and_roles():
    model = by_hand()
    first, intermediate, last = (model.get_layer(name) for name in ("first", "intermediate", "last"))
    assert [x.shape for x in first.output] == [(None, 16, 16, 4), (None, 8, 8, 4)]
    assert [x.shape for x in intermediate.output] == [(None, 8, 8, 4), (None, 4, 4, 4)]
    assert last.output.shape == (None, 4, 4, 6)
    assert [len(layer.weights) for layer in (first, intermediate, last)] == [4, 6, 3]


def test_layers_by_hand_and_octave_dual_are_one_network():
    one, two = by_hand(), by_hand()
    two.set_weights(one.get_weights())
    data = images(4)[0]
    close(two(data), one(data))
    high, low = one.get_layer("first")(data)
    by_two = [np.asarray(x).reshape(4, x.shape[1] // 2, 2, x.shape[2] // 2, 2, 4).max((2, 4)) for x in (high, low)]
    for actual, wanted in zip(octave_dual([high, low], layers.MaxPool2D), by_two, strict=True):
        close(actual, wanted)


def test_built_in_version_has_named_layers_and_draws(tmp_path):
    model = built_in()
    names = {layer.name for layer in model.layers}
    for block, paths in (("first", "HH HL"), ("intermediate", "HH HL LH LL"), ("last", "HH LH")):
        assert {f"{block}-{path}" for path in paths.split()} == {
            n for n in names if n.startswith(f"{block}-") and n[-2:] in ("HH", "HL", "LH", "LL")
        }
    if shutil.which("dot") is None:
        pytest.skip("graphviz' dot is not installed")
    pytest.importorskip("pydot", reason="plot_model needs pydot")
    file = tmp_path / "model.png"
    keras.utils.plot_model(model, file, show_shapes=True, show_layer_names=True)
    assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 10_000


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_under_a_global_policy(policy):
    """The policy of the process reaches octave layers and the built-in version."""
    data, labels = images(4)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        for make in (by_hand, built_in):
            model = make()
            assert {w.dtype for w in model.weights} == {"float32"}
            assert np.isfinite(ops.cast(model(data), "float32")).all()
            assert model(data).dtype == model.layers[-1].compute_dtype == policy.removeprefix("mixed_")
            model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
            assert np.isfinite(model.train_on_batch(data, labels))
    finally:
        keras.config.set_dtype_policy(before)


# A fresh process -------------------------------------------------------------------------------------------------

LOAD = """
import numpy as np
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    np.save(path + ".npy", np.asarray(model(np.load(sys.argv[1]))))
"""


@pytest.mark.long
def test_saved_models_load_in_a_fresh_process(tmp_path):
    """After ``import octconvert`` alone every layer is registered (after Keras: tests/topologies/test_saved_models)."""
    data = images(4)[0]
    np.save(tmp_path / "data.npy", data)
    models = {"dual": randomise(dual()), "mobile": randomise(mobile())}
    for model in models.values():
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
    files = {tmp_path / f"{name}.{kind}": name for name in models for kind in ("keras", "h5")}
    for file, name in files.items():
        models[name].save(file)
    run = [sys.executable, "-c", f"import sys, octconvert, keras\n{LOAD}", tmp_path / "data.npy", *files]
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search}
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    for file, name in files.items():
        close(np.load(f"{file}.npy"), models[name](data))
