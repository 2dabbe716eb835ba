"""Activation layers, dropouts, noise and rescaling: the same on both maps."""

import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, ends


def conv(filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)


def between(layer, size=(9, 10)):
    inputs = Input((*size, 3))
    x = conv(name="before")(inputs)
    return Model(inputs, [conv(4, name="after")(layer(x)), conv(4, name="other")(x)])


CARRIED = {
    "one rescaling a channel": lambda: layers.Rescaling([0.5, 1.0, 1.5, 2.0] * 2, offset=0.1),
    "ReLU": lambda: layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.05),
    "LeakyReLU": lambda: layers.LeakyReLU(0.2),
    "ELU": lambda: layers.ELU(0.7),
    "PReLU by channel": lambda: layers.PReLU(shared_axes=[1, 2]),
    "PReLU with one slope": lambda: layers.PReLU(shared_axes=[1, 2, 3]),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.5),
    "GaussianDropout": lambda: layers.GaussianDropout(0.5),
    "GaussianNoise": lambda: layers.GaussianNoise(0.5),
    "ActivityRegularization": lambda: layers.ActivityRegularization(l2=0.1),
    "Identity": lambda: layers.Identity(),
    "Rescaling": lambda: layers.Rescaling(2.0, offset=-1.0),
    **{
        name: lambda name=name: layers.Activation(name)
        for name in ("relu", "sigmoid", "tanh", "gelu", "mish", "hard_sigmoid", "softsign", "exponential", "linear")
    },
}


@pytest.mark.quick("ReLU", "PReLU by channel", "SpatialDropout2D", "gelu")
@pytest.mark.parametrize("name", CARRIED)
def test_carried(name):
    assert_oracle(between(CARRIED[name]()), converted=3)


STOPPED = {
    "softmax": (lambda: layers.Activation("softmax"), "softmax"),
    "softmax of a layer": (lambda: layers.Activation(layers.Softmax()), "no rule for Softmax"),
    "a scale for each column": (lambda: layers.Rescaling(np.linspace(1, 2, 10).reshape(1, 10, 1)), "not one for each"),
}


@pytest.mark.parametrize("name", STOPPED)
def test_stopped(name):
    make, reason = STOPPED[name]
    result = assert_oracle(between(make()), converted=2)
    assert any(reason in text for text in ends(result).values()), ends(result)


@pytest.mark.quick("None-size1", "shared1-size0")
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
@pytest.mark.parametrize("shared", [None, [1], [2], [3], [1, 3]])
def test_prelu_with_slopes_by_position(shared, size):
    model = between(layers.PReLU(shared_axes=shared, name="prelu"), size)
    result = assert_oracle(model, converted=3)
    assert any("prelu" in note for note in result.report.notes)
    low = result.model.get_layer("prelu-L").alpha.shape
    assert [n for n, axis in zip(low, (1, 2, 3), strict=True) if axis != 3] == [
        1 if axis in (shared or []) else -(-n // 2) for n, axis in zip(size, (1, 2), strict=True)
    ]
    assert_portable(model)
