"""octave_dual: an ordinary layer on both tensors of a pair, and the layer that is handed in stays as it was."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from layer_reference import close, maps, randomise

from octconvert.layers import octave_dual


def pair(high=3, low=2):
    return [keras.Input((8, 8, high)), keras.Input((4, 4, low))]


def producer(tensor):
    """The layer that made a Keras tensor."""
    return tensor._keras_history.operation


@pytest.mark.parametrize(
    "made",
    [
        layers.MaxPool2D(2, name="pool"),
        lambda: layers.MaxPool2D(2, name="pool"),
        functools.partial(layers.MaxPool2D, 2, name="pool"),
    ],
    ids=["layer", "factory", "partial"],
)
def test_a_layer_or_a_factory_runs_on_both(made):
    inputs = pair()
    outputs = octave_dual(inputs, made)
    assert [producer(x).name for x in outputs] == ["pool-H", "pool-L"]
    model = keras.Model(inputs, outputs)
    data = maps(8, 8)
    for actual, x in zip(model(data), data, strict=True):
        close(actual, x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)))


def test_a_layer_class():
    inputs = pair()
    outputs = octave_dual(inputs, layers.BatchNormalization)
    high, low = (producer(x) for x in outputs)
    assert high.name.removesuffix("-H") == low.name.removesuffix("-L")
    assert (high.gamma.shape, low.gamma.shape) == ((3,), (2,))
    assert high is not low and type(high) is type(low) is layers.BatchNormalization


def test_a_function_of_a_tensor():
    data = maps(4, 6)
    outputs = octave_dual([ops.convert_to_tensor(x) for x in data], lambda x: ops.relu(x) * 2)
    for actual, x in zip(outputs, data, strict=True):
        close(actual, np.maximum(x, 0) * 2)
    outputs = octave_dual(pair(), keras.activations.relu)
    assert [tuple(x.shape) for x in outputs] == [(None, 8, 8, 3), (None, 4, 4, 2)]


def test_both_have_weights_and_random_values_of_their_own():
    high, low = (producer(x) for x in octave_dual(pair(3, 3), layers.Conv2D(4, 3, name="c")))
    assert high.kernel is not low.kernel
    assert not np.array_equal(high.kernel, low.kernel)
    high.kernel.assign(ops.zeros_like(high.kernel))
    assert np.abs(low.kernel).min() > 0


def test_configuration_is_kept():
    source = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", kernel_regularizer="l2", name="c")
    for x in octave_dual(pair(), source):
        config, wanted = producer(x).get_config(), source.get_config()
        assert {**config, "name": None} == {**wanted, "name": None}


def test_weights_of_a_built_layer_are_copied():
    source = layers.Conv2D(4, 3, name="c")
    source.build((None, 8, 8, 3))
    randomise(source)
    for x in octave_dual(pair(3, 3), source):
        for actual, wanted in zip(producer(x).get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(actual, wanted)


def test_weights_along_the_channels_of_the_plain_tensor_are_cut():
    """BatchNormalization of all five channels: the first three belong to high, the other two to low."""
    source = layers.BatchNormalization(name="bn")
    source.build((None, 8, 8, 5))
    randomise(source)
    inputs = pair()
    outputs = octave_dual(inputs, source)
    high, low = (producer(x) for x in outputs)
    for whole, first_part, last_part in zip(source.get_weights(), high.get_weights(), low.get_weights(), strict=True):
        np.testing.assert_array_equal(first_part, whole[:3])
        np.testing.assert_array_equal(last_part, whole[3:])
    source.moving_variance.assign(np.abs(source.moving_variance))
    for layer in (high, low):
        layer.moving_variance.assign(np.abs(layer.moving_variance))
    data = maps(8, 8)
    wanted = np.asarray(source(np.concatenate([data[0][:, ::2, ::2], data[1]], -1)))
    close(keras.Model(inputs, outputs)(data)[0][:, ::2, ::2], wanted[..., :3])
    close(keras.Model(inputs, outputs)(data)[1], wanted[..., 3:])


def test_the_layer_handed_in_is_not_touched():
    unbuilt, built = layers.Conv2D(4, 3, name="a"), layers.Conv2D(4, 3, name="b")
    tensor = keras.Input((8, 8, 3))
    model = keras.Model(tensor, built(tensor))
    before = [(id(w), np.array(w)) for w in built.weights]
    nodes, config = len(built._inbound_nodes), built.get_config()
    octave_dual(pair(3, 3), unbuilt)
    for x in octave_dual(pair(3, 3), built):
        producer(x).set_weights([np.zeros(w.shape) for w in producer(x).get_weights()])
    assert not unbuilt.built and not unbuilt._inbound_nodes and not unbuilt.weights
    assert (len(built._inbound_nodes), built.get_config(), built.name) == (nodes, config, "b")
    for (identity, value), weight in zip(before, built.weights, strict=True):
        assert identity == id(weight)
        np.testing.assert_array_equal(value, weight)
    assert model.layers[-1] is built


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x]], ids=["tensor", "list of one"])
def test_one_tensor_passes_through_the_layer(wrap):
    tensor = keras.Input((8, 8, 3))
    output = octave_dual(wrap(tensor), lambda: layers.Conv2D(4, 3, name="c"))
    assert tuple(output.shape) == (None, 6, 6, 4)
    assert producer(output).name == "c"
    doubled = octave_dual(np.ones((1, 2), "float32"), lambda x: x * 2)
    np.testing.assert_array_equal(doubled, [[2, 2]])


def test_one_tensor_and_a_built_layer():
    source = layers.Dense(4, name="d")
    source.build((None, 3))
    output = octave_dual(keras.Input((3,)), source)
    assert producer(output) is not source
    np.testing.assert_array_equal(producer(output).kernel, source.kernel)


@pytest.mark.parametrize(
    ("made", "join"),
    [
        (lambda: layers.Add(name="join"), lambda a, b: a + b),
        (lambda: layers.Concatenate(name="join"), lambda a, b: np.concatenate([a, b], -1)),
        (lambda: lambda tensors: ops.maximum(*tensors), np.maximum),
    ],
    ids=["add", "concatenate", "function"],
)
def test_a_list_of_pairs_is_joined_group_by_group(made, join):
    made = made() if getattr(made(), "__name__", "") == "<lambda>" else made
    one, two = pair(), pair()
    outputs = octave_dual([one, two], made)
    data, more = maps(8, 8, seed=1), maps(8, 8, seed=2)
    for actual, a, b in zip(keras.Model([*one, *two], outputs)([*data, *more]), data, more, strict=True):
        close(actual, join(a, b))


def test_works_on_tuples():
    outputs = octave_dual(tuple(pair()), layers.ReLU)
    assert [tuple(x.shape) for x in outputs] == [(None, 8, 8, 3), (None, 4, 4, 2)]


@pytest.mark.parametrize(
    ("tensors", "made", "message"),
    [
        ([np.ones((1, 4))] * 3, layers.ReLU, r"octave_dual.*3 tensors"),
        ([], layers.ReLU, r"octave_dual.*none"),
        ([[np.ones((1, 4))] * 3, [np.ones((1, 4))] * 3], layers.Add, r"octave_dual.*list of pairs"),
        ([np.ones((1, 4))] * 2, "relu", r"octave_dual.*layer or a callable.*'relu'"),
        ([np.ones((1, 4))] * 2, lambda: None, r"octave_dual.*factory must return a layer, received: None"),
    ],
)
def test_errors(tensors, made, message):
    with pytest.raises(ValueError, match=message):
        octave_dual(tensors, made)


def test_weights_that_fit_neither_group_are_refused():
    source = layers.Conv2D(4, 3, name="narrow")
    source.build((None, 8, 8, 2))
    with pytest.raises(ValueError, match=r"narrow.*\(3, 3, 2, 4\).*\(3, 3, 3, 4\)"):
        octave_dual(pair(3, 3), source)


def test_weights_of_a_layer_for_other_channels_are_refused():
    """Ten channels can not be those of a pair of three and four."""
    layer = layers.BatchNormalization(name="bn")
    layer.build((None, 8, 8, 10))
    with pytest.raises(ValueError, match=r"'bn'.*does not fit"):
        octave_dual([keras.Input((8, 8, 3)), keras.Input((4, 4, 4))], layer)
