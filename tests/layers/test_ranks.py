"""Layers of signals and volumes: the formula of the paper, Keras' own at octave 1, and each rank within another."""

import contextlib
import math

import keras
import numpy as np
import pytest
from keras import layers
from layer_reference import ceil_div, close, conv, first, maps_of, pads_of, pool, randomise, upsample

import octconvert
from octconvert.layers import (
    OctaveConv1D,
    OctaveConv1DTranspose,
    OctaveConv2D,
    OctaveConv2DTranspose,
    OctaveConv3D,
    OctaveConv3DTranspose,
    OctaveCrop,
    OctaveDepthwiseConv1D,
    OctaveDepthwiseConv2D,
    OctaveMerge,
    OctavePooling1D,
    OctavePooling2D,
    OctavePooling3D,
    octave_conv_1d,
    octave_conv_3d,
    octave_dual,
)
from octconvert.layers.kernels import fold_kernel
from octconvert.layers.spatial import prepare_low
from octconvert.layers.window import Window

CONV = {1: OctaveConv1D, 2: OctaveConv2D, 3: OctaveConv3D}
PORTABLE = {1: octave_conv_1d, 3: octave_conv_3d}
SIZES = {1: [(16,), (13,)], 3: [(4, 8, 6), (5, 9, 6)]}
RANKS_AND_SIZES = [(rank, size) for rank, sizes in SIZES.items() for size in sizes]


def low_conv(low, kernel, size, padding, octave, outputs):
    """Convolution of a low map at stride 1, whose folded taps begin at floor(-before / octave)."""
    pads = []
    for axis, (before, _) in enumerate(pads_of(padding, size, kernel.shape[0])):
        cells = [
            math.floor((phase + tap - before) / octave) for phase in range(octave) for tap in range(kernel.shape[0])
        ]
        start = min(cells) - (kernel.shape[0] - (max(cells) - min(cells) + 1)) // 2
        pads.append((-start, ceil_div(outputs[axis], octave) - 1 + start + kernel.shape[0] - low.shape[1 + axis]))
    return conv(low, kernel, 1, pads)


@pytest.mark.parametrize(("rank", "size"), RANKS_AND_SIZES)
@pytest.mark.parametrize(("padding", "octave"), [("same", 2), ("same", 4), ("valid", 2)])
def test_the_formula_of_the_paper(rank, size, padding, octave):
    high, low = maps_of(*size, octave=octave)
    layer = CONV[rank](8, 3, octave=octave, ratio_out=0.25, padding=padding)
    layer([high, low])
    actual = randomise(layer)([high, low])
    w = {each.name: np.asarray(each) for each in layer.weights}
    plain = conv(high, w["hh_kernel"], 1, pads_of(padding, size, 3))
    outputs = plain.shape[1:-1]
    from_low = [low_conv(low, w[name], size, padding, octave, outputs) for name in ("lh_kernel", "ll_kernel")]
    from_high = low_conv(pool(high, octave), w["hl_kernel"], size, padding, octave, outputs)
    close(actual[0], plain + upsample(from_low[0], octave, plain) + w["high_bias"])
    close(actual[1], from_low[1] + from_high + w["low_bias"])


@pytest.mark.parametrize(("rank", "size"), RANKS_AND_SIZES)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 2, "padding": "valid"},
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 1, "strides": 2},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": 3, "groups": 2},
    ],
    ids=str,
)
def test_at_octave_1_it_is_the_plain_convolution(rank, size, options):
    high, low = maps_of(*size, high=4, low=2, octave=1)
    layer = CONV[rank](8, octave=1, ratio_out=0.5, **options)
    layer([high, low])
    outputs = randomise(layer)([high, low])
    kernel = np.concatenate(
        [
            np.concatenate([layer.hh_kernel, layer.hl_kernel], -1),
            np.concatenate([layer.lh_kernel, layer.ll_kernel], -1),
        ],
        -2,
    )
    bias = np.concatenate([layer.high_bias, layer.low_bias])
    pads = pads_of(layer.padding, size, layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0])
    groups, x = layer.groups, np.concatenate([high, low], -1)
    if groups == 2:  # [high | low] channels of each group
        x = np.concatenate([high[..., :2], low[..., :1], high[..., 2:], low[..., 1:]], -1)
        kernel = np.concatenate([kernel[..., :2], kernel[..., 4:6], kernel[..., 2:4], kernel[..., 6:]], -1)
        bias = np.concatenate([bias[:2], bias[4:6], bias[2:4], bias[6:]])
    expected = conv(x, kernel, layer.strides[0], pads, layer.dilation_rate[0], groups) + bias
    if groups == 2:
        expected = np.concatenate([expected[..., :2], expected[..., 4:6], expected[..., 2:4], expected[..., 6:]], -1)
    close(np.concatenate(outputs, -1), expected)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("steps", [16, 13])
