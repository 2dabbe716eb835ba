"""Transposed convolutions as sub-pixel convolutions: the same numbers for every geometry."""

from collections import Counter

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import example, largest_difference, randomise, run

import octconvert
from octconvert.inference import Forms

SUBPIXEL = Forms(transposing="subpixel")
SIZES = (5, 6, 3)


def names_of(model) -> Counter:
    return Counter(type(operation).__name__ for operation in model.operations)


def readers(model, name: str) -> set[str]:
    """Names of the classes that read the results of operations of a class."""
    read = [node for each in model.operations if type(each).__name__ == name for node in each._outbound_nodes]
    return {type(node.operation).__name__ for node in read}


def assert_subpixel(model, transposed=0, forms=SUBPIXEL):
    deployed = octconvert.for_inference(model, forms=forms)
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(deployed, inputs)) <= 1e-5
    assert [tuple(t.shape) for t in deployed.outputs] == [tuple(t.shape) for t in model.outputs]
    assert names_of(deployed)["Conv2DTranspose"] == transposed
    return deployed


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"),
    [
        (3, 2, "same", {}),
        (2, 2, "same", {}),
        (4, 2, "same", {}),
        (5, 2, "same", {}),
        (3, 2, "valid", {}),
        (6, 3, "same", {}),
        (7, 3, "valid", {}),
        (2, 3, "valid", {}),
        (3, 1, "same", {}),
        (3, 2, "same", {"output_padding": 1}),
        (3, 2, "same", {"output_padding": 0}),
        (4, 2, "valid", {"output_padding": 1}),
        ((4, 2), 2, "same", {"activation": "relu"}),
        (3, 2, "same", {"use_bias": False}),
    ],
)
def test_every_geometry(kernel, stride, padding, more):
    image = Input(SIZES)
    model = Model(image, layers.Conv2DTranspose(4, kernel, stride, padding=padding, **more)(image))
    assert names_of(assert_subpixel(randomise(model)))["Conv2D"] == 1


@pytest.mark.parametrize(
    ("kernel", "stride", "more"),
    [(3, (2, 1), {}), (1, 2, {}), (3, 1, {"dilation_rate": 3})],
    ids=["strides that differ", "kernels smaller than a block", "kernels of zeros"],
)
def test_what_would_not_pay_stays(kernel, stride, more):
    image = Input(SIZES)
    model = Model(image, layers.Conv2DTranspose(4, kernel, stride, padding="same", **more)(image))
    assert_subpixel(randomise(model), transposed=1)


def test_channels_first_stay():
    image = Input((3, 6, 7))
    layer = layers.Conv2DTranspose(4, 3, 2, use_bias=False, data_format="channels_first")
    deployed = octconvert.for_inference(Model(image, layer(image)), forms=SUBPIXEL)
    assert names_of(deployed)["Conv2DTranspose"] == 1


def test_open_sizes():
    image = Input((None, None, 3))
    model = randomise(Model(image, layers.Conv2DTranspose(4, 3, 2, padding="same")(image)))
    deployed = octconvert.for_inference(model, forms=SUBPIXEL)
    assert names_of(deployed)["Conv2DTranspose"] == 0
    x = np.random.default_rng(0).random((2, 5, 7, 3), "float32")
    assert largest_difference(run(model, [x]), run(deployed, [x])) <= 1e-5


def decoder():
    image = Input((8, 12, 3))
    skip = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(skip)
    x = layers.Conv2DTranspose(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2D(8, 3, padding="same")(layers.PReLU(shared_axes=(1, 2))(x))
    return randomise(Model(image, layers.Conv2DTranspose(2, 3, 2, padding="same", name="map")(x)))


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("upsampling", ["broadcast", "resize"])
def test_of_octave_layers(alpha, upsampling):
    """What is cut off and activated behind them becomes a part of the convolution."""
    octave = octconvert.convert(decoder(), alpha, min_size=1, calibration=False).model
    deployed = assert_subpixel(octave, forms=Forms(upsampling=upsampling, transposing="subpixel"))
    assert names_of(deployed)["DepthToSpace"] > 1 and not readers(deployed, "DepthToSpace") & {"ReLU", "Cropping2D"}


def test_activations_come_before_the_blocks():
    image = Input(SIZES)
    x = layers.Conv2DTranspose(4, 4, 2, padding="valid")(image)
    x = layers.Cropping2D(((1, 0), (2, 1)))(x)
    x = layers.ReLU(6.0)(x)
    deployed = assert_subpixel(randomise(Model(image, layers.Softmax()(x))))
    assert readers(deployed, "Conv2D") == {"ReLU"} and readers(deployed, "ReLU") == {"DepthToSpace"}
    assert names_of(deployed)["Softmax"] == 1 and readers(deployed, "DepthToSpace") <= {"Softmax", "Cropping2D"}


def test_hdf5_files_keep_layers(tmp_path):
    """They hold no operations."""
    path = tmp_path / "deployed.h5"
    octconvert.convert(decoder(), min_size=1, calibration=False, for_inference=True, runtime="litert", output=path)
    assert names_of(keras.saving.load_model(path, compile=False))["Conv2DTranspose"] > 0
