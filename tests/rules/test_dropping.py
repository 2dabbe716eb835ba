"""Dropout and StochasticDepth: samples that are dropped whole are dropped in both maps."""

import numpy as np
import pytest
from keras import Input, Model, layers
from keras.src.applications.convnext import StochasticDepth
from oracle import assert_oracle, ends

import octconvert


@pytest.mark.quick("<lambda>0")
@pytest.mark.parametrize(
    "drop",
    [
        lambda: StochasticDepth(0.5, name="drop"),
        lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, 1), name="drop"),
        lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, 1), seed=3, name="drop"),
    ],
)
def test_samples_are_dropped_in_both_maps(drop, tmp_path):
    inputs = Input((8, 8, 3))
    x = drop()(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs))
    result = octconvert.convert(Model(inputs, layers.Conv2D(4, 3)(x)), min_size=1, calibration=False)
    result.save(tmp_path / "model.keras")
    for model in (result.model, octconvert.load(tmp_path / "model.keras")):
        parts = Model(model.inputs, [model.get_layer(f"drop{suffix}").output for suffix in ("-H", "-L")])
        batch = np.random.default_rng(0).standard_normal((64, 8, 8, 3)).astype("float32")
        for _ in range(3):
            kept = [np.abs(part).max(axis=(1, 2, 3)) > 0 for part in map(np.array, parts(batch, training=True))]
            assert 10 < kept[0].sum() < 54
            np.testing.assert_array_equal(*kept)


def conv(filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)


def test_dropout_acts_while_training():
    inputs = Input((8, 8, 3))
    x = layers.Dropout(0.9, noise_shape=(None, None, None, 1))(conv()(inputs))
    converted = octconvert.convert(Model(inputs, conv(4)(x)), min_size=1, calibration=False).model
    image = np.ones((1, 8, 8, 3), "float32")
    outputs = [np.array(converted(image, training=training)) for training in (True, True, False, False)]
    assert not np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[2], outputs[3])


def test_dropout_is_the_identity_at_inference_and_other_shapes_of_noise_end_the_pair():
    inputs = Input((9, 10, 3))
    x = conv(name="before")(inputs)
    carried = [layers.Dropout(0.5), layers.Dropout(0.5, noise_shape=(None, 1, 1, None)), layers.AlphaDropout(0.5)]
    stopped = [layers.Dropout(0.5, noise_shape=shape) for shape in ((None, 9, 1, 1), (None, 1, 1, 8))]
    model = Model(inputs, [*(conv(4)(drop(x)) for drop in carried), *(drop(x) for drop in stopped)])
    result = assert_oracle(model, converted=4)
    reason = "its noise_shape has sizes for positions or channels"
    assert [ends(result)[drop.name] for drop in stopped] == [reason, reason]