@pytest.mark.parametrize("octave", [2, 4])
def test_a_signal_is_an_image_of_one_row(octave, steps, strides):
    """With an octave for each axis the row is kept."""
    high, low = maps_of(steps, octave=octave)
    layer = OctaveConv1D(8, 3, octave, 0.5, strides, activation="relu")
    image = OctaveConv2D(8, (1, 3), (1, octave), 0.5, (1, strides), activation="relu")
    layer([high, low])
    image([high[:, None], low[:, None]])
    image.set_weights([weight[None] if weight.ndim == 3 else weight for weight in randomise(layer).get_weights()])
    for one, two in zip(layer([high, low]), image([high[:, None], low[:, None]]), strict=True):
        close(one, np.asarray(two)[:, 0])
    assert layer.macs([high.shape, low.shape]) == image.macs([high[:, None].shape, low[:, None].shape])
    assert layer.compute_output_shape([high.shape, low.shape])[0] == tuple(layer([high, low])[0].shape)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_frames_whose_time_is_kept_are_images(size):
    high, low = maps_of(*size, batch=6)
    layer = OctaveConv2D(8, 3, ratio_out=0.5, strides=2)
    video = OctaveConv3D(8, (1, 3, 3), (1, 2, 2), ratio_out=0.5, strides=(1, 2, 2))
    layer([high, low])
    frames = [x.reshape(2, 3, *x.shape[1:]) for x in (high, low)]
    video(frames)
    video.set_weights([weight[None] if weight.ndim == 4 else weight for weight in randomise(layer).get_weights()])
    for one, two in zip(layer([high, low]), video(frames), strict=True):
        close(two, np.asarray(one).reshape(2, 3, *one.shape[1:]))


@pytest.mark.long
@pytest.mark.parametrize(("rank", "size"), RANKS_AND_SIZES)
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"octave": 4}, {"kernel_size": 1, "strides": 2}], ids=str)
def test_open_sizes_and_channels_first(rank, size, options):
    options = {"kernel_size": 3, "ratio_out": 0.5, "octave": 2, **options}
    pair = maps_of(*size, octave=options["octave"])
    layer = CONV[rank](8, **options)
    layer(pair)
    expected = randomise(layer)(pair)
    tensors = [keras.Input((*[None] * rank, x.shape[-1])) for x in pair]
    for one, two in zip(keras.Model(tensors, layer(tensors))(pair), expected, strict=True):
        close(one, two)
    other = CONV[rank](8, **options, data_format="channels_first")
    if other.strides[0] > 1 and keras.backend.backend() == "tensorflow":
        return  # TensorFlow has no strided channels_first convolution of this rank on a CPU
    flipped = [first(x) for x in pair]
    other(flipped)
    other.set_weights(layer.get_weights())
    for one, two in zip(other(flipped), expected, strict=True):
        close(one, first(two))


@pytest.mark.parametrize(("rank", "size"), RANKS_AND_SIZES)
@pytest.mark.parametrize(
    "options",
    [{}, {"strides": 2}, {"octave": 4}, {"padding": "valid"}, {"kernel_size": 1, "strides": 2}, {"kernel_size": 2}],
    ids=str,
)
def test_built_in_layers_compute_the_same(rank, size, options):
    options = {"filters": 8, "kernel_size": 3, "ratio_out": 0.5, "octave": 2, **options}
    pair = maps_of(*size, octave=options["octave"])
    layer = CONV[rank](**options)
    layer(pair)
    expected = randomise(layer)(pair)
    tensors = [keras.Input(x.shape[1:]) for x in pair]
    model = keras.Model(tensors, PORTABLE[rank](tensors, name="block", **options))
    assert {type(item).__module__.split(".")[0] for item in model.layers} == {"keras"}
    for path in ("hh", "hl", "lh", "ll"):
        part = model.get_layer(f"block-{path.upper()}")
        bias = layer.high_bias if path[1] == "h" else layer.low_bias
        kernel = getattr(layer, f"{path}_kernel")
        part.set_weights([kernel, bias] if part.use_bias else [kernel])
    for one, two in zip(model(pair), expected, strict=True):
        close(one, two)


