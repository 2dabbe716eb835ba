"""What the octave layer takes over from the source's convolution, besides its kernel."""

import keras
import numpy as np
import pytest
from keras import Input, Model, constraints, initializers, layers, regularizers
from oracle import assert_oracle, randomise

import octconvert


class Unregistered(regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x) * 0.5

    def get_config(self):
        return {}


def model_with(layer_class=layers.Conv2D, **options):
    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layer_class(8, 3, padding="same", name="middle", **options)(x)
    return Model(inputs, layers.Conv2D(4, 1, name="after")(x))


@pytest.mark.parametrize("portable", [False, True])
def test_settings_are_kept(portable):
    options = {
        "kernel_regularizer": regularizers.L2(0.25),
        "bias_regularizer": "l1",
        "kernel_constraint": constraints.MaxNorm(2.0),
        "bias_constraint": "non_neg",
        "kernel_initializer": initializers.HeNormal(seed=3),
        "bias_initializer": "ones",
        "trainable": False,
    }
    model = model_with(**options)
    converted = octconvert.convert(model, min_size=1, portable=portable, calibration=False).model
    layer = converted.get_layer("middle-HL" if portable else "middle")
    for key in options:
        found, wanted = getattr(layer, key), getattr(model.get_layer("middle"), key)
        assert type(found) is type(wanted), key
    assert layer.kernel_regularizer.l2 == 0.25 and layer.trainable is False
    assert converted.get_layer("before-HH" if portable else "before").trainable


@pytest.mark.parametrize("layer_class", [layers.Conv2D, layers.SeparableConv2D])
def test_penalties_add_up_to_the_source_s(layer_class):
    """A penalty that sums over the kernel is the same over its four parts."""
    key = "kernel_regularizer" if layer_class is layers.Conv2D else "pointwise_regularizer"
    model = randomise(model_with(layer_class, **{key: regularizers.L2(0.1), "bias_regularizer": "l2"}))
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    assert sum(map(float, converted.losses)) == pytest.approx(sum(map(float, model.losses)), rel=1e-5)


def test_regularizer_that_nobody_registered():
    model = randomise(model_with(kernel_regularizer=Unregistered()))
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    assert sum(map(float, converted.losses)) == pytest.approx(sum(map(float, model.losses)), rel=1e-5)


def test_fresh_weights_are_drawn():
    model = randomise(model_with(kernel_initializer="ones"))
    layer = octconvert.convert(model, min_size=1, weights="fresh", calibration=False).model.get_layer("middle")
    assert all(np.all(np.array(w) == 1) for w in (layer.hh_kernel, layer.hl_kernel, layer.lh_kernel, layer.ll_kernel))
    assert np.all(np.array(layer.high_bias) == 0)


def test_weights_are_the_source_s_channels():
    model = randomise(model_with())
    layer = octconvert.convert(model, min_size=1, alpha=0.25, calibration=False).model.get_layer("middle")
    kernel, bias = model.get_layer("middle").get_weights()
    np.testing.assert_array_equal(layer.hh_kernel, kernel[:, :, :6, :6])
    np.testing.assert_array_equal(layer.hl_kernel, kernel[:, :, :6, 6:])
    np.testing.assert_array_equal(layer.lh_kernel, kernel[:, :, 6:, :6])
    np.testing.assert_array_equal(layer.ll_kernel, kernel[:, :, 6:, 6:])
    np.testing.assert_array_equal(np.concatenate([layer.high_bias, layer.low_bias]), bias)


def test_low_rank_adapters_stay_what_they_are():
    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    model = Model(inputs, layers.Conv2D(8, 3, name="middle")(x))
    model.get_layer("middle").enable_lora(2)
    result = assert_oracle(model, converted=0)
    assert "low-rank" in result.plan.convolutions[1].reason


def test_mixed_kernels_of_one_pair():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 5, padding="same", activation="relu")(inputs)
    outputs = [layers.Conv2D(4, kernel, padding="same")(x) for kernel in (1, 2, 3, (1, 5))]
    assert_oracle(Model(inputs, outputs), converted=5)
