"""A layer whose rule declares its convolution is counted, lowered for inference and fitted like one of Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops

import octconvert
from octconvert.calibration.fitting.linear import regressions
from octconvert.costs.cost import cost_of
from octconvert.rules import ConvolutionStage, Family, Traits, convolution_traits, register, traits_of
from octconvert.rules.registry import unregister
from octconvert.rules.traits import CONV


@keras.saving.register_keras_serializable(package="tests")
class ChannelMixing(layers.Layer):
    """A 1x1 convolution that is none of Keras' own layers."""

    data_format = "channels_last"

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(1, 1, input_shape[-1], self.filters), name="matrix")
        self.shift = self.add_weight(shape=(self.filters,), name="shift")

    def call(self, x):
        return ops.conv(x, self.matrix) + self.shift

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@pytest.fixture
def mixing_traits():
    @register
    class ChannelMixingFamily(Family):
        layers = (ChannelMixing,)

        def traits(self, operation) -> Traits:
            return convolution_traits(operation, ConvolutionStage(CONV, "matrix", "shift", (1, 1), dilation=(1, 1)))

    yield
    unregister(ChannelMixingFamily)


def model():
    inputs = Input((6, 5, 3))
    x = ChannelMixing(8)(inputs)
    outputs = layers.BatchNormalization()(x)
    built = Model(inputs, outputs)
    rng = np.random.default_rng(0)
    for weight in built.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return built


def test_a_declared_convolution_is_counted_lowered_and_fitted(mixing_traits):
    source = model()
    assert cost_of(source).macs == 6 * 5 * 3 * 8
    form = octconvert.for_inference(source)
    assert [type(layer) for layer in form.layers] == [layers.InputLayer, layers.Conv2D]
    samples = [np.random.default_rng(1).random((2, 6, 5, 3), dtype="float32")]
    np.testing.assert_allclose(form(samples[0]), source(samples[0]), rtol=1e-5, atol=1e-5)
    (regression,) = regressions(source.layers[1])
    assert regression.weights().shape == (1, 3, 8) and regression.bias_variable is source.layers[1].shift


def test_an_unknown_layer_has_no_traits():
    source = model()
    assert cost_of(source).macs == 0 and not regressions(source.layers[1])
    assert not any(isinstance(layer, layers.Conv2D) for layer in octconvert.for_inference(source).layers)


class KeepsCall(layers.Conv2D):
    """Computes what its base computes."""


class ChangesCall(layers.Conv2D):
    def call(self, inputs):
        return 2 * super().call(inputs)


class ChangesConvolution(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - ops.mean(kernel, axis=(0, 1, 2), keepdims=True))


@pytest.mark.parametrize("changed", [ChangesCall, ChangesConvolution])
def test_traits_are_those_of_the_base_where_a_subclass_computes_the_same(changed):
    assert traits_of(KeepsCall(4, 3)).stages == traits_of(layers.Conv2D(4, 3)).stages != ()
    assert traits_of(changed(4, 3)).stages == ()
    assert traits_of(changed(4, 3), changed_call=True).stages == traits_of(layers.Conv2D(4, 3)).stages


def test_a_rule_without_traits_leaves_those_of_the_rule_it_replaces():
    class Own(layers.Conv2D):
        pass

    @register
    class OwnRule(octconvert.rules.Rule):
        layers = (Own,)

    try:
        assert traits_of(Own(4, 3)).stages == traits_of(layers.Conv2D(4, 3)).stages
    finally:
        unregister(OwnRule)


@pytest.mark.parametrize("pool", [layers.MaxPooling2D(2), lambda x: ops.max_pool(x, 2)])
def test_pooling_is_known_as_a_layer_and_as_a_raw_operation(pool):
    x = Input((6, 6, 3))
    operation = pool(x)._keras_history.operation
    assert traits_of(operation).pooling.kind == "max"


CHANNELWISE = [
    layers.Activation("softmax"),
    layers.ReLU(),
    layers.LeakyReLU(),
    layers.ELU(),
    layers.MaxPooling2D(),
    layers.AveragePooling2D(2),
    layers.GlobalAveragePooling2D(),
    layers.GlobalMaxPooling2D(),
    layers.ZeroPadding2D(),
    layers.Cropping2D(),
    layers.CenterCrop(4, 4),
]


@pytest.mark.parametrize("layer", CHANNELWISE, ids=lambda layer: type(layer).__name__)
def test_a_channelwise_layer_moves_no_channel(layer):
    """The form for inference hands such a layer the channels in any order."""
    assert traits_of(layer).channelwise
    x, order = np.random.default_rng(0).random((1, 6, 6, 4), dtype="float32"), [2, 0, 3, 1]
    np.testing.assert_allclose(layer(x[..., order]), np.asarray(layer(x))[..., order], rtol=1e-6)
