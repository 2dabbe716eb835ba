"""A layer written as a regression gives the layer's own linear output, at every position."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from octconvert.calibration.fitting.least_squares import NormalEquations
from octconvert.calibration.fitting.linear import draw_positions, regressions
from octconvert.calibration.fitting.problem import Intercept, Problem
from octconvert.layers import OctaveConv2D, OctaveConv2DTranspose, OctaveDepthwiseConv2D
from octconvert.layers.spatial import pool_octave

PADS = ((1, 0), (2, -1))


def filled(layer, inputs):
    """The layer with random weights, biases too, and its outputs."""
    layer(inputs)
    rng = np.random.default_rng(3)
    for weight in layer.weights:
        weight.assign(rng.standard_normal(weight.shape))
    return [np.asarray(ops.convert_to_numpy(y)) for y in keras.tree.flatten(layer(inputs))]


def check(layer, arrays):
    inputs = [ops.convert_to_tensor(array) for array in arrays]
    outputs = filled(layer, inputs if len(inputs) > 1 else inputs[0])
    made = regressions(layer)
    assert [regression.output for regression in made] == list(range(len(outputs)))
    for regression, output in zip(made, outputs, strict=True):
        if regression.cell != 1:  # one value in every cell
            output = np.asarray(pool_octave(ops.convert_to_tensor(output), regression.cell, layer.data_format))
        positions = draw_positions(np.random.default_rng(0), regression.last(output).shape, 10**9)
        rows = np.asarray(regression.rows(inputs, positions), dtype="float64")
        expected = np.asarray(regression.targets(ops.convert_to_tensor(output), positions), dtype="float64")
        weights = regression.weights()
        assert rows.shape == (regression.blocks, len(positions), weights.shape[1])
        bias = regression.bias_variable
        shift = 0.0 if bias is None else np.asarray(bias).reshape(len(weights), 1, -1)
        assert np.abs(rows @ weights + shift - expected).max() < 1e-4 * np.abs(expected).max()
        before = [np.array(weight) for weight in layer.weights]
        values = {weight.name: np.array(weight) for weight in layer.weights}
        regression.assign(weights)
        assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, layer.weights, strict=True))
        regression.assign(2 * weights)
        assert np.allclose(regression.weights(), 2 * weights)
        assert np.allclose(regression.weights(values), weights)  # of other values, by name
        regression.assign(weights)


def maps(octave, high, low, rows=12, columns=8, first=False):
    """A high and a low map."""
    rng = np.random.default_rng(1)
    shapes = [(2, rows, columns, high), (2, -(-rows // octave), -(-columns // octave), low)]
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes if shape[-1]]
    return [np.moveaxis(array, 3, 1) for array in arrays] if first else arrays


CONVOLUTIONS = [
    dict(kernel_size=3),
    dict(kernel_size=1),
    dict(kernel_size=2),
    dict(kernel_size=(3, 1)),
    dict(kernel_size=5, padding="valid"),
    dict(kernel_size=3, strides=2),
    dict(kernel_size=1, strides=2),
    dict(kernel_size=2, strides=2, padding="valid"),
    dict(kernel_size=3, strides=3),
    dict(kernel_size=3, strides=(2, 1), padding="valid"),
    dict(kernel_size=5, strides=2, padding=((2, 2), (1, 3))),
    dict(kernel_size=3, padding=PADS),
    dict(kernel_size=3, dilation_rate=2),
    dict(kernel_size=3, dilation_rate=(1, 4), padding="valid"),
    dict(kernel_size=3, groups=2),
    dict(kernel_size=3, groups=4, strides=2, use_bias=False),
]


@pytest.mark.quick(
    "{'kernel_size': 3}-2",
    "{'kernel_size': 3, 'strides': 2}-4",
    "{'kernel_size': 1, 'strides': 2}-2",
    "{'kernel_size': 5, 'padding': 'valid'}-2",
    "{'kernel_size': 3, 'dilation_rate': 2}-2",
    "{'kernel_size': 3, 'groups': 2}-2",
)
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_octave_convolution(arguments, octave):
    columns = 10 if arguments.get("dilation_rate") == (1, 4) else 8
    check(OctaveConv2D(16, octave=octave, **arguments), maps(octave, 8, 4, columns=columns))


@pytest.mark.quick(
    "{'kernel_size': 3}-2-size0",
    "{'kernel_size': 2}-4-size1",
    "{'kernel_size': 5, 'padding': 'valid'}-2-size2",
    "{'kernel_size': 3, 'strides': 2}-2-size1",
    "{'kernel_size': 1, 'strides': 2}-4-size2",
)
@pytest.mark.parametrize("size", [(11, 7), (9, 13), (13, 6)])
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("arguments", CONVOLUTIONS[:9], ids=str)
def test_octave_convolution_of_odd_sizes(arguments, octave, size):
    check(OctaveConv2D(6, octave=octave, **arguments), maps(octave, 3, 2, *size))


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("low, ratio", [(0, 0.5), (0, 1.0), (3, 0.0), (3, 1.0), (0, 0.0)])
def test_roles_of_octave_convolutions(low, ratio, strides):
    layer = OctaveConv2D(6, 3, ratio_out=ratio, strides=strides)
    check(layer, maps(2, 4, low, 9, 8))


@pytest.mark.quick(
    "0.0-{'kernel_size': 3}-odd",
    "0.5-{'kernel_size': 3, 'strides': 2}-even",
    "1.0-{'kernel_size': 3}-even",
    "0.0-{'kernel_size': 1, 'strides': 2}-4",
)
@pytest.mark.parametrize("octave, size", [(2, (12, 10)), (2, (11, 9)), (4, (11, 9))], ids=["even", "odd", "4"])
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_octave_convolution_of_a_tensor_that_is_whole_low(ratio, arguments, octave, size):
    layer = OctaveConv2D(8, octave=octave, ratio_out=ratio, whole_low=True, high_size=size, **arguments)
    check(layer, maps(octave, 0, 4, *size))


@pytest.mark.parametrize("arguments", [CONVOLUTIONS[0], CONVOLUTIONS[6]], ids=str)
def test_whole_low_channels_first(arguments):
    layer = OctaveConv2D(8, whole_low=True, data_format="channels_first", **arguments)
    check(layer, maps(2, 0, 4, 8, 6, first=True))


@pytest.mark.parametrize("strides", [1, 2])
def test_depthwise_convolution_of_a_tensor_that_is_whole_low(strides):
    check(OctaveDepthwiseConv2D(3, strides=strides, whole_low=True, high_size=(11, 7)), maps(2, 0, 4, 11, 7))


@pytest.mark.parametrize("size", [(8, 6), (7, 6), (7, 9)])
def test_the_mean_of_a_cell_is_fitted_in_place_of_its_positions(size):
    """The sums of a least squares fit at every position, in units of a whole cell."""
    low, rng = maps(2, 0, 3, *size), np.random.default_rng(4)
    layer = OctaveConv2D(2, 3, ratio_out=0.0, whole_low=True, high_size=size)
    filled(layer, ops.convert_to_tensor(low[0]))
    (regression,) = regressions(layer)
    y = rng.standard_normal((2, *size, 2)).astype("float32")
    means = pool_octave(ops.convert_to_tensor(y), 2, "channels_last")
    problem = Problem(regression, Intercept(layer.high_bias), NormalEquations(1, 28, 2))
    problem.add(rng, [ops.convert_to_tensor(low[0])], means, 10**9, 0)

    positions = draw_positions(rng, y.shape, 10**9)
    cells = positions // (1, 2, 2)
    rows = np.asarray(regression.rows([ops.convert_to_tensor(low[0])], cells))[0]
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype("float64")
    targets = y.reshape(-1, 2).astype("float64")
    assert len(rows) == len(targets) == 2 * size[0] * size[1]
    assert np.allclose(4 * problem.equations.gram[0, 0], rows.T @ rows, rtol=1e-4, atol=1e-3)
    assert np.allclose(4 * problem.equations.product[0, 0], rows.T @ targets, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("arguments", [CONVOLUTIONS[0], CONVOLUTIONS[6], CONVOLUTIONS[11]], ids=str)
def test_channels_first(arguments):
    check(OctaveConv2D(8, data_format="channels_first", **arguments), maps(2, 4, 2, 9, 6, first=True))


@pytest.mark.quick(
    "{'kernel_size': 3}-2",
    "{'kernel_size': 5, 'strides': 2, 'depth_multiplier': 2}-4",
    "{'kernel_size': 3, 'padding': 'valid', 'use_bias': False}-2",
)
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize(
    "arguments",
    [
        dict(kernel_size=3),
        dict(kernel_size=3, depth_multiplier=3),
        dict(kernel_size=5, strides=2, depth_multiplier=2),
        dict(kernel_size=3, padding="valid", use_bias=False),
        dict(kernel_size=3, padding=PADS),
        dict(kernel_size=2, dilation_rate=2),
    ],
    ids=str,
)
def test_octave_depthwise(arguments, octave):
    for low in (2, 0):
        check(OctaveDepthwiseConv2D(octave=octave, **arguments), maps(octave, 3, low, 11, 8))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(6, 3),
        layers.Conv2D(6, 3, strides=2, padding="same", groups=3),
        layers.Conv2D(6, (1, 5), dilation_rate=2, padding="same", use_bias=False),
        layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
        layers.DepthwiseConv2D((3, 2), dilation_rate=2),
        layers.Dense(5),
    ],
    ids=lambda layer: layer.name,
)
def test_plain_layers_of_maps(layer):
    check(layer, maps(2, 6, 0, 11, 9))


TRANSPOSED = [
    dict(kernel_size=2, strides=2),
    dict(kernel_size=3, strides=2, padding="same"),
    dict(kernel_size=4, strides=2, padding="same", use_bias=False),
    dict(kernel_size=3, padding="same"),
    dict(kernel_size=5, strides=(1, 2), padding="valid"),
    dict(kernel_size=1, strides=2, padding="same"),
    dict(kernel_size=2, strides=3, padding="valid"),
    dict(kernel_size=(3, 2), strides=2, padding="same", output_padding=1),
    dict(kernel_size=3, padding="same", dilation_rate=2),
]


@pytest.mark.quick("{'kernel_size': 2, 'strides': 2}", "{'kernel_size': 3, 'strides': 2, 'padding': 'same'}")
@pytest.mark.parametrize("arguments", TRANSPOSED, ids=str)
def test_transposed_convolutions(arguments):
    check(layers.Conv2DTranspose(5, **arguments), maps(2, 3, 0, 7, 6))


@pytest.mark.quick("{'kernel_size': 2, 'strides': 2}-2", "{'kernel_size': 3, 'strides': 2, 'padding': 'same'}-2")
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("arguments", TRANSPOSED, ids=str)
def test_octave_transposed_convolutions(arguments, octave):
    arguments = {"padding": "valid", **arguments, "octave": octave}
    check(OctaveConv2DTranspose(7, ratio_out=0.45, **arguments), maps(octave, 3, 2))
    check(OctaveConv2DTranspose(7, ratio_out=0.45, **arguments), maps(octave, 3, 2, 11, 7))
    check(OctaveConv2DTranspose(7, ratio_out=0.0, **arguments), maps(octave, 3, 2))
    check(OctaveConv2DTranspose(7, ratio_out=0.45, **arguments), maps(octave, 3, 0))
    check(OctaveConv2DTranspose(7, ratio_out=1.0, **arguments), maps(octave, 3, 2))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_octave_transposed_convolution_of_a_whole_low_map(ratio):
    arguments = {"whole_low": True, "high_size": (12, 8), "padding": "same", "strides": 2}
    check(OctaveConv2DTranspose(6, 3, ratio_out=ratio, **arguments), maps(2, 0, 4))


@pytest.mark.parametrize("shape", [(7, 6), (3, 5, 6)])
def test_dense_of_vectors_and_sequences(shape):
    check(layers.Dense(4), [np.random.default_rng(0).standard_normal(shape).astype("float32")])


def test_layers_that_are_not_known_to_be_linear():
    others = (layers.SeparableConv1D(4, 3), layers.SeparableConv2D(4, 3), layers.ReLU())
    assert not any(map(regressions, others))


def test_drawn_positions_are_different_and_within_the_map():
    rng = np.random.default_rng(0)
    drawn = draw_positions(rng, (3, 5, 7, 2), 40)
    assert drawn.shape == (40, 3) and len(np.unique(drawn, axis=0)) == 40
    assert (drawn >= 0).all() and (drawn < (3, 5, 7)).all()
    assert len(np.unique(drawn[:, 0])) == 3
    everything = draw_positions(rng, (3, 5, 7, 2), 105)
    assert len(np.unique(everything, axis=0)) == 105


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_the_size_of_a_whole_low_map_may_be_an_input(size):
    layer = OctaveConv2D(8, 3, whole_low=True)
    check(layer, [*maps(2, 0, 4, *size), np.array(size, dtype="int32")])
