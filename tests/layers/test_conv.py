"""OctaveConv2D against the formula of the paper in numpy, the plain Conv2D, and the fold identity."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from layer_reference import ceil_div, close, conv, first, maps, pads_of, pool, randomise, upsample

from octconvert.layers import OctaveConv2D
from octconvert.layers.spatial import pool_octave
from octconvert.octave.geometry import align, fold_matrix


def low_window_start(kernel, stride, before, octave):
    """Cell under the low window's first tap: the folded taps' range, widened evenly on both sides to ``kernel``."""
    cells = [math.floor((stride * ph + d - before) / octave) for ph in range(octave) for d in range(kernel)]
    spare = kernel - (max(cells) - min(cells) + 1)
    assert spare >= 0 and spare % 2 == 0, "pick a case that leaves no choice"
    return min(cells) - spare // 2


def low_conv(low, kernel, high_size, stride, padding, octave):
    """Convolution of a low map with its window where the high window is."""
    befores = [p[0] for p in pads_of(padding, high_size, kernel.shape[0], stride)]
    plain = conv(np.zeros((1, *high_size, 1)), np.zeros((*kernel.shape[:2], 1, 1)), stride, pads_of(
        padding, high_size, kernel.shape[0], stride
    ))  # fmt: skip
    pads = []
    for i in (0, 1):
        start = low_window_start(kernel.shape[i], stride, befores[i], octave)
        outputs = ceil_div(plain.shape[1 + i], octave)
        pads.append((-start, stride * (outputs - 1) + start + kernel.shape[i] - low.shape[1 + i]))
    return conv(low, kernel, stride, pads)


def formula(layer, inputs, stride=1, padding="same", octave=2):
    """High and low output before the activation, as the paper writes them (None where there is no such output)."""
    high, low = inputs if isinstance(inputs, list) else (inputs, None)
    weights = {w.name: ops.convert_to_numpy(w) for w in layer.weights}
    size = high.shape[1:3]
    high_out = low_out = None
    if "hh_kernel" in weights:
        kernel = weights["hh_kernel"]
        high_out = conv(high, kernel, stride, pads_of(padding, size, kernel.shape[0], stride))
        if low is not None:
            high_out += upsample(low_conv(low, weights["lh_kernel"], size, stride, padding, octave), octave, high_out)
        high_out += weights["high_bias"]
    if "hl_kernel" in weights:
        low_out = low_conv(pool(high, octave), weights["hl_kernel"], size, stride, padding, octave)
        if low is not None:
            low_out += low_conv(low, weights["ll_kernel"], size, stride, padding, octave)
        low_out += weights["low_bias"]
    return high_out, low_out


def plain_kernel(layer):
    """The four kernels as the one of a plain convolution over [high | low] channels."""
    rows = [
        [getattr(layer, name) for name in names] for names in (("hh_kernel", "hl_kernel"), ("lh_kernel", "ll_kernel"))
    ]
    rows = [[ops.convert_to_numpy(k) for k in row if k is not None] for row in rows]
    return np.concatenate([np.concatenate(row, 3) for row in rows if row], 2)


def plain_bias(layer):
    return np.concatenate([ops.convert_to_numpy(b) for b in (layer.high_bias, layer.low_bias) if b is not None])


def joined(outputs):
    """[high | low] channels of outputs that have one resolution."""
    return np.concatenate([np.asarray(x) for x in outputs], -1) if isinstance(outputs, list) else np.asarray(outputs)


# The formula -----------------------------------------------------------------------------------------------------


@pytest.mark.quick("3-1-same-2-8", "2-1-same-2-9", "3-1-same-4-9", "3-2-padding6-2-13", "3-2-same-2-9")
@pytest.mark.parametrize("rows", [8, 9, 13])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "octave"),
    [
        (3, 1, "same", 2),
        (1, 1, "same", 2),
        (5, 1, "same", 2),
        (2, 1, "same", 2),
        (3, 1, "same", 4),
        (3, 2, "same", 2),
        (3, 2, ((1, 1), (1, 1)), 2),
        (3, 1, ((1, 1), (1, 1)), 4),
    ],
)
def test_intermediate_is_the_formula(kernel, stride, padding, octave, rows):
    inputs = maps(rows, 10, octave=octave)
    layer = OctaveConv2D(5, kernel, octave, 0.4, stride, padding)
    layer(inputs)
    high, low = randomise(layer)(inputs)
    assert high.shape[-1] == 3 and low.shape[-1] == 2
    expected = formula(layer, inputs, stride, padding, octave)
    close(high, expected[0])
    close(low, expected[1])


@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pair", [False, True])
def test_every_role_is_the_formula(pair, ratio_out):
    """One tensor in: first; ratio_out 0: last; ratio_out 1: the low map alone."""
    inputs = maps(6, 9) if pair else maps(6, 9)[0]
    layer = OctaveConv2D(4, 3, ratio_out=ratio_out)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    assert isinstance(outputs, list) is (ratio_out == 0.5)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    expected = [x for x in formula(layer, inputs) if x is not None]
    for actual, wanted in zip(outputs, expected, strict=True):
        close(actual, wanted)
    assert tuple(outputs[0].shape) == {0.0: (2, 6, 9, 4), 0.5: (2, 6, 9, 2), 1.0: (2, 3, 5, 4)}[ratio_out]


@pytest.mark.parametrize(("size", "octave"), [((6, 8), 2), ((7, 10), 4)])
@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
def test_whole_low_has_the_paths_from_the_low_map_alone(ratio_out, size, octave):
    """As a pair whose high map is zero; the parameters are those of the plain convolution of the low channels."""
    high, low = maps(*size, octave=octave)
    layer = OctaveConv2D(4, 3, octave, ratio_out, 2, whole_low=True, high_size=size)
    layer(low)
    outputs = randomise(layer)(low)
    assert layer.count_params() == 9 * 2 * 4 + 4
    pair = OctaveConv2D(4, 3, octave, ratio_out, 2)
    pair.build([high.shape, low.shape])
    for name in ("lh_kernel", "ll_kernel", "high_bias", "low_bias"):
        if getattr(layer, name) is not None:
            getattr(pair, name).assign(getattr(layer, name))
    expected = pair([np.zeros_like(high), low])
    assert keras.tree.flatten(layer.compute_output_shape(low.shape)) == [
        n for x in keras.tree.flatten(outputs) for n in x.shape
    ]
    for actual, wanted in zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True):
        close(actual, wanted)


def test_formula_in_built_in_layers():
    """Even sizes, written with Keras' own layers as in the paper."""
    high, low = maps(8, 12)
    layer = OctaveConv2D(6, 3, activation="relu")
    layer([high, low])
    randomise(layer)

    def plain(x, kernel):
        return ops.conv(x, kernel, padding="same")

    pooled = keras.layers.AveragePooling2D(2)(high)
    up = keras.layers.UpSampling2D(2)
    total_high = plain(high, layer.hh_kernel) + up(plain(low, layer.lh_kernel)) + layer.high_bias
    total_low = plain(low, layer.ll_kernel) + plain(pooled, layer.hl_kernel) + layer.low_bias
    for actual, total in zip(layer([high, low]), (total_high, total_low), strict=True):
        close(actual, np.maximum(total, 0))


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_sum_then_one_bias_then_activation(activation):
    inputs = maps(6, 6)
    layer = OctaveConv2D(4, 3, activation=activation)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    function = keras.activations.get(activation)
    for actual, total in zip(outputs, formula(layer, inputs), strict=True):
        close(actual, function(ops.convert_to_tensor(total.astype("float32"))))


