"""OctaveDepthwiseConv2D: each map with its own kernels, against the plain DepthwiseConv2D and a numpy formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from layer_reference import close, conv, first, maps, pool, randomise, same_pads

from octconvert.layers import OctaveDepthwiseConv2D
from octconvert.octave.geometry import fold_matrix


def depthwise(x, kernel, stride=1, pads=((0, 0), (0, 0)), dilation=1):
    """One plain convolution a channel, in numpy; output channels in Keras' order."""
    parts = [conv(x[..., c : c + 1], kernel[:, :, c : c + 1], stride, pads, dilation) for c in range(x.shape[-1])]
    return np.concatenate(parts, -1)


def plain(layer, kernel, bias, x, **arguments):
    """The same numbers through keras.layers.DepthwiseConv2D."""
    source = keras.layers.DepthwiseConv2D(
        layer.kernel_size, layer.strides, depth_multiplier=layer.depth_multiplier, **arguments
    )
    source.build(x.shape)
    source.set_weights([kernel, bias])
    return np.asarray(source(x))


@pytest.mark.quick("3-1-1-same-1", "5-2-1-same-2", "3-1-2-valid-1", "2-2-1-valid-2", "kernel4-1-1-same-1")
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 1, 2), (2, 2, 1), ((3, 1), 1, 1)])
def test_octave_1_is_the_plain_layer(kernel, stride, dilation, padding, multiplier):
    inputs = maps(9, 8, octave=1)
    layer = OctaveDepthwiseConv2D(kernel, 1, stride, padding, multiplier, dilation_rate=dilation)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    weights = ((layer.hh_kernel, layer.high_bias), (layer.ll_kernel, layer.low_bias))
    for x, (taps, bias), actual in zip(inputs, weights, outputs, strict=True):
        close(actual, plain(layer, taps, bias, x, padding=padding, dilation_rate=dilation))


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((2, 0), (0, 1)), ((-1, 0), (0, -2))])
def test_octave_1_with_explicit_padding(padding):
    inputs = maps(9, 8, octave=1)
    layer = OctaveDepthwiseConv2D(3, 1, 2, padding)
    layer(inputs)
    high, low = randomise(layer)(inputs)
    close(high, depthwise(inputs[0], np.asarray(layer.hh_kernel), 2, padding) + np.asarray(layer.high_bias))
    close(low, depthwise(inputs[1], np.asarray(layer.ll_kernel), 2, padding) + np.asarray(layer.low_bias))


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
@pytest.mark.parametrize(("kernel", "multiplier"), [(3, 1), (3, 3), (5, 1)])
def test_stride_1_convolves_both_maps_alike(kernel, multiplier, size):
    """Sum, one bias, activation; the low window is the same one on the low map."""
    inputs = maps(*size)
    layer = OctaveDepthwiseConv2D(kernel, depth_multiplier=multiplier, activation="relu")
    layer(inputs)
    outputs = randomise(layer)(inputs)
    weights = ((layer.hh_kernel, layer.high_bias), (layer.ll_kernel, layer.low_bias))
    pads = ((kernel // 2, kernel // 2),) * 2
    for x, (taps, bias), actual in zip(inputs, weights, outputs, strict=True):
        total = depthwise(x, np.asarray(taps), 1, pads) + np.asarray(bias)
        assert (total < 0).any()
        close(actual, np.maximum(total, 0))


@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, "same"), (3, 2, "same"), (5, 2, "valid"), (1, 2, "same"), (4, 1, "same")],
)
def test_folded_kernel_reproduces_the_pooled_source(kernel, stride, padding, octave):
    """Low output == pooled plain output of the upsampled low map, away from the borders."""
    size = (32, 36)
    low = maps(*size, octave=octave)[1]
    source_input = low.repeat(octave, 1).repeat(octave, 2)
    taps = np.random.default_rng(3).normal(size=(kernel, kernel, 2, 1)).astype("float32")
    before = same_pads(32, kernel, stride)[0] if padding == "same" else 0
    matrix = fold_matrix(kernel, stride, before, octave)
    layer = OctaveDepthwiseConv2D(kernel, octave, stride, padding, use_bias=False)
    layer.build([(None, *size, 3), low.shape])
    layer.ll_kernel.assign(np.einsum("ij,jkcm,lk->ilcm", matrix, taps, matrix))
    actual = np.asarray(layer([maps(*size)[0], low])[1])
    source = plain(layer, taps, np.zeros(2), source_input, padding=padding)
    expected = pool(source, octave)
    assert actual.shape == expected.shape
    close(actual[:, 1:-2, 1:-2], expected[:, 1:-2, 1:-2])


@pytest.mark.quick("1-2", "5-4-2")
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 4, "strides": 4},
        {"kernel_size": 5, "octave": 4, "depth_multiplier": 2},
        {"kernel_size": 3, "padding": ((1, 1), (0, 2)), "strides": 2},
        {"kernel_size": 3, "dilation_rate": 2},
    ],
    ids=lambda arguments: "-".join(str(v).replace(" ", "") for v in arguments.values()),
)
def test_unknown_sizes_give_the_same_numbers(arguments):
    layer = OctaveDepthwiseConv2D(**arguments)
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 2))]
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == [(None, None, None, c * layer.depth_multiplier) for c in (3, 2)]
    randomise(layer)
    specs = [[tf.TensorSpec([None, None, None, c]) for c in (3, 2)]]
    function = tf.function(lambda x: model(x), input_signature=specs)
    for size in ((12, 16), (13, 11), (10, 15)):
        data = maps(*size, octave=layer.octave)
        for actual, wanted in zip(function(data), layer(data), strict=True):
            close(actual, wanted)