@pytest.mark.parametrize("steps", [16, 13])
@pytest.mark.parametrize("options", [{"kernel_size": 3}, {"kernel_size": 3, "strides": 2}, {"kernel_size": 2}], ids=str)
def test_the_other_layers_of_signals_are_those_of_images(steps, options):
    high, low = maps_of(steps)
    pair, image = [high, low], [high[:, None], low[:, None]]
    wide = {name: (1, value) for name, value in options.items()}
    both = [
        (OctaveDepthwiseConv1D(**options), OctaveDepthwiseConv2D(**wide, octave=(1, 2))),
        (OctaveConv1DTranspose(6, **options), OctaveConv2DTranspose(6, **wide, octave=(1, 2))),
        (
            OctavePooling1D("max", options["kernel_size"], options.get("strides")),
            OctavePooling2D("max", wide["kernel_size"], wide.get("strides"), octave=(1, 2)),
        ),
        (OctavePooling1D("mean", 2, padding="same"), OctavePooling2D("mean", (1, 2), padding="same", octave=(1, 2))),
    ]
    for layer, other in both:
        layer(pair)
        other(image)
        randomise(layer)
        other.set_weights([weight[None] if weight.ndim == 3 else weight for weight in layer.get_weights()])
        for one, two in zip(layer(pair), other(image), strict=True):
            close(one, np.asarray(two)[:, 0])


def test_the_other_layers_of_volumes_are_keras_own_at_octave_1():
    high, low = maps_of(4, 6, 5, octave=1)
    joined = np.concatenate([high, low], -1)
    layer = OctaveConv3DTranspose(6, 3, octave=1, strides=2)
    layer([high, low])
    outputs = randomise(layer)([high, low])
    plain = layers.Conv3DTranspose(6, 3, strides=2, padding="same")
    plain(joined)
    kernels = [[layer.hh_kernel, layer.lh_kernel], [layer.hl_kernel, layer.ll_kernel]]
    kernel = np.concatenate([np.concatenate(parts, -1) for parts in kernels], -2)
    plain.set_weights([kernel, np.concatenate([layer.high_bias, layer.low_bias])])
    close(np.concatenate(outputs, -1), plain(joined))
    pooled = OctavePooling3D("max", 2, octave=1)([high, low])
    close(np.concatenate(pooled, -1), layers.MaxPooling3D(2)(joined))


