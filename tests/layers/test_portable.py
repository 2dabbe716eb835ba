"""octave_conv_2d: the numbers of OctaveConv2D out of built-in layers, in models that load without octconvert."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from layer_reference import close, conv, first, maps, pool, randomise, upsample

from octconvert.layers import OctaveConv2D, octave_conv_2d

PATHS = ("hh", "hl", "lh", "ll")


def portable_model(inputs, **arguments):
    """A model of one octave_conv_2d for numpy inputs."""
    tensors = [keras.Input(x.shape[1:]) for x in inputs]
    tensors = tensors if len(tensors) == 2 else tensors[0]
    return keras.Model(tensors, octave_conv_2d(tensors, name="block", **arguments))


def copy_weights(layer, model):
    """The weights of an OctaveConv2D into the sub-layers, which are found by their names."""
    for path in PATHS:
        kernel = getattr(layer, f"{path}_kernel")
        if kernel is not None:
            sub_layer = model.get_layer(f"block-{path.upper()}")
            bias = layer.high_bias if path[1] == "h" else layer.low_bias
            values = [kernel, bias] if sub_layer.use_bias else [kernel]
            sub_layer.set_weights([np.asarray(v) for v in values])


def compare(inputs, **arguments):
    """Both versions with the same weights on the same inputs; every layer is Keras' own. Returns the model."""
    layer = OctaveConv2D(**arguments)
    layer(inputs if len(inputs) == 2 else inputs[0])
    expected = randomise(layer)(inputs if len(inputs) == 2 else inputs[0])
    model = portable_model(inputs, **arguments)
    assert {type(item).__module__.split(".")[0] for item in model.layers} == {"keras"}
    assert model.count_params() == layer.count_params()
    copy_weights(layer, model)
    actual = model(inputs if len(inputs) == 2 else inputs[0])
    assert isinstance(actual, list) is isinstance(expected, list)
    pairs = zip(actual, expected, strict=True) if isinstance(actual, list) else [(actual, expected)]
    for a, e in pairs:
        close(a, e)
    return model


