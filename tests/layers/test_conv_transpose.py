"""OctaveConv2DTranspose against a transposed convolution scattered in numpy, Keras, and the fold identity."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_reference import ceil_div, close, first, maps, pool, randomise, upsample

from octconvert.layers import OctaveConv2DTranspose
from octconvert.octave.geometry import align

PATHS = ("hh_kernel", "hl_kernel", "lh_kernel", "ll_kernel")


def scatter(x, kernel, stride=1, dilation=1):
    """The full transposed convolution: every position adds its taps, ``stride`` apart. Kernels are (..., out, in)."""
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    spans = [(n - 1) * dilation + 1 for n in kernel.shape[:2]]
    total = np.zeros((len(x), *((x.shape[1 + i] - 1) * stride + spans[i] for i in (0, 1)), kernel.shape[2]))
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    total[:, r * stride + i * dilation, c * stride + j * dilation] += x[:, r, c] @ kernel[i, j].T
    return total


def ends_of(size, kernel, stride, dilation, padding, extra):
    """(positions cut in front, length) of one axis, as TensorFlow and Keras count them."""
    span = (kernel - 1) * dilation + 1
    full = (size - 1) * stride + span
    if padding == "valid":
        return 0, full + (max(stride - span, 0) if extra is None else extra)
    length = size * stride if extra is None else (size - 1) * stride + span % 2 + extra
    return max(full - length, 0) // 2, length


def fitted(full, ends):
    """Positions ``front .. front + length`` of each axis; zeros where there are none."""
    for axis, (front, length) in enumerate(ends, start=1):
        pads = [(0, 0)] * 4
        pads[axis] = (max(-front, 0), max(front + length - full.shape[axis], 0))
        full = np.take(np.pad(full, pads), range(max(front, 0), max(front, 0) + length), axis)
    return full


def transposed(x, kernel, stride=1, padding="same", extra=None, dilation=1):
    """Conv2DTranspose without its bias."""
    ends = [ends_of(x.shape[1 + i], kernel.shape[i], stride, dilation, padding, extra) for i in (0, 1)]
    return fitted(scatter(x, kernel, stride, dilation), ends)


def low_transposed(low, kernel, high_size, stride, padding, extra, octave):
    """The same for a low map: its taps stand where the taps of the source's window fall, in cells."""
    ends = []
    for i, size in enumerate(high_size):
        taps = kernel.shape[i]
        front, length = ends_of(size, taps, stride, 1, padding, extra)
        cells = [math.floor((stride * phase + d - front) / octave) for phase in range(octave) for d in range(taps)]
        spare = taps - (max(cells) - min(cells) + 1)
        assert spare >= 0 and spare % 2 == 0, "pick a case that leaves no choice"
        ends.append((spare // 2 - min(cells), ceil_div(length, octave)))
    return fitted(scatter(low, kernel, stride), ends)


def weights_of(layer):
    return {weight.name: keras.ops.convert_to_numpy(weight) for weight in layer.weights}


def formula(layer, inputs, stride=1, padding="same", extra=None):
    """High and low output, as the paper writes them (None where there is no such output)."""
    (high, low), octave = (inputs if isinstance(inputs, list) else (inputs, None)), layer.octave
    weights, size = weights_of(layer), high.shape[1:3]
    high_out = low_out = None
    if "hh_kernel" in weights:
        high_out = transposed(high, weights["hh_kernel"], stride, padding, extra)
        if low is not None:
            from_low = low_transposed(low, weights["lh_kernel"], size, stride, padding, extra, octave)
            high_out = high_out + upsample(from_low, octave, high_out)
        high_out = high_out + weights["high_bias"]
    if "hl_kernel" in weights:
        low_out = low_transposed(pool(high, octave), weights["hl_kernel"], size, stride, padding, extra, octave)
        if low is not None:
            low_out = low_out + low_transposed(low, weights["ll_kernel"], size, stride, padding, extra, octave)
        low_out = low_out + weights["low_bias"]
    return high_out, low_out


def joined_kernel(layer):
    """The four kernels as the one of a plain layer over [high | low] channels (None: no such path)."""
    rows = [[getattr(layer, name) for name in names] for names in (PATHS[:2], PATHS[2:])]
    rows = [[np.asarray(k) for k in row if k is not None] for row in rows]
    return np.concatenate([np.concatenate(row, 2) for row in rows if row], 3)


def joined_bias(layer):
    return np.concatenate([np.asarray(b) for b in (layer.high_bias, layer.low_bias) if b is not None])


# The reference, and octave=1 -------------------------------------------------------------------------------------

PLAIN = [
    {"kernel_size": 3},
    {"kernel_size": (2, 5)},
    {"kernel_size": 4, "strides": 2},
    {"kernel_size": 2, "strides": 3},
    {"kernel_size": 1, "strides": 2},
    {"kernel_size": 3, "strides": (1, 2), "padding": "valid"},
    {"kernel_size": 2, "strides": 3, "padding": "valid"},
    {"kernel_size": 3, "strides": 2, "output_padding": 1},
    {"kernel_size": 3, "strides": 2, "output_padding": (0, 1)},
    {"kernel_size": 4, "strides": 2, "output_padding": 1},
    {"kernel_size": 3, "strides": 2, "padding": "valid", "output_padding": 1},
    {"kernel_size": 3, "dilation_rate": 2},
    {"kernel_size": 2, "dilation_rate": 3, "padding": "valid"},
]


@pytest.mark.parametrize("arguments", [a for a in PLAIN if all(isinstance(v, (int, str)) for v in a.values())])
def test_the_reference_is_the_layer_of_keras(arguments):
    x = maps(5, 4)[0]
    layer = keras.layers.Conv2DTranspose(2, **{"padding": "same", "use_bias": False, **arguments})
    layer.build(x.shape)
    known = {"strides": "stride", "padding": "padding", "output_padding": "extra", "dilation_rate": "dilation"}
    options = {known[key]: value for key, value in arguments.items() if key in known}
    close(layer(x), transposed(x, np.asarray(layer.kernel), **options))


@pytest.mark.quick(
    "arguments0-0.5",
    "arguments1-0.5",
    "arguments2-0.5",
    "arguments3-0.0",
    "arguments4-1.0",
    "arguments5-0.5",
    "arguments6-0.5",
    "arguments7-0.5",
    "arguments8-0.0",
    "arguments9-0.5",
    "arguments10-0.5",
    "arguments11-0.5",
    "arguments12-1.0",
)
@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("arguments", PLAIN)
def test_octave_1_is_the_plain_layer(arguments, ratio_out):
    inputs = maps(5, 4, octave=1)
    layer = OctaveConv2DTranspose(4, octave=1, ratio_out=ratio_out, **arguments)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    plain = keras.layers.Conv2DTranspose(4, **{"padding": "same", **arguments})
    plain.build((None, 5, 4, 5))
    plain.set_weights([joined_kernel(layer), joined_bias(layer)])
    found = np.concatenate(outputs, -1) if isinstance(outputs, list) else outputs
    close(found, plain(np.concatenate(inputs, -1)))


# The formula -----------------------------------------------------------------------------------------------------


@pytest.mark.quick("2-2-same-None-size0", "3-1-same-None-size1", "5-1-valid-None-size0", "4-2-same-1-size1")
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [
        (2, 2, "same", None),
        (2, 1, "same", None),
        (3, 1, "same", None),
        (2, 2, "valid", None),
        (5, 1, "valid", None),
        (4, 2, "same", None),
        (6, 2, "valid", None),
        (4, 2, "same", 1),
        (1, 1, "same", None),
    ],
)
def test_four_paths_are_the_formula(kernel, stride, padding, extra, size):
    inputs = maps(*size)
    layer = OctaveConv2DTranspose(5, kernel, ratio_out=0.4, strides=stride, padding=padding, output_padding=extra)
    layer(inputs)
    high, low = randomise(layer)(inputs)
    assert (high.shape[-1], low.shape[-1]) == (3, 2)
    expected = formula(layer, inputs, stride, padding, extra)
    close(high, expected[0])
    close(low, expected[1])


@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pair", [False, True])
def test_every_role_is_the_formula(pair, ratio_out):
    """One tensor in: first; ratio_out 0: last; ratio_out 1: the low map alone."""
    inputs = maps(5, 6) if pair else maps(5, 6)[0]
    layer = OctaveConv2DTranspose(4, 2, ratio_out=ratio_out, strides=2)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    assert isinstance(outputs, list) is (ratio_out == 0.5)
    expected = [x for x in formula(layer, inputs, 2) if x is not None]
    for actual, wanted in zip(outputs if isinstance(outputs, list) else [outputs], expected, strict=True):
        close(actual, wanted)


def test_sum_then_one_bias_then_activation():
    inputs = maps(4, 6)
    layer = OctaveConv2DTranspose(4, 3, activation="relu")
    layer(inputs)
    outputs = randomise(layer)(inputs)
    for actual, total in zip(outputs, formula(layer, inputs), strict=True):
        close(actual, np.maximum(total, 0))


# The fold identity -----------------------------------------------------------------------------------------------


def folded_layer(kernel, octave, size, high_in, high_out, stride, padding, extra):
    """An OctaveConv2DTranspose with the folded kernels of one plain kernel (rows, columns, out, in)."""
    filters, channels = kernel.shape[2:]
    front = [ends_of(n, taps, stride, 1, padding, extra)[0] for n, taps in zip(size, kernel.shape[:2], strict=True)]
    rows, columns = (align(t, stride, 1, f, octave).matrix for t, f in zip(kernel.shape[:2], front, strict=True))
    folded = np.einsum("ij,jkfc,lk->ilfc", rows, kernel, columns)
    ratio = 1 - high_out / filters
    layer = OctaveConv2DTranspose(filters, kernel.shape[:2], octave, ratio, extra, strides=stride, padding=padding)
    layer.build([(None, *size, high_in), (None, *(ceil_div(n, octave) for n in size), channels - high_in)])
    layer.hh_kernel.assign(kernel[:, :, :high_out, :high_in])
    layer.hl_kernel.assign(folded[:, :, high_out:, :high_in])
    layer.lh_kernel.assign(folded[:, :, :high_out, high_in:])
    layer.ll_kernel.assign(folded[:, :, high_out:, high_in:])
    return layer


def inner_cells(size, kernel, stride, octave, front, length):
    """Low output cells that are whole and get nothing from a last, partial low cell."""
    end = length // octave
    if size % octave:
        end = min(end, (stride * (size - size % octave) - front) // octave)
    return list(range(end))


CUTS = [("same", None), ("valid", None), ("same", 1), ("valid", 1)]  # even kernels: TensorFlow refuses ("same", 0)


@pytest.mark.quick("2-2-2", "3-1-2", "3-2-4", "4-4-2")
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_fold_identity(kernel, stride, octave):
    """Piecewise constant maps: the folded paths give the pooled output of the source, up to the very borders."""
    generator = np.random.default_rng(kernel)
    weights = generator.normal(size=(kernel, kernel, 3, 4)).astype("float32")
    size = (8, 11)
    coarse = generator.normal(size=(1, *(ceil_div(n, octave) for n in size), 4)).astype("float32")
    source_input = upsample(coarse, octave, np.zeros((1, *size, 1))).astype("float32")
    for padding, extra in CUTS if stride > 1 else CUTS[:2]:
        source = transposed(source_input, weights, stride, padding, extra)
        layer = folded_layer(weights, octave, size, 2, 2, stride, padding, extra)
        high, low = layer([source_input[..., :2], coarse[..., 2:]])
        assert high.shape[1:3] == source.shape[1:3]
        assert tuple(low.shape[1:3]) == pool(source, octave).shape[1:3]
        ends = [ends_of(n, kernel, stride, 1, padding, extra) for n in size]
        inner = [inner_cells(n, kernel, stride, octave, *end) for n, end in zip(size, ends, strict=True)]
        where = (slice(None), *np.ix_(*inner))
        close(np.asarray(low)[where], pool(source, octave)[where][..., 2:])
        close(pool(high, octave)[where], pool(source, octave)[where][..., :2])


# Sizes -----------------------------------------------------------------------------------------------------------

OPEN = [
    {"kernel_size": 3},
    {"kernel_size": 2, "strides": 2},
    {"kernel_size": (4, 3), "strides": 2},
    {"kernel_size": 1, "strides": 2},
    {"kernel_size": 2, "strides": 3, "padding": "valid"},
    {"kernel_size": 3, "strides": 2, "padding": "valid"},
    {"kernel_size": 3, "strides": 2, "output_padding": (0, 1)},
    {"kernel_size": 5, "strides": 4, "octave": 4},
    {"kernel_size": 3, "dilation_rate": 2},
]


@pytest.mark.quick("arguments2")
@pytest.mark.parametrize("arguments", OPEN)
def test_unknown_sizes_give_the_same_numbers(arguments):
    """Built with None sizes, run at several sizes, odd ones too."""
    layer = OctaveConv2DTranspose(4, **arguments)
    inputs = [keras.Input((None, None, channels)) for channels in (3, 2)]
    model = keras.Model(inputs, layer(inputs))
    randomise(layer)
    assert [output.shape[1:] for output in model.outputs] == [(None, None, 2)] * 2
    specs = [tf.TensorSpec([None, None, None, channels]) for channels in (3, 2)]
    function = tf.function(lambda x: model(x), input_signature=[specs])
    for size in ((6, 8), (7, 5)):
        data = maps(*size, octave=layer.octave)
        for actual, wanted in zip(function(data), layer(data), strict=True):
            close(actual, wanted)


@pytest.mark.parametrize("arguments", [*OPEN, {"kernel_size": 6, "octave": 4, "padding": "valid"}])
def test_computed_shapes_are_the_real_ones(arguments):
    layer = OctaveConv2DTranspose(4, **arguments)
    for size in ((6, 8), (7, 5)):
        inputs = maps(*size, octave=layer.octave)
        shapes = [tuple(x.shape) for x in layer(inputs)]
        assert layer.compute_output_shape([x.shape for x in inputs]) == shapes
        assert shapes[1][1:3] == tuple(ceil_div(n, layer.octave) for n in shapes[0][1:3])


@pytest.mark.parametrize("arguments", [{"kernel_size": 3}, {"kernel_size": 4, "strides": 2}])
def test_channels_first_is_transposed(arguments):
    """Only at octave 2; TensorFlow has the operation for channels first on some machines only."""
    inputs = maps(5, 6)
    last_layer = OctaveConv2DTranspose(4, **arguments)
    last_layer(inputs)
    outputs = randomise(last_layer)(inputs)
    first_layer = OctaveConv2DTranspose(4, **arguments, data_format="channels_first")
    first_layer([first(x) for x in inputs])
    first_layer.set_weights(last_layer.get_weights())
    for actual, wanted in zip(first_layer([first(x) for x in inputs]), outputs, strict=True):
        close(actual, first(wanted))


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")])
def test_policies(policy, dtype):
    layer = OctaveConv2DTranspose(4, 3, strides=2, dtype=policy)
    outputs = layer(maps(5, 6))
    assert {keras.backend.standardize_dtype(x.dtype) for x in outputs} == {dtype}
    assert {w.dtype for w in layer.weights} == {"float32"}


# Weights, cost, configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio_out", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("use_bias", [True, False])
def test_parameters_are_those_of_the_plain_layer(ratio_out, use_bias):
    for inputs in (maps(4, 4, 4, 2), maps(4, 4, 6)[0]):
        layer = OctaveConv2DTranspose(8, (3, 2), ratio_out=ratio_out, use_bias=use_bias)
        layer(inputs)
        plain = keras.layers.Conv2DTranspose(8, (3, 2), use_bias=use_bias)
        plain.build((None, 4, 4, 6))
        assert layer.count_params() == plain.count_params()


def test_a_seeded_initialiser_draws_the_plain_kernel():
    layer = OctaveConv2DTranspose(6, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    layer(maps(4, 4))
    plain = keras.layers.Conv2DTranspose(6, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    plain.build((None, 4, 4, 5))
    np.testing.assert_allclose(joined_kernel(layer), plain.kernel, rtol=1e-6)


def test_every_weight_gets_a_gradient():
    layer = OctaveConv2DTranspose(4, 3, strides=2, activation="tanh")
    inputs = maps(5, 6)
    layer(inputs)
    randomise(layer)
    with tf.GradientTape() as tape:
        loss = sum(keras.ops.sum(keras.ops.square(x)) for x in layer(inputs))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert len(gradients) == 6
    assert all(np.abs(gradient).min() > 0 for gradient in gradients)


def test_macs_are_counted_by_path():
    """A transposed convolution costs its taps at every input position, so LL, HL and LH at every cell."""
    layer = OctaveConv2DTranspose(8, 3, strides=2)
    paths = 64 * 9 * 4 * 4 + 3 * 16 * 9 * 4 * 4
    assert layer.macs([(None, 8, 8, 4), (None, 4, 4, 4)]) == paths
    assert OctaveConv2DTranspose(8, 3, strides=2, ratio_out=0.0).macs((None, 9, 9, 3)) == 81 * 9 * 3 * 8
    assert OctaveConv2DTranspose(8, 3).macs((None, 9, 9, 3)) == 9 * (81 * 3 * 4 + 25 * 3 * 4)


def test_configuration_comes_back():
    layer = OctaveConv2DTranspose(
        6,
        (3, 2),
        octave=4,
        ratio_out=0.3,
        output_padding=(1, 0),
        strides=2,
        padding="valid",
        data_format="channels_first",
        activation="relu",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        kernel_constraint="max_norm",
        name="up",
        dtype="mixed_bfloat16",
    )
    config = layer.get_config()
    copy = OctaveConv2DTranspose.from_config(config)
    assert copy.get_config() == config
    assert (copy.name, copy.octave, copy.low_filters, copy.output_padding) == ("up", 4, 1, (1, 0))
    assert OctaveConv2DTranspose(4, 3, output_padding=1).output_padding == (1, 1)
    assert keras.saving.get_registered_name(OctaveConv2DTranspose) == "octconvert>OctaveConv2DTranspose"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio_out": 1.5}, "ratio_out"),
        ({"octave": 3}, "octave.*power of two"),
        ({"filters": 0}, "filters"),
        ({"groups": 2}, "up9.*no groups.*2"),
        ({"padding": ((1, 1), (1, 1))}, "up9.*'same' or 'valid'"),
        ({"padding": "full"}, "padding"),
        ({"strides": 2, "dilation_rate": 2}, "strides.*dilation_rate"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OctaveConv2DTranspose(**{"filters": 4, "kernel_size": 3, "name": "up9", **arguments})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((None, 8, 8, None), "up9.*channel dimension.*unknown"),
        ([(None, 9, 9, 3), (None, 4, 4, 2)], r"up9.*\(5, 5\)"),
        ([(None, 8, 8, 3)] * 3, "up9.*3 tensors"),
        ((None, 8, 3), "up9.*4-D"),
    ],
)
def test_wrong_inputs(shapes, message):
    tensors = [keras.KerasTensor(s) for s in shapes] if isinstance(shapes, list) else keras.KerasTensor(shapes)
    with pytest.raises(ValueError, match=message):
        OctaveConv2DTranspose(4, 3, name="up9")(tensors)
