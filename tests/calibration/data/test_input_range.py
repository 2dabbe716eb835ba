import keras
import numpy as np
import pytest
from keras import layers, ops

from octconvert.calibration.data.input_range import find_range, image_like
from octconvert.calibration.data.synthetic import dead_leaves
from octconvert.errors import UsageError
from octconvert.model.graph_reader import build_graph

PHOTOS = dead_leaves(48, 40, 40, seed=11)
TORCH = (1 / np.array([0.229, 0.224, 0.225]), -np.array([0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225]))


def through(*steps, shape=(32, 32, 3), **kwargs):
    """A model that sends its input through the steps."""
    source = tensor = keras.Input(shape, **kwargs)
    for step in steps:
        tensor = step(tensor)
    return keras.Model(source, tensor)


def stem(photos, scale, offset, convolution=None, before=()):
    """A convolution and a BatchNormalization that was trained on photos in a range."""
    convolution = convolution or layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False)
    norm = layers.BatchNormalization(name="norm")
    model = through(*before, convolution, norm, layers.ReLU(), layers.Conv2D(4, 3), shape=photos.shape[1:])
    learn(norm, through_to(model, norm)((photos * scale + offset).astype("float32")))
    return model


def through_to(model, norm):
    return keras.Model(model.input, norm.input)


def learn(norm, values):
    values = np.asarray(values).reshape(-1, values.shape[-1])
    norm.moving_mean.assign(values.mean(axis=0))
    norm.moving_variance.assign(values.var(axis=0))


def assert_close(found, scale, offset, channels=3):
    """Mean and deviation of photos in the range found are those of photos in the true range."""
    true_scale, true_offset = (np.broadcast_to(value, channels) for value in (scale, offset))
    assert found.known
    assert len(found.scale) == len(found.offset) == channels
    assert np.allclose(found.scale, true_scale, rtol=0.15)
    mean = 0.45 * np.array(found.scale) + found.offset
    assert np.allclose(mean, 0.45 * true_scale + true_offset, atol=0.25 * true_scale.max() * 0.2)


def timed(*steps, shape=(32, 32, 3), time=4, before=()):
    """The steps inside a `TimeDistributed`; the steps ``before`` it see whole videos."""
    source = tensor = keras.Input((time, *shape))
    for step in before:
        tensor = step(tensor)
    return keras.Model(source, layers.TimeDistributed(through(*steps, shape=shape))(tensor))


# --- what the user says ---


def test_a_given_range_wins():
    found = find_range(build_graph(through(layers.Rescaling(1 / 255))), requested=(-1, 1))
    assert (found.scale, found.offset, found.known) == ((2, 2, 2), (-1, -1, -1), True)
    assert found.how == "-1..1, as given"


@pytest.mark.parametrize("given", [(1, 0), (0, 0), (0, float("inf")), (float("nan"), 1)])
def test_a_given_range_must_be_one(given):
    with pytest.raises(UsageError, match="input_range must be two finite numbers LO < HI"):
        find_range(build_graph(through(layers.ReLU())), requested=given)


# --- what the input goes through first ---

RESCALED = [
    ([layers.Rescaling(1 / 255)], "0..255", "Rescaling"),
    ([layers.Rescaling(1 / 127.5, offset=-1)], "0..255", "Rescaling"),
    ([layers.Rescaling(2.0, offset=-1)], "0..1", "Rescaling"),
    ([layers.Rescaling(127.5, offset=127.5)], "-1..1", "Rescaling"),
    ([layers.ZeroPadding2D(2), layers.Identity(), layers.Rescaling(1 / 255)], "0..255", "Rescaling"),
    ([layers.Resizing(24, 24), layers.Rescaling(1 / 255)], "0..255", "Rescaling"),
    ([layers.RandomFlip(), layers.RandomRotation(0.2), layers.Rescaling(1 / 255)], "0..255", "Rescaling"),
    ([layers.Rescaling(1 / 255), layers.Normalization()], "0..255", "Rescaling"),
    ([lambda x: x / 127.5 - 1], "0..255", "TrueDivide"),
    ([lambda x: ops.multiply(x, 1 / 255)], "0..255", "Multiply"),
    ([lambda x: ops.subtract(ops.divide(x, 127.5), 1.0)], "0..255", "Divide"),
    ([lambda x: 2 * x + (-1)], "0..1", "Multiply"),
    ([lambda x: x - np.array([123.7, 116.8, 103.9], "float32")], "0..255", "Subtract"),
    ([lambda x: keras.applications.resnet50.preprocess_input(x)], "0..255", "Add"),
    ([layers.Lambda(lambda x: x / 255.0)], "0..255", "'lambda"),
    ([lambda x: layers.Concatenate()([x, x, x]), layers.Rescaling(1 / 255)], "0..255", "Rescaling"),
]


