"""Layers in `TimeDistributed` one after the other are converted as one model of them, in one wrapper."""

import keras
import pytest
from keras import Input, Model, Sequential, layers
from oracle import all_layers, assert_oracle, assert_portable, example, largest_difference, randomise, roles, run

import octconvert


def timed(layer, **more):
    return layers.TimeDistributed(layer, **more)


def conv(rank=2, filters=8, **more):
    return getattr(layers, f"Conv{rank}D")(filters, 3, padding="same", **{"activation": "relu", **more})


def frames_to_lstm():
    """As tutorials write it."""
    parts = [conv(), layers.BatchNormalization(), layers.MaxPooling2D(2), conv(filters=16), conv(filters=16, strides=2)]
    parts += [layers.Dropout(0.2), layers.Flatten(), layers.Dense(12, activation="relu")]
    return Sequential([Input((5, 16, 16, 3)), *map(timed, parts), layers.LSTM(8), layers.Dense(3)])


def windows_of_signals():
    parts = [conv(1), conv(1), layers.MaxPooling1D(2), conv(1, 16), layers.GlobalAveragePooling1D()]
    return Sequential([Input((4, 64, 2)), *map(timed, parts), layers.LSTM(8), layers.Dense(3)])


def backbone_and_head():
    image = Input((16, 16, 3))
    net = Model(image, conv()(conv()(image)), name="net")
    parts = [net, layers.MaxPooling2D(2), conv(filters=16), layers.GlobalMaxPooling2D()]
    return Sequential([Input((5, 16, 16, 3)), *map(timed, parts), layers.GRU(8), layers.Dense(3)])


def map_of_every_frame():
    parts = [conv(), conv(), layers.UpSampling2D(2), conv(filters=2, activation=None)]
    return Sequential([Input((3, 8, 8, 3)), *map(timed, parts)])


BUILDERS = {
    frames_to_lstm: 3,
    windows_of_signals: 3,
    backbone_and_head: 3,
    map_of_every_frame: 3,
}


@pytest.mark.quick("frames_to_lstm")
@pytest.mark.parametrize("build", BUILDERS, ids=[build.__name__ for build in BUILDERS])
def test_a_run_is_one_model(build, tmp_path):
    model, path = randomise(build()), tmp_path / "m.keras"
    result = assert_oracle(model, converted=BUILDERS[build])
    found = run(result.model, example(model))
    wrappers = [layer for layer in result.model.layers if isinstance(layer, layers.TimeDistributed)]
    assert [type(wrapper.layer).__name__ for wrapper in wrappers] == ["Functional"]
    result.save(path)
    assert largest_difference(found, run(octconvert.load(path), example(model))) <= 1e-6
    deployed = octconvert.for_inference(result.model, "litert")
    assert largest_difference(found, run(deployed, example(model))) <= 1e-5
    assert_portable(model)


def test_the_costs_count_once_for_each_step():
    model = frames_to_lstm()
    result = octconvert.convert(model, alpha=0, calibration=False)
    assert result.report.convolutions[0].macs_before == 5 * 16 * 16 * 8 * 27


def test_a_run_ends_where_others_read():
    """A residual connection between wrappers: the sum is of videos, which no wrapper has."""
    clip = Input((4, 16, 16, 8))
    x = timed(conv())(timed(conv())(clip))
    y = timed(conv(activation=None))(timed(conv())(x))
    x = layers.Add()([x, y])
    x = timed(layers.GlobalAveragePooling2D())(timed(conv())(timed(conv())(x)))
    result = assert_oracle(Model(clip, layers.Dense(2)(layers.LSTM(4)(x))), converted=6)
    assert list(roles(result).values()) == ["first", "last", "first", "last", "first", "intermediate"]


@pytest.mark.long
def test_layers_of_one_name_a_shared_wrapper_and_another_precision():
    clip = Input((4, 16, 16, 8))
    shared = timed(conv(name="conv"))
    x = shared(timed(conv(name="conv"))(clip))
    x = timed(conv(name="conv"))(timed(conv(name="conv"))(shared(x)))
    half = keras.DTypePolicy("mixed_float16")
    x = timed(conv(dtype=half), dtype=half)(timed(conv(dtype=half), dtype=half)(x))
    model = Model(clip, timed(layers.GlobalAveragePooling2D())(x))
    result = assert_oracle(model, tolerance=5e-3)
    assert len(result.plan.convolutions) == 6


def test_a_nested_model_that_is_called_twice():
    clip = Input((3, 16, 16, 8))
    parts = [conv(), layers.MaxPooling2D(2), layers.PReLU(shared_axes=[1, 2]), conv(filters=16)]
    x = clip
    for part in parts:
        x = timed(part)(x)
    encoder = Model(clip, timed(layers.GlobalAveragePooling2D())(x), name="encoder")
    first, second = Input((3, 16, 16, 8)), Input((3, 16, 16, 8))
    model = Model([first, second], layers.Dense(3)(layers.Concatenate()([encoder(first), encoder(second)])))
    result = assert_oracle(model, converted=2)
    assert len(result.plan.convolutions) == 2
    assert sum(isinstance(layer, layers.TimeDistributed) for layer in all_layers(result.model)) == 1


@pytest.mark.long
def test_a_call_with_a_mask_or_in_training_stays_alone():
    clip, mask = Input((4, 16, 16, 8)), Input((4,), dtype="bool")
    x = timed(conv())(clip)
    x = timed(layers.GlobalAveragePooling2D())(timed(conv())(x), mask=mask)
    model = randomise(Model([clip, mask], layers.Dense(2)(layers.LSTM(4)(x))))
    result = octconvert.convert(model, min_size=1, octave=1, calibration=False)
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5


def test_frozen_layers_stay_frozen():
    model = frames_to_lstm()
    model.layers[0].trainable = model.layers[1].trainable = False
    result = octconvert.convert(randomise(model), min_size=1, calibration=False)
    counts = [sum(int(keras.ops.size(w)) for w in each.trainable_weights) for each in (model, result.model)]
    assert counts[0] == counts[1] < model.count_params()
