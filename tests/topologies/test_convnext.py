"""ConvNeXt-like nets: which layers count as convolutions, any size, fold, gates by Dense, what ends a chain."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from keras.src.applications.convnext import LayerScale, StochasticDepth
from oracle import assert_oracle, ends, largest_difference, randomise, reasons, roles, run

import octconvert


def block(x, name, squeeze=None):
    width = x.shape[-1]
    y = layers.Conv2D(width, 7, padding="same", groups=width, name=f"{name}-depthwise")(x)
    y = layers.LayerNormalization(epsilon=1e-6)(y)
    y = layers.Activation("gelu")(layers.Dense(4 * width, name=f"{name}-wide")(y))
    y = squeeze(y) if squeeze else y
    y = LayerScale(0.5, width)(layers.Dense(width, name=f"{name}-narrow")(y))
    return layers.Add()([x, StochasticDepth(0.2)(y)])


def network(shape, squeeze=None):
    inputs = Input(shape)
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(6, 4, strides=4, name="stem")(inputs))
    x = block(x, "a", squeeze)
    x = layers.Conv2D(8, 2, strides=2, name="down")(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(block(x, "b", squeeze)))
    return Model(inputs, layers.Dense(3, name="head")(x))


NAMES = {"stem", "down", *(f"{b}-{part}" for b in "ab" for part in ("depthwise", "wide", "narrow"))}


def at(*size):
    return np.random.default_rng(size[0]).standard_normal((2, *size, 3)).astype("float32")


def gate(y):
    """Squeeze-and-excite by Dense on a keepdims 1x1 map."""
    g = layers.GlobalAveragePooling2D(keepdims=True)(y)
    g = layers.Dense(4, activation="relu", name=f"squeeze-{y.shape[-1]}")(g)
    return layers.Multiply()([y, layers.Dense(y.shape[-1], activation="sigmoid", name=f"excite-{y.shape[-1]}")(g)])


def response(y):
    """The global response normalisation of ConvNeXt V2, in raw operations."""
    norm = ops.sqrt(ops.sum(ops.square(y), axis=(1, 2), keepdims=True))
    return y + y * (norm / (ops.mean(norm, axis=-1, keepdims=True) + 1e-6))


@pytest.mark.quick("shape1-fold")
@pytest.mark.parametrize("weights", ["slice", "fold"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (37, 44, 3)])
def test_every_convolution_converts(shape, weights):
    """Dense layers on maps too; the Dense of the head, on a vector, is none."""
    result = assert_oracle(network(shape), converted=8, weights=weights)
    assert set(roles(result)) == NAMES
    assert "plain" not in roles(result).values() and not reasons(result)
    assert result.after.macs < result.before.macs and result.after.parameters == result.before.parameters


@pytest.mark.long
def test_open_sizes():
    model = network((None, None, 3))
    assert_oracle(model, converted=8, inputs=at(32, 32))
    twin = octconvert.convert(model, octave=1, min_size=1, calibration=False).model
    halved = octconvert.convert(model, min_size=1, calibration=False).model
    known = octconvert.convert(model, min_size=1, input_shape=(37, 44, 3), calibration=False).model
    for size in ((37, 44), (40, 24)):
        assert largest_difference(run(model, at(*size)), run(twin, at(*size))) <= 1e-5
    assert largest_difference(run(known, at(37, 44)), run(halved, at(37, 44))) <= 1e-5


@pytest.mark.long
def test_gate_by_dense_is_no_convolution():
    result = assert_oracle(network((32, 32, 3), gate), converted=8)
    assert set(roles(result)) == NAMES
    assert not [layer for layer in result.model.layers if "merge" in layer.name]


@pytest.mark.long
def test_response_normalisation_is_carried():
    """Sums of squares of rows and columns, their mean over the channels, and the gate that is made of both."""
    result = assert_oracle(network((32, 32, 3), response), converted=8)
    assert set(roles(result)) == NAMES
    assert {roles(result)[name] for name in ("a-wide", "b-wide")} == {"intermediate"}


def test_portable_refuses_the_normalisation_with_its_reason():
    result = octconvert.convert(network((32, 32, 3)), portable=True, min_size=1, calibration=False)
    told = {*reasons(result).values(), *ends(result).values()}
    assert any("no built-in layer normalises over both maps" in text for text in told)


@pytest.mark.long
def test_a_step_of_training(tmp_path):
    result = octconvert.convert(randomise(network((32, 32, 3))), min_size=1, calibration=False)
    result.model.compile("sgd", "mse")
    assert np.isfinite(result.model.train_on_batch(at(32, 32), np.zeros((2, 3))))
    result.save(tmp_path / "net.keras")
    loaded = octconvert.load(tmp_path / "net.keras")
    assert largest_difference(run(result.model, at(32, 32)), run(loaded, at(32, 32))) <= 1e-6
