"""Whole-low tensors in the form for inference: the same numbers, and little at the high resolution."""

from functools import cache

import keras
import pytest
from keras import Input, Model, layers
from oracle import example, largest_difference, randomise, run

import octconvert
from octconvert.inference import Forms
from octconvert.inference.step_forms import UPSAMPLINGS

RESOLUTION = (layers.AveragePooling2D, layers.UpSampling2D, layers.Resizing)
"""What changes it, in the forms 'repeat' and 'resize'."""


def norm(x, activation=True):
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1
    x = layers.BatchNormalization(axis=axis)(x)
    return layers.ReLU()(x) if activation else x


def stem(size):
    image = Input((3, *size) if keras.config.image_data_format() == "channels_first" else (*size, 3))
    return image, norm(layers.Conv2D(8, 3, padding="same", use_bias=False)(image))


def bottleneck(x, filters, strides=1):
    y = norm(layers.Conv2D(filters // 4, 1, strides)(x))
    y = norm(layers.Conv2D(filters // 4, 3, padding="same")(y))
    y = norm(layers.Conv2D(filters, 1)(y), activation=False)
    if strides > 1:
        x = norm(layers.Conv2D(filters, 1, strides)(x), activation=False)
    return layers.ReLU()(layers.Add()([x, y]))


def head(image, x):
    return randomise(Model(image, layers.Dense(5, name="classes")(layers.GlobalAveragePooling2D()(x))))


def residual(size):
    image, x = stem(size)
    return head(image, bottleneck(bottleneck(x, 8), 16, strides=2))


def inverted(size):
    image, x = stem(size)
    for filters, strides in ((8, 1), (12, 2)):
        y = norm(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x))
        y = norm(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y))
        y = norm(layers.Conv2D(filters, 1, use_bias=False)(y), activation=False)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    return head(image, x)


INTERIOR = {"alpha": 0.0, "interior": 1.0}


@cache
def octave_model(make, size, **options):
    """Converted once for all tests that only read it."""
    return octconvert.convert(make(size), min_size=1, calibration=False, **options).model


def assert_same(model, deployed):
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(deployed, inputs)) <= 1e-5
    assert not [layer for layer in deployed.layers if type(layer).__module__.startswith("octconvert")]
    assert not [layer for layer in deployed.layers if isinstance(layer, layers.BatchNormalization)]
    assert deployed.output_names == model.output_names


def counted(model, kinds=RESOLUTION):
    return {kind: sum(isinstance(layer, kind) for layer in model.layers) for kind in kinds}


@pytest.mark.quick(
    "repeat-inverted-size0", "resize-residual-size1", "copies-inverted-size1", "broadcast-residual-size0"
)
@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
@pytest.mark.parametrize("make", [residual, inverted])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_every_form_predicts_the_same(upsampling, make, size):
    model = octave_model(make, size, **INTERIOR)
    assert_same(model, octconvert.for_inference(model, forms=Forms(upsampling=upsampling)))


@pytest.mark.parametrize("paths", ["outputs", "separate"])
def test_whole_low_everywhere(paths):
    model = octave_model(residual, (16, 24), alpha=1.0)
    assert_same(model, octconvert.for_inference(model, forms=Forms(paths)))


@pytest.mark.long
@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
@pytest.mark.parametrize("make", [residual, inverted])
def test_cells_of_four(make, size):
    model = octave_model(make, size, octave=4, **INTERIOR)
    assert_same(model, octconvert.for_inference(model))


@pytest.mark.quick("residual")
@pytest.mark.parametrize("make", [residual, inverted])
def test_channels_first(make):
    keras.config.set_image_data_format("channels_first")
    try:
        model = octave_model(make, (14, 18), **INTERIOR)
        assert_same(model, octconvert.for_inference(model))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.quick("inverted-size1")
@pytest.mark.parametrize("size", [(16, 24), (15, 22)])
@pytest.mark.parametrize("make", [residual, inverted])
def test_a_portable_model_has_the_same_form(make, size):
    octave, portable = (octave_model(make, size, portable=flag, **INTERIOR) for flag in (False, True))
    forms = [octconvert.for_inference(model, "onnx") for model in (octave, portable)]
    assert_same(portable, forms[1])
    kinds = [sorted(type(layer).__name__ for layer in form.layers) for form in forms]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("portable", [False, True])
def test_a_bottleneck_has_one_pool_and_one_upsampling(portable):
    image, x = stem((16, 16))
    model = octconvert.convert(
        head(image, bottleneck(bottleneck(x, 8), 8)), min_size=1, calibration=False, portable=portable, **INTERIOR
    ).model
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert counted(deployed) == {layers.AveragePooling2D: 2, layers.UpSampling2D: 2, layers.Resizing: 0}


def test_a_stride_is_pooled_with_the_octave():
    model = octave_model(residual, (16, 24), **INTERIOR)
    deployed = octconvert.for_inference(model)
    pools = [layer.pool_size for layer in deployed.layers if isinstance(layer, layers.AveragePooling2D)]
    assert sorted(pools) == [(2, 2), (4, 4)]


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (15, 18)])
def test_normalisation_and_rectifier_come_before_the_upsampling(size, portable):
    """conv low -> upsample -> normalise -> relu: the cheap side does the work."""
    image, x = stem(size)
    x = norm(layers.Conv2D(12, 3, padding="same", name="low")(x))
    x = norm(layers.Conv2D(6, 3, padding="same", name="wide")(x))
    source = Model(image, layers.Conv2D(4, 3, name="map")(x))
    model = octconvert.convert(
        randomise(source), alpha=0.0, alpha_map={"low": 1.0}, min_size=1, calibration=False, portable=portable
    ).model
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert_same(model, deployed)
    assert counted(deployed)[layers.UpSampling2D] == 1
    (up,) = [layer for layer in deployed.layers if isinstance(layer, layers.UpSampling2D)]
    rectified = [layer.output.shape[1:3] for layer in deployed.layers if isinstance(layer, layers.ReLU)]
    assert rectified.count(tuple(up.input.shape[1:3])) == 2