def test_without_bias():
    inputs = maps(6, 6)
    layer = OctaveConv2D(4, 3, use_bias=False)
    outputs = layer(inputs)
    assert [w.name for w in layer.weights] == ["hh_kernel", "hl_kernel", "lh_kernel", "ll_kernel"]
    close(outputs[0], conv(inputs[0], layer.hh_kernel, 1, ((1, 1), (1, 1))) + upsample(
        conv(inputs[1], layer.lh_kernel, 1, ((1, 1), (1, 1))), 2, inputs[0]
    ))  # fmt: skip


@pytest.mark.quick("True-0.5-channels0-1", "False-0.25-channels1-2", "True-0.0-channels0-1", "True-1.0-channels2-2")
@pytest.mark.parametrize(("channels", "groups"), [((4, 2), 1), ((4, 2), 2), ((6, 0), 2)])
@pytest.mark.parametrize("ratio_out", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("use_bias", [True, False])
def test_parameters_are_those_of_the_plain_convolution(channels, groups, ratio_out, use_bias):
    high, low = maps(4, 4, *channels)
    layer = OctaveConv2D(8, (3, 2), ratio_out=ratio_out, groups=groups, use_bias=use_bias)
    layer([high, low] if channels[1] else high)
    plain = keras.layers.Conv2D(8, (3, 2), groups=groups, use_bias=use_bias)
    plain.build((None, 4, 4, 6))
    assert layer.count_params() == plain.count_params()


def test_low_channels_are_counted_as_the_authors_do():
    assert [OctaveConv2D(f, 1, ratio_out=r).low_filters for f, r in [(5, 0.5), (10, 0.3), (100, 0.29), (7, 1.0)]] == [
        2,
        3,
        29,
        7,
    ]


@pytest.mark.parametrize(("octave", "strides"), [(2, 2), (4, 2), (4, 4), (2, (2, 1))])
@pytest.mark.parametrize("size", [(16, 32), (15, 32)])
def test_a_stride_is_pooled_with_the_octave_where_both_divide_the_map(size, octave, strides):
    """Average by the octave, average what the stride leaves out, then the strided window: the same numbers."""
    high = maps(*size)[0]
    layer = OctaveConv2D(4, 1, octave, 1.0, strides)
    layer(high)
    output = randomise(layer)(high)
    low, padding = layer.prepare_low(pool_octave(high, octave, "channels_last"), size)
    steps = ops.conv(low, layer.hl_kernel, layer.strides, padding) + layer.low_bias
    close(output, steps, 1e-6)
    blocks = tuple(octave * stride for stride in layer.strides)
    assert layer.window.strided_blocks(size) == (blocks if size[0] % blocks[0] == 0 else None)


# octave=1 is the plain convolution -------------------------------------------------------------------------------


@pytest.mark.quick(
    "arguments0-0.5",
    "arguments1-0.3",
    "arguments2-0.5",
    "arguments3-0.5",
    "arguments4-0.0",
    "arguments5-1.0",
    "arguments6-0.5",
    "arguments7-0.5",
    "arguments8-0.3",
    "arguments9-0.5",
)
@pytest.mark.parametrize("ratio_out", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 5)},
        {"kernel_size": 3, "padding": "valid"},
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": (3, 4), "strides": (2, 1), "padding": "valid"},
        {"kernel_size": 4, "strides": 3},
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": 3, "dilation_rate": (1, 3), "padding": "valid"},
        {"kernel_size": 2, "dilation_rate": 3},
    ],
)
def test_octave_1_is_the_plain_convolution(arguments, ratio_out):
    inputs = maps(9, 8, 3, 2, octave=1)
    layer = OctaveConv2D(6, octave=1, ratio_out=ratio_out, **arguments)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    plain = keras.layers.Conv2D(6, **{"padding": "same", **arguments})
    plain.build((None, 9, 8, 5))
    plain.set_weights([plain_kernel(layer), plain_bias(layer)])
    close(joined(outputs), plain(np.concatenate(inputs, -1)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((3, 0), (0, 2)), ((0, 0), (2, 5)), ((-1, 0), (0, -2))])
