"""Muon: kernels move along orthogonal directions, all else as with Adam."""

import keras
import numpy as np
import pytest
from keras import layers

from octconvert.training.optimizer import Muon, output_layers


def moved(layer, gradient, **arguments):
    before = np.array(layer.kernel)
    optimizer = Muon(0.1, **arguments)
    optimizer.build([layer.kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))])
    return np.array(layer.kernel) - before


def built(layer, channels=6):
    layer.build((None, 8, 8, channels))
    return layer


@pytest.mark.parametrize("layer", [layers.Conv2D(4, 3), layers.Dense(4)], ids=["conv", "dense"])
def test_the_step_of_a_kernel_is_orthogonal(layer):
    shape = tuple(built(layer).kernel.shape)
    step = moved(layer, np.random.default_rng(0).normal(size=shape) * np.array([1, 10, 100, 1000])).reshape(-1, 4)
    sizes = np.linalg.svd(step, compute_uv=False)
    assert sizes[0] < 3 * sizes[-1]  # of gradients that are 1000 times larger for one output than for another
    assert np.abs(step).max() < 0.1  # of the size of Adam's


def test_depthwise_kernels_and_named_layers_move_as_with_adam():
    gradient = np.random.default_rng(0).normal(size=(3, 3, 6, 1))
    step = moved(built(layers.DepthwiseConv2D(3)), gradient)
    assert np.allclose(np.abs(step), 0.1, rtol=1e-2) and np.array_equal(np.sign(step), -np.sign(gradient))
    gradient = np.random.default_rng(0).normal(size=(6, 4))
    step = moved(built(layers.Dense(4, name="out")), gradient, exclude_layers=["(^|/)out/"])
    assert np.allclose(np.abs(step), 0.1, rtol=1e-2)
    step = moved(built(layers.Dense(4, name="outer")), gradient, exclude_layers=["(^|/)out/"])
    assert not np.allclose(np.abs(step), 0.1, rtol=1e-2)


def test_output_layers_are_left_to_adam_and_it_goes_to_a_config_and_back():
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, layers.Dense(2, name="classes")(x))
    optimizer = Muon(0.1, exclude_layers=output_layers(model))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, Muon) and again.get_config() == optimizer.get_config()
    model.compile(again, "mse")
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 2)), verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


def test_a_variable_without_a_gradient_stays():
    first, second = (built(layers.Conv2D(4, 3)) for _ in range(2))
    before = np.array(second.kernel)
    optimizer = Muon(0.1)
    optimizer.build([first.kernel, second.kernel])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([keras.ops.ones(first.kernel.shape), None], [first.kernel, second.kernel])
    assert np.array_equal(before, np.array(second.kernel))


@pytest.mark.long
def test_a_layer_that_is_frozen_later_stays():
    """What is left of its momentum does not move it."""
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Conv2D(4, 3), layers.Flatten()])
    optimizer = Muon(0.1)
    images, targets = np.ones((4, 8, 8, 3)), np.ones((4, 64))
    for trainable in (True, False):
        model.layers[0].trainable = trainable
        model.compile(optimizer, "mse")
        before = [np.array(layer.kernel) for layer in model.layers[:2]]
        model.fit(images, targets, verbose=0)
        after = [np.array(layer.kernel) for layer in model.layers[:2]]
        assert np.array_equal(before[0], after[0]) == (not trainable)
        assert not np.array_equal(before[1], after[1])


def test_a_model_that_is_trained_with_it_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Conv2D(4, 3), layers.Flatten()])
    model.compile(Muon(0.1), keras.losses.MeanSquaredError())
    model.fit(np.ones((4, 8, 8, 3)), np.ones((4, 64)), verbose=0)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        again = keras.models.load_model(tmp_path / name)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