@pytest.mark.parametrize(("octave", "size"), [(2, (16, 12)), (2, (15, 18)), (4, (16, 12)), (4, (15, 18))])
def test_what_is_pooled_right_behind_an_upsampling_is_not_upsampled(octave, size):
    """The plain tensor between two whole-low ones is computed at their resolution."""
    image, x = stem(size)
    for name in ("low", "wide", "low2"):
        x = norm(layers.Conv2D(8, 3, padding="same", name=name)(x))
    source = randomise(Model(image, layers.Conv2D(4, 3, name="map")(x)))
    model = octconvert.convert(
        source, alpha=0.0, alpha_map={"low": 1.0}, min_size=1, calibration=False, octave=octave
    ).model
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert_same(model, deployed)
    steps = 2 if octave == 4 and size[0] % 4 else 1  # of one pooling
    assert counted(deployed) == {layers.AveragePooling2D: steps, layers.UpSampling2D: 1, layers.Resizing: 0}


@pytest.mark.parametrize(("factor", "pool", "expected"), [(2, 4, (2, 2)), (4, 2, None), (2, 3, (3, 3))])
def test_pooling_by_more_or_less_than_was_upsampled(factor, pool, expected):
    image = Input((6, 8, 4))
    x = layers.UpSampling2D(factor)(layers.Conv2D(8, 3, padding="same")(image))
    model = randomise(Model(image, layers.Conv2D(4, 3)(layers.AveragePooling2D(pool)(x))))
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert_same(model, deployed)
    pools = [layer.pool_size for layer in deployed.layers if isinstance(layer, layers.AveragePooling2D)]
    assert pools == ([] if expected is None else [expected])


def test_what_others_read_stays_behind_the_upsampling():
    """Else the map would be upsampled twice."""
    image, x = stem((16, 16))
    x = layers.Conv2D(12, 3, padding="same", name="low")(x)
    y = layers.UpSampling2D()(x)
    model = randomise(Model(image, layers.Conv2D(4, 3)(layers.Concatenate()([y, layers.ReLU()(y)]))))
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert counted(deployed)[layers.UpSampling2D] == 1
    assert largest_difference(run(model, example(model)), run(deployed, example(model))) <= 1e-5


def test_maps_that_are_added_are_upsampled_once():
    image, x = stem((16, 16))
    low = layers.AveragePooling2D(2)(x)
    branches = [layers.UpSampling2D()(layers.Conv2D(8, 3, padding="same")(low)) for _ in range(3)]
    model = randomise(Model(image, layers.Conv2D(4, 3)(layers.Add()([*branches[:2], x, branches[2]]))))
    deployed = octconvert.for_inference(model, forms=Forms(upsampling="repeat"))
    assert counted(deployed)[layers.UpSampling2D] == 1
    assert largest_difference(run(model, example(model)), run(deployed, example(model))) <= 1e-5


def test_layers_of_another_precision_stay_behind_the_upsampling():
    image = Input((16, 16, 4))
    x = layers.UpSampling2D(dtype="float32")(layers.Conv2D(8, 3, dtype="float32")(image))
    x = layers.Activation("sigmoid", dtype="float16")(x)
    model = randomise(Model(image, layers.Conv2D(4, 3, dtype="float32")(x)))
    deployed = octconvert.for_inference(model)
    assert largest_difference(run(model, example(model)), run(deployed, example(model))) <= 1e-5


def test_layers_of_maps_of_open_size_stay():
    image = Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    model = randomise(Model(image, layers.Conv2D(4, 3, padding="same")(x)))
    converted = octconvert.convert(model, alpha=1.0, calibration=False).model
    inputs = example(model, size=13)
    assert largest_difference(run(converted, inputs), run(octconvert.for_inference(converted), inputs)) <= 1e-6


@pytest.mark.long
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("options", [INTERIOR, {"alpha": 1.0}], ids=["interiors", "everything"])
def test_sizes_that_the_user_sets_behind_the_conversion(options, nested, tmp_path):
    """A converted model reads its sizes from tensors; at fixed ones nothing of that is left."""
    model = residual((None, None))
    if nested:
        image = Input((None, None, 3))
        inside = Model(model.inputs, model.layers[-3].output, name="inside")
        model = head(image, layers.Conv2D(8, 3, padding="same")(inside(image)))
    octconvert.convert(model, calibration=False, **options).save(tmp_path / "open.keras")
    converted = octconvert.load(tmp_path / "open.keras", input_shape=(13, 11, 3))
    deployed = octconvert.for_inference(converted)
    assert not [layer for layer in deployed.layers if type(layer).__module__.startswith("octconvert")]
    inputs = example(converted)
    assert largest_difference(run(converted, inputs), run(deployed, inputs)) <= 1e-5