def test_octave_1_with_explicit_padding(padding, stride):
    inputs = maps(9, 8, 3, 2, octave=1)
    layer = OctaveConv2D(6, 3, octave=1, strides=stride, padding=padding)
    layer(inputs)
    outputs = randomise(layer)(inputs)
    expected = conv(np.concatenate(inputs, -1), plain_kernel(layer), stride, padding) + plain_bias(layer)
    close(joined(outputs), expected)


def test_octave_1_first_layer():
    image = maps(7, 8)[0]
    layer = OctaveConv2D(5, 3, octave=1, ratio_out=0.4, strides=2)
    layer(image)
    outputs = randomise(layer)(image)
    plain = keras.layers.Conv2D(5, 3, 2, padding="same")
    plain.build((None, 7, 8, 3))
    plain.set_weights([plain_kernel(layer), plain_bias(layer)])
    close(joined(outputs), plain(image))


@pytest.mark.parametrize(("stride", "dilation", "padding"), [(1, 1, "same"), (2, 1, "valid"), (1, 2, "same")])
def test_octave_1_grouped(stride, dilation, padding):
    """Group g of the plain convolution holds group g of the high and of the low channels, in and out."""
    inputs = maps(8, 7, 4, 2, octave=1)
    layer = OctaveConv2D(
        6, 3, octave=1, ratio_out=1 / 3, strides=stride, dilation_rate=dilation, padding=padding, groups=2
    )
    layer(inputs)
    outputs = joined(randomise(layer)(inputs))
    order_in, order_out = [0, 1, 4, 2, 3, 5], [0, 1, 4, 2, 3, 5]
    plain = keras.layers.Conv2D(6, 3, stride, padding, dilation_rate=dilation, groups=2)
    plain.build((None, 8, 7, 6))
    plain.set_weights([plain_kernel(layer)[..., order_out], plain_bias(layer)[order_out]])
    close(outputs[..., order_out], plain(np.concatenate(inputs, -1)[..., order_in]))


