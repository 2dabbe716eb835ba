"""What training depends on: names, trainable flags, the compile configuration, losses by name, fit."""

import keras
import numpy as np
import pytest
from keras import Input, Model, Sequential, layers
from oracle import all_layers, assert_oracle, randomise

import octconvert


def conv(filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def two_headed():
    inputs = Input((10, 10, 3), name="image")
    x = layers.BatchNormalization(name="bn")(conv(8, "conv1")(inputs))
    x = layers.Dropout(0.2, name="drop")(layers.ReLU(name="relu")(x))
    mask = conv(8, "mask")(x)  # an output that is a pair, for it goes on
    classes = layers.Dense(3, activation="softmax", name="classes")(
        layers.GlobalAveragePooling2D()(conv(8, "conv2")(mask))
    )
    return Model(inputs, {"mask": mask, "classes": classes}, name="two_headed")


def test_names():
    result = assert_oracle(two_headed(), converted=3)
    names = {layer.name for layer in result.model.layers}
    assert {"image", "conv1", "conv2", "bn-H", "bn-L", "relu-H", "relu-L", "mask", "classes"} <= names
    assert not [name for name in names if "/" in name]


def test_names_that_look_like_ours():
    inputs = Input((10, 10, 3))
    x = layers.ReLU(name="a-L")(layers.ReLU(name="a-H")(conv(8, "a")(inputs)))
    x = layers.ReLU(name="a-H-H")(layers.MaxPooling2D(name="a-merge")(x))
    x = layers.LayerNormalization(name="a-HH")(conv(8, "a-octave")(x))
    model = Model(inputs, conv(4, "a-merge-2")(conv(8, "a-HL")(x)))
    assert_oracle(model, converted=4)
    assert_oracle(model, converted=4, portable=True)


@pytest.mark.long
@pytest.mark.parametrize("as_list", [False, True])
def test_fit_with_losses_by_name(as_list):
    model = randomise(two_headed())
    if as_list:
        model = Model(model.inputs, [model.output["mask"], model.output["classes"]])
    names = ("mask", "classes")
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        loss={"mask": "mse", "classes": "sparse_categorical_crossentropy"},
        loss_weights={"mask": 0.5, "classes": 1.0},
        metrics={"classes": "accuracy"},
    )
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    assert converted.optimizer.get_config()["momentum"] == 0.9
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 10, 10, 3)).astype("float32")
    y = {"mask": rng.standard_normal((8, 10, 10, 8)).astype("float32"), "classes": rng.integers(0, 3, 8)}
    history = converted.fit(x, y if not as_list else [y[n] for n in names], epochs=2, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert any("accuracy" in key for key in history)


def test_gradients_reach_every_trainable_weight():
    import tensorflow as tf

    inputs = Input((12, 12, 3))
    x = layers.ReLU()(layers.BatchNormalization()(conv(8, "a")(inputs)))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    g = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(g)])
    x = layers.SeparableConv2D(8, 3, padding="same")(x)
    model = randomise(Model(inputs, conv(4, "z")(layers.Conv2DTranspose(8, 3)(conv(8, "b")(x)))))
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    with tf.GradientTape() as tape:
        output = converted(np.random.default_rng(0).standard_normal((2, 12, 12, 3)).astype("float32"), training=True)
        loss = tf.reduce_mean(tf.square(output))
    gradients = tape.gradient(loss, [w.value for w in converted.trainable_weights])
    assert all(g is not None and np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients)


def test_batch_statistics_move_while_training():
    model = randomise(two_headed())
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    before = [np.array(w) for w in converted.non_trainable_weights]
    converted(np.ones((2, 10, 10, 3), "float32"), training=True)
    moving = [w for w in converted.non_trainable_weights if "moving" in w.path]
    assert len(moving) == 4
    assert any(not np.array_equal(a, np.array(b)) for a, b in zip(before, converted.non_trainable_weights, strict=True))


def test_trainable_flags_are_kept():
    inputs = Input((10, 10, 3))
    x = layers.BatchNormalization(name="bn", trainable=False)(conv(8, "a", trainable=False)(inputs))
    nested = Sequential(
        [Input((10, 10, 8)), conv(8, "deep", trainable=False), layers.BatchNormalization(name="deep_bn")], name="n"
    )
    model = Model(inputs, conv(4, "z")(nested(x)))
    for portable in (False, True):
        converted = octconvert.convert(model, min_size=1, portable=portable, calibration=False).model
        frozen = {layer.name.split("-")[0] for layer in all_layers(converted) if layer.weights and not layer.trainable}
        moving = {layer.name.split("-")[0] for layer in all_layers(converted) if layer.trainable_weights}
        assert frozen == {"a", "bn", "deep"}
        assert moving == {"n", "deep_bn", "z"}


def test_frozen_model():
    model = two_headed()
    model.trainable = False
    assert octconvert.convert(model, min_size=1, calibration=False).model.trainable_weights == []


def test_flags_of_a_model_that_was_frozen_and_partly_thawed():
    model = two_headed()
    model.trainable = False
    for name in ("conv2", "classes"):
        model.get_layer(name).trainable = True
    model.trainable = model.trainable  # what load_model may do
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    wanted = {layer.name.split("-")[0] for layer in model.layers if layer.trainable_weights}
    assert {layer.name.split("-")[0] for layer in converted.layers if layer.trainable_weights} == wanted


@pytest.mark.long
def test_losses_and_metrics_of_the_compilation():
    inputs = Input((8, 8, 3))
    model = Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(conv(8, "a")(inputs))))
    model.compile(keras.optimizers.Adam(3e-4), loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=["mae"])
    result = octconvert.convert(model, min_size=1, calibration=False)
    assert result.model.compiled and result.model.loss.get_config() == model.loss.get_config()
    assert float(result.model.optimizer.learning_rate.numpy()) == pytest.approx(3e-4)
    assert result.model.train_on_batch(np.ones((2, 8, 8, 3), "float32"), np.ones((2, 1), "float32")) is not None


def test_uncompiled_source_stays_uncompiled():
    assert not octconvert.convert(two_headed(), min_size=1, calibration=False).model.compiled