@pytest.mark.quick("3-1-same-8-2", "3-2-valid-4-1", "2-2-same-16-1")
@pytest.mark.parametrize("octave", [1, 2])
@pytest.mark.parametrize("columns", [4, 8, 16])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, "same"), (3, 2, "valid"), (2, 2, "same")])
def test_as_many_columns_as_channels(kernel, stride, padding, columns, octave):
    """In channels_first Keras' convolutions would add the bias to the columns."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((2, 3, 10, columns)), rng.standard_normal((2, 2, 10 // octave, columns // octave))]
    inputs = [x.astype("float32") for x in inputs]
    arguments = {"strides": stride, "padding": padding, "octave": octave, "data_format": "channels_first"}
    compare(inputs, filters=8, kernel_size=kernel, ratio_out=0.5, activation="relu", **arguments)


@pytest.mark.quick(
    "3-1-same-size0-2",
    "2-1-same-size1-4",
    "1-1-valid-size2-1",
    "3-2-same-size1-2",
    "3-2-padding6-size2-2",
    "4-3-valid-size0-4",
)
@pytest.mark.parametrize("octave", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 12), (9, 14), (13, 11)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, "same"),
        (1, 1, "valid"),
        (2, 1, "same"),
        (5, 1, "valid"),
        (3, 2, "same"),
        (1, 2, "same"),
        (3, 2, ((1, 1), (1, 1))),
        (4, 3, "valid"),
    ],
)
def test_same_numbers(kernel, stride, padding, size, octave):
    inputs = maps(*size, octave=octave)
    compare(inputs, filters=4, kernel_size=kernel, octave=octave, strides=stride, padding=padding)


@pytest.mark.quick("(3,1)-2-2", "3-((-2,0),(1,-3))-2", "3-2-4")
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": (3, 1), "strides": 2},
        {"kernel_size": 1, "strides": 3},
        {"kernel_size": 1, "strides": 4},
        {"kernel_size": 2, "strides": 4},
        {"kernel_size": 1, "padding": ((1, 1), (0, 3))},
        {"kernel_size": 3, "padding": ((-2, 0), (1, -3))},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": 3, "dilation_rate": 4, "padding": "valid"},
    ],
    ids=lambda arguments: "-".join(str(v).replace(" ", "") for v in arguments.values()),
)
def test_same_numbers_in_odd_cases(arguments, octave):
    for size in ((16, 13), (14, 11)):
        compare(maps(*size, octave=octave), filters=4, octave=octave, **arguments)


@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pair", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_every_role(ratio_out, pair, use_bias):
    inputs = maps(9, 8)[: 2 if pair else 1]
    compare(inputs, filters=4, kernel_size=3, ratio_out=ratio_out, use_bias=use_bias, activation="relu")


@pytest.mark.parametrize("stride", [1, 2])
def test_groups(stride):
    compare(maps(7, 8, 4, 2), filters=8, kernel_size=3, strides=stride, groups=2)


@pytest.mark.parametrize("size", [(8, 12), (9, 14)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (2, 2)])
def test_channels_first(kernel, stride, size):
    inputs = [first(x) for x in maps(*size)]
    compare(inputs, filters=4, kernel_size=kernel, strides=stride, data_format="channels_first")


@pytest.mark.parametrize("size", [(8, 12), (9, 14)])
@pytest.mark.parametrize("ratio_out", [0.0, 0.5, 1.0])
def test_whole_low(ratio_out, size):
    compare(maps(*size)[1:], filters=4, kernel_size=3, ratio_out=ratio_out, whole_low=True, high_size=size)


@pytest.mark.parametrize(("rows", "pools"), [(16, 1), (15, 2)])
def test_a_stride_is_pooled_with_the_octave_where_both_divide_the_map(rows, pools):
    model = compare([maps(rows, 20)[0]], filters=4, kernel_size=1, ratio_out=1.0, strides=2)
    assert sum(isinstance(layer, keras.layers.AveragePooling2D) for layer in model.layers) == pools


def test_formula_in_numpy():
    """The built-in version against the paper's formula itself, not only against OctaveConv2D."""
    high, low = maps(8, 6)
    model = portable_model([high, low], filters=4, kernel_size=3, activation="relu")
    randomise(model)
    same = ((1, 1), (1, 1))
    k = {path: model.get_layer(f"block-{path.upper()}").get_weights() for path in PATHS}
    high_out = conv(high, k["hh"][0], 1, same) + upsample(conv(low, k["lh"][0], 1, same), 2, high) + k["hh"][1]
    low_out = conv(low, k["ll"][0], 1, same) + conv(pool(high, 2), k["hl"][0], 1, same) + k["hl"][1]
    for actual, wanted in zip(model([high, low]), (high_out, low_out), strict=True):
        close(actual, np.maximum(wanted, 0))


def test_sub_layers_are_named_after_the_block():
    model = portable_model(maps(9, 9), filters=4, kernel_size=3, activation="relu")
    names = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert all(name.startswith("block-") for name in names)
    assert {"block-HH", "block-HL", "block-LH", "block-LL"} <= set(names)
    biased = [f"block-{p}" for p in ("HH", "HL", "LH", "LL") if model.get_layer(f"block-{p}").use_bias]
    assert biased == ["block-HH", "block-HL"]


def test_arguments_reach_every_convolution():
    choices = {"kernel_initializer": "ones", "kernel_regularizer": "l2", "kernel_constraint": "non_neg"}
    model = portable_model(maps(8, 8), filters=4, kernel_size=3, **choices)
    for path in ("HH", "HL", "LH", "LL"):
        layer = model.get_layer(f"block-{path}")
        np.testing.assert_array_equal(layer.kernel, np.ones(layer.kernel.shape))
        assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)
    assert float(sum(model.losses)) == pytest.approx(0.01 * 9 * (3 + 2) * 4)