def test_groups_at_octave_2():
    """Every path is grouped: two groups are two layers side by side."""
    high, low = maps(6, 6, 4, 2)
    layer = OctaveConv2D(8, 3, groups=2)
    layer([high, low])
    outputs = randomise(layer)([high, low])
    for group in (0, 1):
        one = OctaveConv2D(4, 3)
        part = [np.split(x, 2, -1)[group] for x in (high, low)]
        one(part)
        one.set_weights([np.split(w, 2, -1)[group] for w in layer.get_weights()])
        for actual, wanted in zip(outputs, formula(one, part), strict=True):
            close(np.split(np.asarray(actual), 2, -1)[group], wanted)


# The fold identity -----------------------------------------------------------------------------------------------


def folded_layer(kernel, stride, padding, octave, size, source_kernel, bias, high_in, high_out):
    """An OctaveConv2D with the folded kernels of one plain kernel."""
    befores = [p[0] for p in pads_of(padding, size, kernel, stride)]
    rows, columns = (align(kernel, stride, 1, before, octave).matrix for before in befores)
    np.testing.assert_array_equal(rows, fold_matrix(kernel, stride, befores[0], octave))
    folded = np.einsum("ij,jkcf,lk->ilcf", rows, source_kernel, columns)
    filters = source_kernel.shape[-1]
    layer = OctaveConv2D(filters, kernel, octave, 1 - high_out / filters, stride, padding)
    cells = [ceil_div(n, octave) for n in size]
    layer.build([(None, *size, high_in), (None, *cells, source_kernel.shape[2] - high_in)])
    layer.hh_kernel.assign(source_kernel[:, :, :high_in, :high_out])
    layer.hl_kernel.assign(folded[:, :, :high_in, high_out:])
    layer.lh_kernel.assign(folded[:, :, high_in:, :high_out])
    layer.ll_kernel.assign(folded[:, :, high_in:, high_out:])
    layer.high_bias.assign(bias[:high_out])
    layer.low_bias.assign(bias[high_out:])
    return layer


