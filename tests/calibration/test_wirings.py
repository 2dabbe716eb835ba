"""A net is calibrated as well as alone where it is called on several images, on videos, or is a decoder.

The errors of a trained net are compared: the source's own weights decide how much is lost at the low resolution.
"""

from pathlib import Path

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.calibration.evidence import ModelOutputs
from octconvert.model.graph_reader import build_graph

FIXTURES = Path(__file__).parents[2] / "fixtures"
OPTIONS = dict(calibration_steps=("select", "solve"), calibration_samples=160, calibration_budget=3_600.0)
SIZE = (28, 28, 1)


@pytest.fixture(scope="module")
def trunk():
    """fashion_cnn up to its last map's means: images to vectors."""
    whole = keras.models.load_model(FIXTURES / "fashion_cnn.h5", compile=False)
    return keras.Model(whole.input, whole.get_layer("gap").output, name="trunk")


@pytest.fixture(scope="module")
def photos():
    return np.load(FIXTURES / "fashion_test_200.npz")["x"].reshape(-1, *SIZE).astype("float32")


@pytest.fixture(scope="module")
def alone(trunk, photos):
    """Relative error of the net alone on photographs, after a calibration on synthetic images."""
    return error(trunk, octconvert.convert(trunk, **OPTIONS).model, photos)


def error(source, converted, *arrays) -> float:
    samples = nets.samples(*arrays)
    expected, result = (ModelOutputs.of(build_graph(model), samples, 50) for model in (source, converted))
    return expected.error(result)


def pair_of(part):
    """Two images through the same net as a nested model."""
    first, second = keras.Input(SIZE), keras.Input(SIZE)
    return keras.Model([first, second], layers.Concatenate()([part(first), part(second)]))


def unrolled(part):
    """The layers of a net called on two images, without a nested model."""
    images = [keras.Input(SIZE) for _ in range(2)]
    ends = []
    for image in images:
        values = {id(part.input): image}
        for layer in part.layers[1:]:
            (node,) = (n for n in layer._inbound_nodes if id(n.outputs[0]) in {id(t) for t in tensors_in(part)})
            read = [values[id(tensor)] for tensor in node.arguments.keras_tensors]
            values[id(node.outputs[0])] = layer(read if len(read) > 1 else read[0])
        ends.append(values[id(part.output)])
    return keras.Model(images, layers.Concatenate()(ends))


def tensors_in(part):
    return [tensor for nodes in part._nodes_by_depth.values() for node in nodes for tensor in node.outputs]


@pytest.mark.long
@pytest.mark.parametrize("make", [pair_of, unrolled])
def test_a_pair_is_as_near_as_the_net_alone(make, trunk, photos, alone):
    pair = make(trunk)
    result = octconvert.convert(pair, **{**OPTIONS, "calibration_samples": 80})
    assert error(pair, result.model, photos[:100], photos[100:]) < 1.3 * alone


@pytest.mark.long
def test_a_net_in_time_distributed_is_as_near_as_alone(trunk, photos, alone):
    video = keras.Input((4, *SIZE))
    model = keras.Model(video, layers.TimeDistributed(trunk)(video))
    result = octconvert.convert(model, **{**OPTIONS, "calibration_samples": 40})
    assert "0..255, read from Rescaling" in result.report.calibration.input_range
    assert error(model, result.model, photos.reshape(50, 4, *SIZE)) < 1.3 * alone


@pytest.mark.long
@pytest.mark.parametrize("scaled_by", ["a model in front", "the wrapper"])
def test_a_net_within_another_is_as_near_as_alone(scaled_by, trunk, photos, alone):
    image, scaled = keras.Input(SIZE), trunk.get_layer("rescale").output
    if scaled_by == "a model in front":
        front = keras.Sequential([keras.Input(SIZE), layers.Rescaling(1 / 255)], name="front")
        model = keras.Model(image, keras.Model(scaled, trunk.output, name="net")(front(image)))
    else:
        model = keras.Model(image, trunk(image))
    result = octconvert.convert(model, **OPTIONS)
    assert error(model, result.model, photos) == pytest.approx(alone, rel=0.05)


@pytest.mark.long
def test_a_decoder_of_transposed_convolutions():
    image = keras.Input((16, 16, 3))
    x = nets.conv_bn(nets.conv_bn(image, 8), 12, strides=2)
    x = layers.Conv2DTranspose(8, 4, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    model = randomise(keras.Model(image, layers.Conv2DTranspose(3, 3, padding="same")(x)))
    options = dict(min_size=1, calibration=nets.images(24), calibration_budget=3_600.0)
    result = octconvert.convert(model, calibration_steps="solve", **options)
    (step,) = result.report.calibration.steps
    assert step.kept and step.detail == "4 layers"
    (measure,) = (m for m in result.report.calibration.measures if m.name == "relative error")
    assert measure.after < 0.6 * measure.before