@pytest.mark.parametrize(("rank", "size"), RANKS_AND_SIZES)
def test_merging_and_cropping(rank, size):
    high, low = maps_of(*size)
    merged = OctaveMerge()([high, low])
    close(merged, np.concatenate([high, upsample(low, 2, high)], -1))
    tensors = [keras.Input((*[None] * rank, x.shape[-1])) for x in (high, low)]
    more = np.concatenate([low, low], 1)
    cropped = keras.Model(tensors, OctaveCrop()(tensors))([high, more])
    close(cropped, low)
    whole = OctaveMerge(whole_low=True, high_size=size)(low)
    close(whole, upsample(low, 2, high))


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_a_network_is_trained_saved_and_loaded(rank, tmp_path):
    """First, intermediate and last layers with pooling between them, as the layers are used by hand."""
    size = (16,) if rank == 1 else (4, 8, 8)
    x = inputs = keras.Input((*size, 3))
    pooling = getattr(layers, f"MaxPooling{rank}D")
    x = CONV[rank](8, 3, activation="relu")(x)
    x = octave_dual(x, pooling(2))
    x = octave_dual(CONV[rank](8, 3)(x), layers.BatchNormalization())
    x = CONV[rank](8, 3, ratio_out=0.0)(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.compile("adam", keras.losses.MeanSquaredError())
    data = np.random.default_rng(0).normal(size=(16, *size, 3)).astype("float32")
    targets = data.reshape(16, -1)[:, :2]
    losses = model.fit(data, targets, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "m.keras")
    close(keras.models.load_model(tmp_path / "m.keras")(data), model(data))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OctaveConv1D(8, 3)(np.zeros((1, 8, 8, 3))), "must be 3-D"),
        (lambda: OctaveConv3D(8, 3)(np.zeros((1, 8, 8, 3))), "must be 5-D"),
        (lambda: OctaveConv1D(8, 3)([np.zeros((1, 9, 3)), np.zeros((1, 4, 3))]), r"needs a low map of \(5,\)"),
        (lambda: OctaveConv1D(8, (3, 3)), "must be a positive integer"),
        (lambda: OctaveConv3D(8, 3, octave=(1, 2)), "3 of them"),
        (lambda: OctaveConv3D(8, 3, octave=(1, 2, 3)), "power of two"),
        (lambda: OctaveConv2D(8, 3, padding="causal"), "must be 'same', 'valid'"),
        (lambda: OctaveConv2D(8, 3, causal=True), "causal cells are for 1-D layers"),
        (lambda: octave_conv_1d(keras.Input((None, 3)), 8, 3), "known steps"),
        (lambda: octave_conv_3d(keras.Input((None, 8, 8, 3)), 8, 3), "known depth"),
        (lambda: octave_conv_1d(keras.Input((3, 9)), 8, 3, ratio_out=0, data_format="channels_first"), None),
        (lambda: octave_conv_1d(first_pair(), 8, 3, data_format="channels_first"), "no channels_first"),
    ],
)
def test_mistakes_are_clear(make, words):
    with pytest.raises(ValueError, match=words) if words else contextlib.nullcontext():
        make()


def first_pair():
    return [keras.Input((3, 9)), keras.Input((3, 5))]


def test_they_are_public():
    for name in (
        "OctaveConv1D",
        "OctaveConv3D",
        "OctaveDepthwiseConv1D",
        "OctaveDepthwiseConv3D",
        "octave_conv_1d",
        "octave_conv_3d",
    ):
        assert name in octconvert.__all__ and getattr(octconvert, name).__doc__


@pytest.mark.parametrize("rank", [1, 3])
def test_a_form_for_inference_leaves_them_as_they_are(rank):
    size = (16,) if rank == 1 else (4, 8, 8)
    inputs = keras.Input((*size, 3))
    pair = octave_dual(CONV[rank](8, 3)(inputs), layers.BatchNormalization())
    model = keras.Model(inputs, OctaveMerge()(CONV[rank](8, 3)(pair)))
    data = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    close(octconvert.for_inference(model)(data), model(data))
    assert octconvert.diff(model, model).before.macs > 0


@pytest.mark.parametrize(("rank", "size"), [(1, (24,)), (3, (16, 12, 16))])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (5, 1), (3, 2), (1, 2)])
def test_a_folded_kernel_does_at_the_low_resolution_what_the_kernel_does(rank, size, kernel_size, strides):
    """On an upsampled map: the mean of the source's outputs over a cell is the low output, but for the borders."""
    cells = np.random.default_rng(0).normal(size=(2, *(length // 2 for length in size), 3))
    kernel = np.random.default_rng(1).normal(size=(*(kernel_size,) * rank, 3, 4))
    window = Window((kernel_size,) * rank, (strides,) * rank, (1,) * rank, "same", 2)
    source = upsample(cells, 2, np.zeros((2, *size, 3)))
    pads = pads_of("same", size, kernel_size, strides)
    expected = pool(conv(source, kernel, strides, pads), 2)
    low, padding = prepare_low(keras.ops.convert_to_tensor(cells.astype("float32")), size, window, "channels_last")
    own = pads_of(padding, low.shape[1:-1], kernel_size, strides)
    actual = conv(low, fold_kernel(kernel, window, size), strides, own)
    inside = (slice(None), *(slice(1, -1),) * rank)
    close(actual[inside], expected[inside])