def inner_cells(size, outputs, kernel, stride, before, octave):
    """Low output cells that are whole and whose source windows read no padding."""
    cells = []
    for cell in range(outputs // octave):
        first = stride * octave * cell - before
        if first >= 0 and first + stride * (octave - 1) + kernel <= size:
            cells.append(cell)
    return cells


@pytest.mark.quick("1-2-2", "3-1-2", "4-2-4")
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_fold_identity(kernel, stride, octave):
    """Piecewise constant high maps: pooled converted output is the pooled source output, away from the borders."""
    generator = np.random.default_rng(kernel)
    source_kernel = generator.normal(size=(kernel, kernel, 4, 4)).astype("float32")
    bias = generator.normal(size=4).astype("float32")
    paddings = ["same", "valid", *(((p, p), (p, p)) for p in range(kernel // 2 + 1))]
    for rows, columns in ((24, 29), (27, 26)):
        cells = (ceil_div(rows, octave), ceil_div(columns, octave))
        coarse = generator.normal(size=(1, *cells, 4)).astype("float32")
        source_input = coarse.repeat(octave, 1).repeat(octave, 2)[:, :rows, :columns]
        for padding in paddings:
            layer = folded_layer(kernel, stride, padding, octave, (rows, columns), source_kernel, bias, 2, 3)
            high, low = layer([source_input[..., :2], coarse[..., 2:]])
            explicit = pads_of(padding, (rows, columns), kernel, stride)
            source_layer = keras.layers.Conv2D(4, kernel, stride, padding if isinstance(padding, str) else "valid")
            source_layer.build((None, rows, columns, 4))
            source_layer.set_weights([source_kernel, bias])
            padded = source_input if isinstance(padding, str) else keras.layers.ZeroPadding2D(padding)(source_input)
            source = np.asarray(source_layer(padded))
            assert high.shape[1:3] == source.shape[1:3]
            assert tuple(low.shape[1:3]) == pool(source, octave).shape[1:3]
            inner = [
                inner_cells(size, source.shape[1 + i], kernel, stride, explicit[i][0], octave)
                for i, size in enumerate((rows, columns))
            ]
            where = (slice(None), *np.ix_(*inner))
            close(np.asarray(low)[where], pool(source, octave)[where][..., 3:])
            close(pool(high, octave)[where], pool(source, octave)[where][..., :3])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(16, 13), (14, 15), (26, 11)])
def test_strided_1x1_has_no_border(padding, size):
    """A 1x1 window reads no padding: the fold identity holds everywhere, for odd outputs too."""
    generator = np.random.default_rng(5)
    coarse = generator.normal(size=(1, *(ceil_div(n, 2) for n in size), 4)).astype("float32")
    kernel = generator.normal(size=(1, 1, 4, 4)).astype("float32")
    source_input = upsample(coarse, 2, np.zeros((1, *size, 1)))
    layer = folded_layer(1, 2, padding, 2, size, kernel, np.zeros(4), 2, 2)
    high, low = layer([source_input[..., :2].astype("float32"), coarse[..., 2:]])
    source = pool(conv(source_input, kernel, 2), 2)
    close(low, source[..., 2:])
    close(pool(high, 2), source[..., :2])


def test_explicit_padding_of_a_1x1_window_is_zeros():
    """One zero around: the first low cell averages a zero and cell 0, the last one a cell and a zero."""
    image = np.full((1, 8, 8, 1), 2.0, "float32")
    layer = OctaveConv2D(1, 1, ratio_out=1.0, padding=((1, 1), (0, 0)), kernel_initializer="ones")
    np.testing.assert_allclose(np.asarray(layer(image))[0, :, 0, 0], [1, 2, 2, 2, 1])


# Sizes -----------------------------------------------------------------------------------------------------------


def unknown(layer, data_format="channels_last", pair=True, channels=(3, 2)):
    """The layer in a model built with None sizes, traced once with unknown sizes."""

    def shape(c):
        return (None, None, c) if data_format == "channels_last" else (c, None, None)

    inputs = [keras.Input(shape(c)) for c in channels] if pair else keras.Input(shape(channels[0]))
    model = keras.Model(inputs, layer(inputs))
    specs = [tf.TensorSpec([None, *shape(c)]) for c in channels] if pair else tf.TensorSpec([None, *shape(channels[0])])
    return model, tf.function(lambda x: model(x), input_signature=[specs])


@pytest.mark.quick("3-2", "3-((-2,-1),(1,-3))")
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 2, "strides": 2},
        {"kernel_size": (5, 4), "strides": 2, "octave": 4},
        {"kernel_size": 3, "strides": 3},
        {"kernel_size": 4, "strides": 4},
        {"kernel_size": 3, "padding": "valid"},
        {"kernel_size": 3, "strides": 2, "padding": ((1, 1), (0, 2))},
        {"kernel_size": 1, "padding": ((20, 20), (0, 30))},
        {"kernel_size": 3, "padding": ((-2, -1), (1, -3))},
        {"kernel_size": 3, "dilation_rate": 2, "octave": 4},
        {"kernel_size": 3, "octave": 1, "strides": 2},
        {"kernel_size": 7, "strides": 2, "octave": 4},
    ],
    ids=lambda arguments: "-".join(str(v).replace(" ", "") for v in arguments.values()),
)
def test_unknown_sizes_give_the_same_numbers(arguments):
    """Built with None sizes, run at several sizes, odd ones too."""
    layer = OctaveConv2D(4, **arguments)
    model, function = unknown(layer)
    randomise(layer)
    assert [output.shape[1:] for output in model.outputs] == [(None, None, 2)] * 2
    for rows, columns in ((12, 16), (13, 11), (10, 15), (9, 14)):
        inputs = maps(rows, columns, octave=layer.octave)
        for actual, wanted in zip(function(inputs), layer(inputs), strict=True):
            close(actual, wanted)


@pytest.mark.quick("0.0")
@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
def test_unknown_sizes_first_and_last(ratio_out):
    for pair in (False, True):
        layer = OctaveConv2D(4, 3, ratio_out=ratio_out)
        _, function = unknown(layer, pair=pair)
        for rows, columns in ((6, 8), (7, 5)):
            inputs = maps(rows, columns)
            inputs = inputs if pair else inputs[0]
            actual, wanted = function(inputs), layer(inputs)
            for a, w in zip(tf.nest.flatten(actual), tf.nest.flatten(wanted), strict=True):
                close(a, w)


