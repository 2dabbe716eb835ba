"""What is in the files that runtimes take: a bottleneck whose interior is whole-low has one pool and one upsampling."""

import re
from collections import Counter
from functools import cache

import keras
import pytest
from deployables import installed, with_statistics
from keras import layers

import octconvert
from octconvert.layers import OctaveConv2D
from octconvert.model.execution import run
from octconvert.runtimes import RUNTIMES
from octconvert.runtimes.signature import example_inputs
from octconvert.verification.checks import largest_difference


@cache
def bottleneck(size=16):
    """A convolution, then pool -> 1x1 -> 3x3 -> 1x1 -> upsample -> add."""
    image = keras.Input((size, size, 3), name="image")
    x = layers.ReLU()(layers.Conv2D(16, 3, padding="same", name="stem")(image))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 1)(x)))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(y)))
    y = layers.BatchNormalization()(layers.Conv2D(16, 1)(y))
    model = with_statistics(keras.Model(image, layers.ReLU()(layers.Add()([x, y])), name="block"))
    result = octconvert.convert(model, alpha=0.0, interior=1.0, calibration=False)
    assert [c.alpha_out for c in result.plan.convolutions] == [0.0, 1.0, 1.0, 0.0]
    return result.model


def in_litert(model, folder) -> Counter:
    runtime, path = installed("litert"), folder / "block.tflite"
    runtime.export(model, path)
    interpreter = runtime.open(path)._interpreter
    return Counter(each["op_name"] for each in interpreter._get_ops_details() if each["op_name"] != "DELEGATE")


def in_onnx(model, folder) -> Counter:
    runtime, path = installed("onnx"), folder / "block.onnx"
    runtime.export(model, path)
    return Counter(node.op_type for node in pytest.importorskip("onnx").load(path).graph.node)


def in_xla(model, folder=None) -> Counter:
    import tensorflow as tf

    function = tf.function(lambda x: model(x, training=False), jit_compile=True)
    text = function.experimental_get_compiler_ir(tf.zeros((1, *model.input_shape[1:])))("hlo")
    return Counter(re.findall(r" = \S+ ([a-z-]+)\(", text))


EXPECTED = {
    "litert": (in_litert, {"CONV_2D": 4, "AVERAGE_POOL_2D": 1, "ADD": 1, "RESHAPE": 3}),
    "onnx": (in_onnx, {"Conv": 4, "AveragePool": 1, "Resize": 1, "Add": 1, "Relu": 4, "Transpose": 2}),
    "xla": (in_xla, {"convolution": 4, "reduce-window": 1, "concatenate": 1}),
}
"""In LiteRT a sum over views is the upsampling too; in XLA the columns are copied, and the sum repeats the rows."""


@pytest.mark.quick("onnx", "xla")
@pytest.mark.parametrize("name", EXPECTED)
def test_one_pool_and_one_upsampling(name, tmp_path):
    read, expected = EXPECTED[name]
    operations = read(octconvert.for_inference(bottleneck(), name), tmp_path)
    assert {key: operations[key] for key in expected} == expected
    if name != "xla":  # whose views and constants are operations, too
        assert operations == expected


@pytest.mark.long
@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_computes_what_keras_computes(name, size, tmp_path):
    runtime, model = installed(name), bottleneck(size)
    path = tmp_path / f"block{runtime.suffix}"
    runtime.export(octconvert.for_inference(model, name), path)
    inputs = example_inputs(model, 1)
    assert largest_difference(run(model, list(inputs.values())), runtime.open(path)(inputs)) < 1e-5


def test_a_layer_from_low_to_low_is_the_plain_convolution_of_the_low_map():
    """The layer itself, before any form for inference: no padding, pooling or upsampling around it."""
    x = keras.Input((8, 8, 4))
    octave = OctaveConv2D(6, 3, ratio_out=1.0, whole_low=True)
    models = [keras.Model(x, layer(x)) for layer in (octave, layers.Conv2D(6, 3, padding="same"))]
    first, second = (in_xla(model) for model in models)
    assert first == second and first["convolution"] == 1