def test_one_tensor_is_convolved_as_it_is():
    image = maps(7, 6)[0]
    layer = OctaveDepthwiseConv2D(3, strides=2)
    layer(image)
    output = randomise(layer)(image)
    assert [w.name for w in layer.weights] == ["hh_kernel", "high_bias"]
    close(output, plain(layer, layer.hh_kernel, layer.high_bias, image, padding="same"))
    assert tuple(layer(keras.KerasTensor((None, 7, 6, 3))).shape) == (None, 4, 3, 3)


def test_channels_first():
    inputs = maps(9, 8)
    last = OctaveDepthwiseConv2D(3, strides=2)
    last(inputs)
    outputs = randomise(last)(inputs)
    layer = OctaveDepthwiseConv2D(3, strides=2, data_format="channels_first")
    symbolic = layer([keras.KerasTensor(first(x).shape) for x in inputs])
    assert [tuple(x.shape) for x in symbolic] == [first(x).shape for x in outputs]
    try:
        keras.layers.DepthwiseConv2D(3, data_format="channels_first")(first(inputs[0]))
    except Exception as error:
        pytest.skip(f"this device has no channels-first depthwise convolution: {type(error).__name__}")
    layer.set_weights(last.get_weights())
    for actual, wanted in zip(layer([first(x) for x in inputs]), outputs, strict=True):
        close(actual, first(wanted))


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")])
def test_policies(policy, dtype):
    inputs = maps(7, 8)
    reference, layer = OctaveDepthwiseConv2D(3), OctaveDepthwiseConv2D(3, dtype=policy)
    reference(inputs)
    outputs = randomise(reference)(inputs)
    layer(inputs)
    layer.set_weights(reference.get_weights())
    for actual, wanted in zip(layer(inputs), outputs, strict=True):
        assert keras.backend.standardize_dtype(actual.dtype) == dtype
        close(ops.cast(actual, "float32"), wanted, 4e-2)


def test_parameters_losses_and_gradients():
    inputs = maps(6, 8)
    layer = OctaveDepthwiseConv2D(3, depth_multiplier=2, depthwise_regularizer="l2")
    layer(inputs)
    randomise(layer)
    source = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
    source.build((None, 6, 8, 5))
    assert layer.count_params() == source.count_params()
    squares = sum(float((np.asarray(k, "float64") ** 2).sum()) for k in (layer.hh_kernel, layer.ll_kernel))
    assert float(sum(layer.losses)) == pytest.approx(0.01 * squares, rel=1e-5)
    with tf.GradientTape() as tape:
        loss = sum(ops.sum(ops.square(x)) for x in layer(inputs))
    for gradient in tape.gradient(loss, [w.value for w in layer.trainable_weights]):
        assert np.abs(gradient).min() > 0


def test_constraints_are_on_both_kernels():
    layer = OctaveDepthwiseConv2D(3, depthwise_constraint="non_neg")
    layer(maps(4, 4))
    assert all(isinstance(k.constraint, keras.constraints.NonNeg) for k in (layer.hh_kernel, layer.ll_kernel))


def test_macs_are_counted_for_both_maps():
    layer = OctaveDepthwiseConv2D(3, strides=2, depth_multiplier=2)
    assert layer.macs([(None, 8, 8, 3), (None, 4, 4, 2)]) == 9 * (16 * 6 + 4 * 4)
    assert OctaveDepthwiseConv2D(3).macs((None, 5, 4, 3)) == 9 * 20 * 3


def test_configuration_comes_back():
    layer = OctaveDepthwiseConv2D((3, 2), 4, 2, ((1, 0), (2, 1)), 3, use_bias=False, activation="relu", name="dw")
    config = layer.get_config()
    assert OctaveDepthwiseConv2D.from_config(config).get_config() == config
    assert config["depth_multiplier"] == 3 and config["octave"] == 4
    assert keras.saving.get_registered_name(OctaveDepthwiseConv2D) == "octconvert>OctaveDepthwiseConv2D"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth_multiplier": 0}, "depth_multiplier"),
        ({"octave": 6}, "octave.*power of two"),
        ({"kernel_size": (3, 0)}, "kernel_size"),
        ({"strides": 2, "dilation_rate": 2}, "strides.*dilation_rate"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OctaveDepthwiseConv2D(**{"kernel_size": 3, **arguments})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(None, 8, 8, 3), (None, 4, 4, None)], "dw.*channel dimension of the low input"),
        ([(None, 8, 8, 3), (None, 5, 4, 2)], r"dw.*octave=2.*\(4, 4\).*\(5, 4\)"),
        ([(None, 8, 8, 3)] * 3, "dw.*3 tensors"),
    ],
)
def test_wrong_inputs(shapes, message):
    with pytest.raises(ValueError, match=message):
        OctaveDepthwiseConv2D(3, name="dw")([keras.KerasTensor(shape) for shape in shapes])