def test_one_axis_unknown():
    layer = OctaveConv2D(4, 3, strides=2)
    function = tf.function(
        lambda x: layer(x), input_signature=[[tf.TensorSpec([None, 9, None, 3]), tf.TensorSpec([None, 5, None, 2])]]
    )
    layer(maps(9, 8))
    randomise(layer)
    for columns in (8, 7):
        inputs = maps(9, columns)
        for actual, wanted in zip(function(inputs), layer(inputs), strict=True):
            close(actual, wanted)


@pytest.mark.quick("3-1-same-2", "2-2-valid-4", "5-3-padding2-2", "2-2-same-1")
@pytest.mark.parametrize("octave", [1, 2, 4])
@pytest.mark.parametrize("padding", ["same", "valid", ((1, 2), (0, 3))])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 2), (5, 3)])
def test_computed_shapes_are_the_real_ones(kernel, stride, padding, octave):
    layer = OctaveConv2D(4, kernel, octave, strides=stride, padding=padding)
    for size in ((11, 14), (13, 9), (8, 10)):
        inputs = maps(*size, octave=octave)
        shapes = [tuple(x.shape) for x in layer(inputs)]
        assert layer.compute_output_shape([x.shape for x in inputs]) == shapes
        symbolic = layer([keras.KerasTensor(x.shape) for x in inputs])
        assert [tuple(x.shape) for x in symbolic] == shapes
        assert shapes[1][1:3] == tuple(ceil_div(n, octave) for n in shapes[0][1:3])


def test_maps_smaller_than_octave():
    inputs = maps(1, 3, octave=4)
    high, low = OctaveConv2D(4, 3, octave=4)(inputs)
    assert tuple(high.shape) == (2, 1, 3, 2) and tuple(low.shape) == (2, 1, 1, 2)


@pytest.mark.parametrize("octave", [1, 2, 4, 8])
def test_pool_octave(octave):
    """Cell i averages the positions octave * i .. octave * i + octave - 1, whatever the size."""
    for size in range(1, 14):
        x = np.eye(size, dtype="float32")[None, :, None, :]  # row r has channel r: the output is the weights
        weights = np.asarray(pool_octave(ops.convert_to_tensor(x), octave, "channels_last"))[0, :, 0, :]
        assert weights.shape == (ceil_div(size, octave), size)
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
        for cell, row in enumerate(weights):
            inside = range(octave * cell, min(octave * (cell + 1), size))
            assert set(np.flatnonzero(row)) == set(inside)
            if (size - octave * cell) >= octave or octave <= 2:
                np.testing.assert_allclose(row[list(inside)], 1 / len(inside), rtol=1e-6)


@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("size", [(5, 7), (6, 8), (9, 3)])
def test_pool_octave_keeps_a_constant_map(size, octave):
    x = np.full((1, *size, 2), 3.0, "float32")
    for data_format, value in (("channels_last", x), ("channels_first", x.transpose(0, 3, 1, 2))):
        pooled = np.asarray(pool_octave(ops.convert_to_tensor(value), octave, data_format))
        np.testing.assert_allclose(pooled, 3.0)


# Data formats and precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 3, "padding": ((1, 0), (2, -1)), "octave": 4},
    ],
)
def test_channels_first(arguments, size):
    inputs = maps(*size, octave=arguments.get("octave", 2))
    last_layer, first_layer = OctaveConv2D(4, **arguments), OctaveConv2D(4, **arguments, data_format="channels_first")
    last_layer(inputs)
    outputs = randomise(last_layer)(inputs)
    first_layer([first(x) for x in inputs])
    first_layer.set_weights(last_layer.get_weights())
    for actual, wanted in zip(first_layer([first(x) for x in inputs]), outputs, strict=True):
        close(actual, first(wanted))
    symbolic = first_layer([keras.KerasTensor(first(x).shape) for x in inputs])
    assert [tuple(x.shape) for x in symbolic] == [first(x).shape for x in outputs]


