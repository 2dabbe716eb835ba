"""Activations of layers: functions known by what they are, and layers, which act behind the layer that has them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, example, reasons, roles, run

import octconvert
from octconvert import loading
from octconvert.model import known_functions
from octconvert.verification import keras_files


def network(activation, kind=layers.Conv2D):
    """A layer with an activation between two convolutions; ``activation``: makes one."""
    x = inputs = Input((9, 10, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(x)
    if kind is layers.Dense:
        x = layers.Dense(6, activation=activation(), name="middle")(x)
    elif kind is layers.Activation:
        x = layers.Activation(activation(), name="middle")(x)
    elif kind is layers.DepthwiseConv2D:
        x = kind(3, padding="same", activation=activation(), depth_multiplier=2, name="middle")(x)
    else:
        x = kind(6, 3, padding="same", activation=activation(), name="middle")(x)
    return Model(inputs, layers.Conv2D(4, 3, padding="same", name="after")(x))


KINDS = {
    "Conv2D": layers.Conv2D,
    "SeparableConv2D": layers.SeparableConv2D,
    "DepthwiseConv2D": layers.DepthwiseConv2D,
    "Conv2DTranspose": layers.Conv2DTranspose,
    "Dense": layers.Dense,
    "Activation": layers.Activation,
}
ELEMENTWISE = {
    "LeakyReLU": layers.LeakyReLU,
    "ReLU": lambda: layers.ReLU(6.0, negative_slope=0.1),
    "PReLU": lambda: layers.PReLU(shared_axes=[1, 2], alpha_initializer="ones"),
    "PReLU with a slope for each position": lambda: layers.PReLU(alpha_initializer="ones"),
    "Activation": lambda: layers.Activation("tanh"),
    "tf.nn.relu": lambda: tf.nn.relu,
    "tf.nn.swish": lambda: tf.nn.swish,
    "tf.math.square": lambda: tf.math.square,
    "ops.relu": lambda: ops.relu,
    "ops.gelu": lambda: ops.gelu,
    "tf.keras": lambda: tf.keras.activations.mish,
}
JOINING = {
    "Softmax": (layers.Softmax, "no rule for Softmax"),
    "softmax": (lambda: "softmax", "activation softmax joins channels"),
    "tf.nn.softmax": (lambda: tf.nn.softmax, "joins channels"),
    "ops.log_softmax": (lambda: ops.log_softmax, "activation log_softmax joins channels"),
    "lambda": (lambda: lambda x: x * 2, "activation <lambda> is not known to be element-wise"),
}


@pytest.mark.quick("LeakyReLU", "tf.nn.relu", "ops.gelu")
@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_elementwise_activations_do_not_end_a_chain(activation):
    assert_oracle(network(ELEMENTWISE[activation]), converted=3)


@pytest.mark.quick("PReLU-Conv2DTranspose", "LeakyReLU-DepthwiseConv2D", "tf.nn.swish-Dense")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Conv2D"])
@pytest.mark.parametrize("activation", ["PReLU", "LeakyReLU", "tf.nn.swish"])
def test_every_layer_that_has_an_activation(kind, activation):
    result = assert_oracle(network(ELEMENTWISE[activation], KINDS[kind]))
    assert "plain" not in roles(result).values()


@pytest.mark.parametrize("activation", JOINING)
def test_others_end_it_with_the_true_reason(activation):
    make, reason = JOINING[activation]
    result = assert_oracle(network(make))
    assert roles(result)["middle"] == "last"
    assert reason in reasons(result)["middle"] and reason in ends(result)["middle"]


def test_slopes_of_channels_are_cut_with_them():
    model = network(ELEMENTWISE["PReLU"])
    assert_oracle(model, converted=3)
    model.get_layer("middle").activation.alpha.assign(np.arange(6.0).reshape(1, 1, 6) - 2)
    converted = octconvert.convert(model, octave=1, min_size=1, calibration=False).model
    slopes = [layer.alpha for layer in converted.layers if isinstance(layer, layers.PReLU)]
    assert sorted(np.concatenate([np.ravel(slope) for slope in slopes])) == [-2, -1, 0, 1, 2, 3]
    sample = example(model)
    np.testing.assert_allclose(run(converted, sample)[0], run(model, sample)[0], atol=1e-5)


def test_weights_that_two_layers_share_stay_together():
    slope, inputs = layers.PReLU(shared_axes=[1, 2]), Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", activation=slope, name="a")(inputs)
    x = layers.Conv2D(6, 3, padding="same", activation=slope, name="b")(x)
    model = Model(inputs, layers.Conv2D(2, 1, name="c")(x))
    result = octconvert.plan(model, min_size=1)
    assert "weights that other layers share" in reasons(result)["a"]


def test_a_layer_called_twice_keeps_one_activation():
    inputs = Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, padding="same", activation=layers.PReLU(shared_axes=[1, 2]), name="shared")
    x = shared(shared(layers.Conv2D(4, 3, padding="same")(inputs)))
    result = assert_oracle(Model(inputs, layers.Conv2D(2, 3, padding="same")(x)), converted=3)
    assert sum(isinstance(layer, layers.PReLU) for layer in result.model.layers) == 2


def test_built_in_layers_and_vectors():
    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation=layers.LeakyReLU())(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation=layers.PReLU(shared_axes=[1, 2]))(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Conv2D(6, 1, activation=layers.PReLU())(x)
    x = layers.Dense(5, activation=layers.ELU())(layers.Flatten()(x))
    model = Model(inputs, x)
    run(model, example(model))  # Keras makes the slopes now
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.quick("tf.nn.swish")
@pytest.mark.parametrize("activation", ["tf.nn.swish", "ops.relu", "LeakyReLU", "PReLU"])
def test_the_result_can_be_read_again(activation, tmp_path):
    model = octconvert.convert(network(ELEMENTWISE[activation]), min_size=1, calibration=False).model
    keras_files.save(model, tmp_path / "model.keras")
    sample = example(model)
    np.testing.assert_allclose(run(loading.load(tmp_path / "model.keras"), sample)[0], run(model, sample)[0], atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("activation", ["LeakyReLU", "PReLU", "tf.nn.relu"])
def test_calibration_and_the_form_for_inference(activation):
    model = network(ELEMENTWISE[activation])
    samples = np.random.default_rng(0).standard_normal((16, 9, 10, 3)).astype("float32")
    result = octconvert.convert(model, min_size=1, calibration=samples)
    assert len(result.plan.converted) == 3
    deployed = octconvert.for_inference(result.model)
    np.testing.assert_allclose(run(deployed, samples)[0], run(result.model, samples)[0], atol=1e-4)
    np.testing.assert_allclose(run(octconvert.for_inference(model), samples)[0], run(model, samples)[0], atol=1e-4)


def test_equal_functions_are_equal():
    x = np.linspace(-5, 5, 101, dtype="float32")
    equal = known_functions._functions("same")
    assert len(equal) > 30
    for function, own in equal.items():
        found, right = (np.asarray(f(ops.convert_to_tensor(x))) for f in (function, own))
        np.testing.assert_allclose(found, right, atol=1e-6, err_msg=f"{function.__module__}.{function.__name__}")


def test_known_functions_act_on_every_element_alone():
    grid = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 5)).astype("float32")
    for function in known_functions._functions("elementwise"):
        if function is keras.activations.threshold or function in (ops.logical_not, tf.math.logical_not):
            continue  # take further arguments, or truth values
        whole, parts = (np.asarray(function(values)) for values in (grid, grid[1:2, ::2, 1:3]))  # JAX's take no tensor
        np.testing.assert_allclose(whole[1:2, ::2, 1:3], parts, rtol=1e-4, err_msg=str(function))


def test_a_function_with_numbers_given_beforehand():
    assert known_functions.is_elementwise(functools.partial(ops.leaky_relu, negative_slope=0.1))
    assert known_functions.is_elementwise(functools.partial(tf.nn.leaky_relu, alpha=0.1))
    assert not known_functions.is_elementwise(functools.partial(ops.leaky_relu, negative_slope=np.ones(3)))
    assert known_functions.standard(functools.partial(ops.relu)) is not keras.activations.relu


@pytest.mark.quick("Conv2D-PReLU", "Dense-LeakyReLU")
@pytest.mark.parametrize("activation", ["LeakyReLU", "PReLU"])
@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind != "Activation"), "Dense of a vector"])
def test_an_output_keeps_its_name_where_the_activation_comes_behind(kind, activation):
    """Losses are keyed by it, and two layers of one name are no model."""
    x = inputs = Input((9, 10, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    act = layers.PReLU if (kind, activation) == ("Dense of a vector", "PReLU") else ELEMENTWISE[activation]
    options = {"activation": act(), "name": "answer"}
    if kind == "Dense of a vector":
        x = layers.Dense(5, **options)(layers.GlobalAveragePooling2D()(x))
    elif kind == "DepthwiseConv2D":
        x = layers.DepthwiseConv2D(3, **options)(x)
    else:
        x = KINDS[kind](5, **({} if kind == "Dense" else {"kernel_size": 3}), **options)(x)
    assert "plain" not in roles(assert_oracle(Model(inputs, x))).values()  # asks for the names, too