@pytest.mark.parametrize("steps, name, layer", RESCALED)
def test_range_is_read_from_scaling(steps, name, layer):
    found = find_range(build_graph(through(*steps, layers.Conv2D(4, 3))))
    scale, offset = {"0..255": (255, 0), "0..1": (1, 0), "-1..1": (2, -1)}[name]
    assert found.known
    assert (found.scale, found.offset) == ((scale,) * 3, (offset,) * 3)
    assert found.how.startswith(f"{name}, read from ") and layer in found.how


def test_chain_of_normalizations_is_read_as_one():
    mean, variance = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]) ** 2
    steps = layers.Rescaling(1 / 255), layers.Normalization(mean=mean, variance=variance), layers.Rescaling([1, 2, 1])
    found = find_range(build_graph(through(*steps, layers.Conv2D(4, 3))))
    assert found.scale == (255,) * 3 and found.offset == (0,) * 3
    assert "Rescaling" in found.how and "Normalization" in found.how


def test_normalization_tells_a_usual_range():
    norm = layers.Normalization(mean=[125, 123, 114], variance=[3900, 3800, 4400])
    assert find_range(build_graph(through(norm))).scale == (255,) * 3
    adapted = layers.Normalization(name="adapted")
    adapted.adapt(PHOTOS)
    found = find_range(build_graph(through(adapted)))
    assert found.scale == (1,) * 3 and found.how == "0..1, read from Normalization 'adapted'"


def test_normalization_tells_an_unusual_range():
    found = find_range(build_graph(through(layers.Normalization(mean=0.13, variance=0.0961), shape=(28, 28, 1))))
    assert found.scale == pytest.approx((0.31 / 0.25,), rel=1e-3)
    assert found.offset == pytest.approx((0.13 - 0.45 * 0.31 / 0.25,), abs=1e-3)
    assert found.how.startswith("mean 0.13 and deviation 0.31, read from Normalization")


def test_scaling_inside_a_nested_model_is_found():
    inner = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)], name="inner")
    found = find_range(build_graph(through(inner)))
    assert found.scale == (255,) * 3 and "inner/" in found.how


@pytest.mark.parametrize("inside, time", [(True, 4), (False, None)])
def test_scaling_of_the_frames_of_videos_is_found(inside, time):
    scaling, convolution = layers.Rescaling(1 / 255, name="scaling"), layers.Conv2D(4, 3)
    model = timed(scaling, convolution, time=time) if inside else timed(convolution, time=time, before=(scaling,))
    graph = build_graph(model)
    found = find_range(graph)
    assert image_like(graph) and found.scale == (255, 255, 255)
    assert found.how.startswith("0..255, read from Rescaling") and "scaling" in found.how


def test_statistics_of_the_frames_of_videos_are_fitted():
    inside = stem(PHOTOS, 2, -1)
    video = keras.Input((None, *PHOTOS.shape[1:]))
    found = find_range(build_graph(keras.Model(video, layers.TimeDistributed(inside)(video))))
    assert_close(found, 2, -1)


def test_random_layers_do_not_draw():
    flip = layers.RandomFlip(seed=1)
    model = through(flip, layers.Rescaling(1 / 255))
    before = [np.asarray(v) for v in flip.variables]
    find_range(build_graph(model))
    assert all((a == np.asarray(v)).all() for a, v in zip(before, flip.variables, strict=True))


def test_second_input_is_told_apart():
    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    added = layers.Add()([layers.Rescaling(1 / 255)(first), layers.Rescaling(2.0, offset=-1)(second)])
    graph = build_graph(keras.Model([first, second], added))
    assert find_range(graph, 0).scale == (255,) * 3
    assert find_range(graph, 1).scale == (1,) * 3


@pytest.mark.quick("MobileNetV3Small")
@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_keras_applications_tell_their_range(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), include_top=False)
    found = find_range(build_graph(model))
    assert found.known and found.scale == (255,) * 3 and found.offset == (0,) * 3


# --- running statistics ---

RANGES = {
    "0..1": (1.0, 0.0),
    "-1..1": (2.0, -1.0),
    "0..255": (255.0, 0.0),
    "mean 0, deviation 1": TORCH,
    "0..255, blue first": (255.0, -np.array([103.939, 116.779, 123.68])),
}


@pytest.mark.quick("0..1", "0..255, blue first")
@pytest.mark.parametrize("name", RANGES)
def test_usual_range_is_fitted_to_batch_normalization(name):
    found = find_range(build_graph(stem(PHOTOS, *RANGES[name])))
    assert found.how.startswith(name) and "fits BatchNormalization 'norm' behind 'conv2d" in found.how
    if isinstance(RANGES[name][1], float):
        assert (found.scale, found.offset) == ((RANGES[name][0],) * 3, (RANGES[name][1],) * 3)
    else:
        assert_close(found, *RANGES[name])


CONVOLUTIONS = {
    "bias": lambda: layers.Conv2D(16, 5, bias_initializer="random_normal"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=4, padding="same"),
    "separable": lambda: layers.SeparableConv2D(16, 3, depth_multiplier=4, padding="same"),
}