def test_channels_first_unknown_sizes():
    layer = OctaveConv2D(4, 3, strides=2, data_format="channels_first")
    _, function = unknown(layer, "channels_first")
    for size in ((8, 9), (7, 6)):
        inputs = [first(x) for x in maps(*size)]
        for actual, wanted in zip(function(inputs), layer(inputs), strict=True):
            close(actual, wanted)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
@pytest.mark.parametrize(("policy", "dtype", "tolerance"), [
    ("mixed_float16", "float16", 5e-3), ("mixed_bfloat16", "bfloat16", 4e-2), ("bfloat16", "bfloat16", 4e-2)
])  # fmt: skip
def test_policies(policy, dtype, tolerance, size):
    inputs = maps(*size)
    reference, layer = OctaveConv2D(4, 3, activation="relu"), OctaveConv2D(4, 3, activation="relu", dtype=policy)
    reference(inputs)
    outputs = randomise(reference)(inputs)
    layer(inputs)
    layer.set_weights(reference.get_weights())
    assert {w.dtype for w in layer.weights} == {"bfloat16" if policy == "bfloat16" else "float32"}
    for actual, wanted in zip(layer(inputs), outputs, strict=True):
        assert keras.backend.standardize_dtype(actual.dtype) == dtype
        close(ops.cast(actual, "float32"), wanted, tolerance)
    symbolic = layer([keras.KerasTensor(x.shape) for x in inputs])
    assert {x.dtype for x in symbolic} == {dtype}


# Weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "lecun_uniform"])
@pytest.mark.parametrize("groups", [1, 4])
def test_fans_are_those_of_the_whole_convolution(initializer, groups):
    """Every path has the spread of the plain kernel (its own fan would give LL twice the deviation and more)."""
    high, low = maps(4, 4, 96, 32)
    layer = OctaveConv2D(128, 3, ratio_out=0.25, groups=groups, kernel_initializer=initializer)
    layer([high, low])
    plain = keras.layers.Conv2D(128, 3, groups=groups, kernel_initializer=initializer)
    plain.build((None, 4, 4, 128))
    expected = float(np.std(plain.kernel))
    for name in ("hh_kernel", "hl_kernel", "lh_kernel", "ll_kernel"):
        assert float(np.std(getattr(layer, name))) == pytest.approx(expected, rel=0.07), name


def test_a_seeded_initialiser_draws_the_plain_kernel():
    initializer = keras.initializers.GlorotUniform(seed=3)
    layer = OctaveConv2D(6, 3, kernel_initializer=initializer)
    layer(maps(4, 4))
    plain = keras.layers.Conv2D(6, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    plain.build((None, 4, 4, 5))
    np.testing.assert_allclose(plain_kernel(layer), plain.kernel, rtol=1e-6)


def test_regularisers_count_every_path():
    layer = OctaveConv2D(
        4, 3, kernel_regularizer=keras.regularizers.L2(0.1), bias_regularizer="l1", activity_regularizer="l2"
    )
    inputs = maps(4, 6)
    layer(inputs)
    randomise(layer)
    outputs = layer(inputs)
    kernels, biases = plain_kernel(layer), plain_bias(layer)
    activity = sum(0.01 * float(ops.sum(ops.square(x))) / 2 for x in outputs)  # Keras divides by the batch size
    expected = 0.1 * (kernels.astype("float64") ** 2).sum() + 0.01 * np.abs(biases).sum() + activity
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)


def test_constraints_hold_after_a_training_step():
    inputs = [keras.Input((4, 4, 3)), keras.Input((2, 2, 2))]
    layer = OctaveConv2D(4, 3, kernel_constraint="non_neg", bias_constraint=keras.constraints.MaxNorm(0.01, axis=0))
    model = keras.Model(inputs, layer(inputs))
    randomise(layer)
    assert min(float(np.min(w)) for w in layer.weights[:4]) < 0
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    data = maps(4, 4)
    model.train_on_batch(data, [np.ones((2, 4, 4, 2)), np.ones((2, 2, 2, 2))])
    for name in ("hh_kernel", "hl_kernel", "lh_kernel", "ll_kernel"):
        assert float(np.min(getattr(layer, name))) >= 0.0, name
    for bias in (layer.high_bias, layer.low_bias):
        assert 0 < np.linalg.norm(bias) <= 0.0101


def test_every_weight_gets_a_gradient():
    for size in ((6, 6), (7, 5)):
        layer = OctaveConv2D(4, 3, activation="tanh")
        inputs = maps(*size)
        layer(inputs)
        randomise(layer)
        with tf.GradientTape() as tape:
            loss = sum(ops.sum(ops.square(x)) for x in layer(inputs))
        gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
        assert len(gradients) == 6
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            assert np.abs(gradient).min() > 0, weight.name


