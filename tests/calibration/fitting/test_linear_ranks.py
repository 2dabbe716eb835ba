"""Layers of signals and volumes as regressions: the layer's own linear output, and an exact solution is recovered."""

import numpy as np
import pytest
from keras import layers
from test_linear import check

from octconvert.layers import OctaveConv1D, OctaveConv1DTranspose, OctaveConv3D, OctaveDepthwiseConv1D
from octconvert.octave.geometry import factors

SIZES = {1: [(12,), (11,)], 3: [(6, 8, 4), (5, 7, 6)]}
OCTAVE = {1: OctaveConv1D, 3: OctaveConv3D}
CONVOLUTIONS = [
    dict(kernel_size=3),
    dict(kernel_size=1, strides=2),
    dict(kernel_size=5, padding="valid"),
    dict(kernel_size=3, strides=2, use_bias=False),
    dict(kernel_size=3, dilation_rate=2),
]


def maps(size, high, low, octave=2, first=False):
    rng = np.random.default_rng(1)
    cells = zip(size, factors(octave, len(size)), strict=True)
    shapes = [(2, *size, high), (2, *(-(-length // cell) for length, cell in cells), low)]
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes if shape[-1]]
    return [np.moveaxis(array, -1, 1) for array in arrays] if first else arrays


def fitting(arguments, rank):
    """The arguments, where a 'valid' window of a volume is smaller."""
    return arguments | {"kernel_size": 3} if rank == 3 and arguments.get("padding") else arguments


@pytest.mark.parametrize("place", [0, 1], ids=["even", "odd"])
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("arguments", CONVOLUTIONS, ids=str)
def test_octave_convolutions(arguments, rank, place):
    check(OCTAVE[rank](6, **fitting(arguments, rank)), maps(SIZES[rank][place], 3, 2))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("low, ratio", [(0, 0.5), (0, 1.0), (3, 0.0)])
def test_roles(rank, low, ratio):
    check(OCTAVE[rank](4, 3, ratio_out=ratio), maps(SIZES[rank][1], 3, low))


@pytest.mark.parametrize("rank", [1, 3])
def test_a_tensor_that_is_whole_low(rank):
    size = SIZES[rank][1]
    check(OCTAVE[rank](4, 3, ratio_out=0.0, whole_low=True, high_size=size), maps(size, 0, 3))


CAUSAL = [
    dict(kernel_size=3),
    dict(kernel_size=2, dilation_rate=4),
    dict(kernel_size=1, strides=2),
    dict(kernel_size=3, strides=2),
    dict(kernel_size=3, padding=((2, 0),)),
]


@pytest.mark.parametrize("octave, steps", [(2, 12), (2, 11), (4, 13)])
@pytest.mark.parametrize("arguments", CAUSAL, ids=str)
def test_causal_cells(arguments, octave, steps):
    arguments = {"padding": "causal", "causal": True, "octave": octave, **arguments}
    check(OctaveConv1D(6, **arguments), maps((steps,), 3, 2, octave))
    check(OctaveConv1D(6, ratio_out=0.0, **arguments), maps((steps,), 3, 2, octave))
    whole = dict(ratio_out=0.0, whole_low=True, high_size=(steps,))
    check(OctaveConv1D(4, **arguments, **whole), maps((steps,), 0, 3, octave))


def test_causal_layers_of_other_kinds():
    check(OctaveDepthwiseConv1D(3, padding="causal", dilation_rate=2), maps((11,), 3, 2))
    check(OctaveConv1DTranspose(4, 3, strides=2, causal=True), maps((11,), 3, 2))


@pytest.mark.parametrize("size", [(3, 8, 8), (3, 7, 5)])
def test_a_factor_for_each_axis(size):
    octave = (1, 2, 4)
    check(OctaveConv3D(6, 3, octave), maps(size, 3, 2, octave))
    whole = dict(ratio_out=0.0, whole_low=True, high_size=size)
    check(OctaveConv3D(4, (1, 3, 3), octave, strides=(1, 2, 2), **whole), maps(size, 0, 3, octave))


def test_channels_first():
    check(OctaveConv3D(6, 3, data_format="channels_first"), maps((6, 8, 4), 3, 2, first=True))
    check(
        layers.Conv3D(5, 3, strides=2, padding="same", data_format="channels_first"), maps((6, 7, 5), 3, 0, first=True)
    )


PLAIN = [
    (layers.Conv1D(5, 3, padding="same"), (11,)),
    (layers.Conv1D(5, 3, strides=2, padding="causal"), (11,)),
    (layers.Conv1D(5, 2, dilation_rate=3, padding="causal"), (11,)),
    (layers.Conv1D(6, 3, groups=3, padding="valid"), (11,)),
    (layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), (11,)),
    (layers.Conv1DTranspose(4, 3, strides=2, padding="same"), (7,)),
    (layers.Conv3D(5, (1, 3, 2), padding="same"), (5, 6, 7)),
    (layers.Conv3D(6, 2, groups=3, strides=2), (5, 6, 7)),
    (layers.Conv3DTranspose(4, 2, strides=2), (3, 4, 2)),
]


@pytest.mark.parametrize("layer, size", PLAIN, ids=lambda value: getattr(value, "name", ""))
def test_plain_layers(layer, size):
    check(layer, maps(size, 3, 0))