@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_dtype_argument_reaches_every_layer(size):
    """The block computes in its own dtype, whatever the policy of the process is."""
    inputs = maps(*size)
    arguments = {"filters": 4, "kernel_size": 1, "strides": 2, "activation": "relu"}
    reference = portable_model(inputs, **arguments)
    tensors = [keras.Input(x.shape[1:], dtype="bfloat16") for x in inputs]
    model = keras.Model(tensors, octave_conv_2d(tensors, name="block", dtype="mixed_bfloat16", **arguments))
    own = [layer for layer in model.layers if layer.name.startswith("block-")]
    assert len(own) >= 8 and {layer.compute_dtype for layer in own} == {"bfloat16"}
    assert {w.dtype for w in model.weights} == {"float32"}
    model.set_weights(reference.get_weights())
    outputs = model([ops.cast(x, "bfloat16") for x in inputs])
    for actual, wanted in zip(outputs, reference(inputs), strict=True):
        close(ops.cast(actual, "float32"), wanted, 4e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio_out": 1.5}, "ratio_out"),
        ({"octave": 3}, "octave.*power of two"),
        ({"filters": 0}, "filters"),
        ({"filters": 6, "groups": 2}, "block.*3 high filters.*2 groups"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"padding": "full"}, "padding"),
        ({"data_format": "nhwc"}, "data_format"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        octave_conv_2d(keras.Input((8, 8, 4)), **{"filters": 4, "kernel_size": 3, "name": "block", **arguments})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(None, 8, 3)], "block.*known rows and columns"),
        ([(8, 8, None)], "block.*channel dimension"),
        ([(8, 8, 3), (8, 8, 2)], r"block.*octave=2.*\(4, 4\)"),
        ([(8, 8, 3)] * 3, "block.*3 tensors"),
    ],
)
def test_wrong_inputs(shapes, message):
    with pytest.raises(ValueError, match=message):
        octave_conv_2d([keras.Input(shape) for shape in shapes], 4, 3, name="block")


def network():
    """First, intermediate (strided, odd sizes, shifted windows) and last block, octave 2 and 4."""
    image = keras.Input((13, 15, 3))
    pair = octave_conv_2d(image, 8, 3, activation="relu", name="stem")
    pair = octave_conv_2d(pair, 8, 1, strides=2, activation="relu", name="shortcut")
    pair = octave_conv_2d(pair, 8, 3, strides=2, padding=((1, 1), (1, 1)), name="down")
    out = octave_conv_2d(pair, 6, 3, ratio_out=0.0, name="last")
    four = octave_conv_2d(octave_conv_2d(image, 4, 3, octave=4, name="a"), 4, 2, octave=4, ratio_out=0.0, name="b")
    return keras.Model(image, [out, four])


SCRIPT = """
import sys
sys.modules["octconvert"] = None  # an import of it would fail
import keras, numpy as np
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    np.savez(path + ".npz", *[np.asarray(x) for x in model(np.load(sys.argv[1]))])
"""


@pytest.mark.long
def test_saved_models_load_without_octconvert(tmp_path):
    model = randomise(network())
    images = np.random.default_rng(1).normal(size=(2, 13, 15, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / "model.keras"), str(tmp_path / "model.h5")]
    for file in files:
        model.save(file)
    run = [sys.executable, "-c", SCRIPT, str(tmp_path / "images.npy"), *files]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for file in files:
        with np.load(file + ".npz") as loaded:
            for actual, wanted in zip(loaded.values(), model(images), strict=True):
                close(actual, wanted)


def test_two_calls_without_a_name_fit_in_one_model():
    image = keras.Input((8, 8, 3))
    x = octave_conv_2d(octave_conv_2d(image, 4, 3), 4, 3, ratio_out=0.0)
    assert keras.Model(image, x).output_shape == (None, 8, 8, 4)