# Configuration ---------------------------------------------------------------------------------------------------


def test_configuration_comes_back():
    layer = OctaveConv2D(
        6,
        (3, 2),
        octave=4,
        ratio_out=0.3,
        strides=2,
        padding=((1, 0), (2, 1)),
        data_format="channels_first",
        activation="relu",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        kernel_constraint="max_norm",
        name="stem",
        dtype="mixed_bfloat16",
    )
    config = layer.get_config()
    copy = OctaveConv2D.from_config(config)
    assert copy.get_config() == config
    assert (copy.name, copy.octave, copy.low_filters, copy.padding) == ("stem", 4, 1, ((1, 0), (2, 1)))
    assert keras.saving.get_registered_name(OctaveConv2D) == "octconvert>OctaveConv2D"


def test_macs_are_counted_by_path():
    layer = OctaveConv2D(8, 3)
    layer.build([(None, 8, 8, 4), (None, 4, 4, 4)])
    paths = 64 * 9 * 4 * 4 + 3 * 16 * 9 * 4 * 4
    assert layer.macs([(None, 8, 8, 4), (None, 4, 4, 4)]) == paths
    assert paths / (64 * 9 * 8 * 8) == 0.4375
    assert OctaveConv2D(8, 3, groups=2).macs([(None, 8, 8, 4), (None, 4, 4, 4)]) == paths // 2
    assert OctaveConv2D(8, 3, strides=2).macs((None, 9, 9, 3)) == 9 * (25 * 3 * 4 + 9 * 3 * 4)


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio_out": 1.5}, "ratio_out"),
        ({"ratio_out": -0.1}, "ratio_out"),
        ({"ratio_out": float("nan")}, "ratio_out"),
        ({"octave": 3}, "octave.*power of two"),
        ({"octave": 0}, "octave.*power of two"),
        ({"octave": 2.0}, "octave.*power of two"),
        ({"filters": 0}, "filters"),
        ({"filters": 2.5}, "filters"),
        ({"groups": 0}, "groups"),
        ({"filters": 6, "groups": 2}, "conv9.*3 high filters.*2 groups"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"strides": (1, 2, 3)}, "strides"),
        ({"padding": "full"}, "padding"),
        ({"padding": 3}, "padding"),
        ({"data_format": "nhwc"}, "data_format"),
        ({"strides": 2, "dilation_rate": 2}, "strides.*dilation_rate"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OctaveConv2D(**{"filters": 4, "kernel_size": 3, "name": "conv9", **arguments})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((None, 8, 8, None), "conv9.*channel dimension.*unknown"),
        ([(None, 8, 8, 3), (None, 4, 4, None)], "conv9.*channel dimension of the low input"),
        ([(None, 8, 8, 3), (None, 8, 8, 2)], r"conv9.*octave=2.*\(4, 4\).*\(8, 8\)"),
        ([(None, 9, 9, 3), (None, 4, 4, 2)], r"conv9.*\(5, 5\)"),
        ([(None, 8, 8, 3)] * 3, "conv9.*3 tensors"),
        ((None, 8, 3), "conv9.*4-D"),
    ],
)
def test_wrong_inputs(shapes, message):
    tensors = [keras.KerasTensor(s) for s in shapes] if isinstance(shapes, list) else keras.KerasTensor(shapes)
    with pytest.raises(ValueError, match=message):
        OctaveConv2D(4, 3, name="conv9")(tensors)


def test_wrong_sizes_of_real_tensors():
    layer = OctaveConv2D(4, 3, name="conv9")
    with pytest.raises(ValueError, match=r"conv9.*octave=2"):
        layer([np.zeros((1, 8, 8, 3), "float32"), np.zeros((1, 8, 8, 2), "float32")])


def test_input_channels_must_fit_groups():
    with pytest.raises(ValueError, match=r"conv9.*3 high input channels.*2 groups"):
        OctaveConv2D(4, 3, groups=2, name="conv9")(maps(4, 4))


def test_map_too_small_for_the_window():
    with pytest.raises(ValueError, match=r"conv9.*too small"):
        OctaveConv2D(4, 5, padding="valid", name="conv9")(keras.KerasTensor((None, 4, 8, 3)))