@pytest.mark.quick("bias")
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_unusual_range_is_fitted_to_batch_normalization(kind):
    scale, offset = 30.0, np.array([20.0, 25.0, 15.0])
    found = find_range(build_graph(stem(PHOTOS, scale, offset, CONVOLUTIONS[kind](), [layers.ZeroPadding2D(1)])))
    assert found.how.startswith("mean ") and "fitted to BatchNormalization 'norm'" in found.how
    assert_close(found, scale, offset)


def test_fit_reproduces_the_running_statistics():
    scale, offset = 10.0, np.array([-1.0, 0.0, 1.0])
    model = stem(PHOTOS, scale, offset)
    found = find_range(build_graph(model), images=PHOTOS)
    norm = model.get_layer("norm")
    values = np.asarray(through_to(model, norm)((PHOTOS * found.scale + found.offset).astype("float32")))
    variance = np.asarray(norm.moving_variance)
    assert np.allclose(values.var(axis=(0, 1, 2)), variance, rtol=0.02)
    assert (abs(values.mean(axis=(0, 1, 2)) - norm.moving_mean) < 0.02 * np.sqrt(variance)).all()


def test_dead_filters_and_grey_images():
    grey = dead_leaves(48, 40, 40, 1, seed=5)
    model = stem(grey, 255.0, 0.0)
    convolution, norm = model.layers[1], model.get_layer("norm")
    kernel, variance = np.array(convolution.kernel), np.array(norm.moving_variance)
    kernel[..., :4], variance[:4] = 1e-12, 1e-11
    convolution.kernel.assign(kernel)
    norm.moving_variance.assign(variance)
    found = find_range(build_graph(model))
    assert (found.scale, found.offset) == ((255,), (0,))


def test_batch_normalization_on_the_input_knows_it():
    norm = layers.BatchNormalization(name="first")
    model = through(norm, layers.Conv2D(4, 3))
    learn(norm, PHOTOS * 255)
    assert find_range(build_graph(model)).how == "0..255, read from BatchNormalization 'first'"
    learn(norm, PHOTOS * np.array([10, 20, 40]) + 70)
    found = find_range(build_graph(model))
    assert found.how.startswith("mean ") and "read from BatchNormalization 'first'" in found.how
    assert_close(found, np.array([10, 20, 40]), 70)


def test_scaling_that_tells_nothing_leaves_it_to_the_statistics():
    found = find_range(build_graph(stem(PHOTOS, 8.0, -4.0, before=[layers.Rescaling(0.1)])))
    assert "fitted to BatchNormalization" in found.how
    assert_close(found, 8.0, -4.0)


def test_fixed_batch_and_half_precision():
    source = keras.Input(batch_shape=(5, 40, 40, 3), dtype="float16")
    norm = layers.BatchNormalization(dtype="float16")
    convolution = layers.Conv2D(8, 3, dtype="float16")
    model = keras.Model(source, norm(convolution(source)))
    learn(norm, np.asarray(convolution((PHOTOS * 2 - 1).astype("float16")), "float32"))
    assert find_range(build_graph(model)).how.startswith("-1..1")


# --- nothing to go by ---


@pytest.mark.parametrize(
    "steps",
    [
        [layers.Conv2D(4, 3), layers.ReLU()],
        [layers.Conv2D(4, 3), layers.BatchNormalization()],
        [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()],
        [layers.MaxPooling2D(), layers.Rescaling(1 / 255)],
        [lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True)],
        [lambda x: ops.exp(x)],
    ],
)
def test_otherwise_the_range_is_assumed(steps):
    found = find_range(build_graph(through(*steps)))
    assert not found.known
    assert found.scale == pytest.approx((4, 4, 4)) and found.offset == pytest.approx((-1.8, -1.8, -1.8))
    assert "assumed" in found.how and "`input_range`" in found.how


def test_statistics_that_fit_nothing_are_not_believed():
    model = stem(PHOTOS, 1.0, 0.0)
    norm = model.get_layer("norm")
    norm.moving_variance.assign(np.asarray(norm.moving_variance) * 10.0 ** np.linspace(-4, 4, 24))
    assert not find_range(build_graph(model)).known


def test_open_sizes_and_channels_first_graphs():
    assert find_range(build_graph(through(layers.Rescaling(1 / 255), shape=(None, None, 3)))).scale == (255,) * 3
    steps = layers.Rescaling(1 / 255), layers.ZeroPadding2D(1, data_format="channels_first")
    graph = build_graph(through(*steps, shape=(3, 20, 24)))
    assert image_like(graph) and find_range(graph).scale == (255,) * 3


def test_which_inputs_take_images():
    shapes = {(32, 32, 3): True, (None, None, 1): True, (8, 8, 16): False, (10,): False, (10, 3): False}
    for shape, expected in shapes.items():
        assert image_like(build_graph(through(layers.Identity(), shape=shape))) is expected
    assert not image_like(build_graph(through(layers.Identity(), shape=(8, 8, 3), dtype="int32")))
    assert not find_range(build_graph(through(layers.Identity(), shape=(10,)))).known
