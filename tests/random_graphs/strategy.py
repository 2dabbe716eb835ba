"""Random Keras graphs: hypothesis draws a small description, `build` makes the model of it.

A description is numbers only. `build` reads each number as a choice among what is possible at that place, so that every
description is a model, and hypothesis can shrink one that fails to a few steps that can be read and pasted.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from hypothesis import strategies as st
from keras import layers, ops

SIZES = {
    1: ((32,), (27,), (13,), (40,), (18,)),
    2: ((16, 16), (15, 18), (13, 13), (21, 10), (9, 11)),
    3: ((8, 8, 8), (9, 7, 10), (6, 11, 8), (7, 7, 7), (8, 12, 5)),
}
"""By the number of spatial axes."""
OTHER_SIZES = {1: ((48,), (23,)), 2: ((24, 16), (17, 23)), 3: ((8, 10, 12), (9, 7, 11))}
"""At which models with open sizes are run."""
MOST_CHANNELS = 48
LARGEST = {1: 48, 2: 48, 3: 14}
"""Side of a map at most: TensorFlow unfolds volumes to convolve them on a CPU."""


@dataclass(frozen=True)
class Graph:
    """What a model is built from.

    Attributes:
        size: index of the input's size; open: whether the model leaves it open.
        first: whether channels come first.
        head: index of what ends the model.
        steps: (name in `STEPS`, four numbers that choose) one after the other.
        rank: spatial axes; channels come last where they are not two.
    """

    size: int
    open: bool
    first: bool
    head: int
    steps: tuple[tuple[str, tuple[int, int, int, int]], ...]
    rank: int = 2


class Site:
    """Where a step builds: the data format, what is kept for skips and outputs, and how layers are made for it."""

    def __init__(self, graph: Graph):
        self.rank, self.first = graph.rank, graph.first and graph.rank == 2  # a step may change the rank
        # Open channels_first models are different ones from size to size: where a map happens to have as many columns
        # as channels, Keras adds the bias to the columns.
        self.bias = not (self.first and graph.open)
        self.format = "channels_first" if self.first else "channels_last"
        self.skips: list = []
        self.outputs: list = []
        self.inputs: list = []

    @property
    def axis(self) -> int:
        return 1 if self.first else self.rank + 1

    def of(self, name: str):
        """The layer class of this rank."""
        return getattr(layers, f"{name}{self.rank}D")

    def sizes(self, x):
        return x.shape[2:] if self.first else x.shape[1:-1]

    def channels(self, x) -> int:
        return x.shape[self.axis]

    def kernel(self, size):
        """A kernel of (rows, columns) for this rank."""
        return (1, *size)[-self.rank :] if isinstance(size, tuple) else size

    def conv(self, x, filters, kernel=3, **more):
        arguments = {"padding": "same", "data_format": self.format, "use_bias": self.bias, **more}
        return self.of("Conv")(filters, self.kernel(kernel), **arguments)(x)

    def fits(self, x, *sizes: int) -> bool:
        """Whether the map has these sizes at least, one for all axes or one for each."""
        wanted = sizes if len(sizes) > 1 else sizes * self.rank
        return all(have is None or have >= want for have, want in zip(self.sizes(x), wanted, strict=True))


def pick(options, number: int):
    return options[number % len(options)]


# ---- the steps: (site, tensor, four numbers) -> tensor ----


def convolution(site, x, a, b, c, d):
    kernel = pick((3, 1, 2, 4, 5, 7, (1, 7), (7, 1), (3, 2)), a)
    kernel = site.kernel(kernel)
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    padding = "valid" if b % 3 == 2 and site.fits(x, *sizes) else "same"
    activation = pick((None, "relu", "tanh", "sigmoid"), d)
    if site.rank == 1 and d % 3 == 2:
        padding = "causal"
    return site.conv(x, pick((8, 4, 6, 2, 12, 5), c), kernel, strides=pick((1, 1, 2, 3), b), padding=padding,
                     activation=activation)  # fmt: skip


def dilated(site, x, a, b, c, d):
    return site.conv(x, pick((8, 4), a), pick((3, 5), b), dilation_rate=pick((2, 3), c))


def grouped(site, x, a, b, c, d):
    groups = next(g for g in (pick((2, 4, 3), a), 2, 1) if site.channels(x) % g == 0)
    return site.conv(x, 12, pick((3, 1), b), groups=groups, strides=pick((1, 2), c))


def one_group_a_channel(site, x, a, b, c, d):
    channels = site.channels(x)
    return site.conv(x, channels * pick((1, 2), a), 3, groups=channels)


def depthwise(site, x, a, b, c, d):
    if site.rank == 3:
        return one_group_a_channel(site, x, a, b, c, d)
    kernel = pick((3, 5, 2), a)
    padding = "valid" if c % 2 and site.fits(x, kernel) else "same"
    arguments = {"depth_multiplier": pick((1, 1, 2), d), "data_format": site.format, "use_bias": site.bias}
    return site.of("DepthwiseConv")(kernel, pick((1, 2), b), padding, **arguments)(x)


def separable(site, x, a, b, c, d):
    if site.rank == 3:
        return convolution(site, x, a, b, c, d)
    arguments = {"data_format": site.format, "use_bias": site.bias, "padding": "same"}
    return site.of("SeparableConv")(pick((8, 4), a), pick((3, 5), b), strides=pick((1, 2), c), **arguments)(x)


def transposed(site, x, a, b, c, d):
    arguments = {"data_format": site.format, "use_bias": site.bias, "padding": pick(("same", "valid"), c)}
    transposed_layer = getattr(layers, f"Conv{site.rank}DTranspose")
    return transposed_layer(pick((8, 4, 6), d), pick((2, 3, 4, 5), a), pick((2, 1), b), **arguments)(x)


def pooling(site, x, a, b, c, d):
    size = pick((2, 3), a)
    padding = "valid" if c % 2 and site.fits(x, size) else "same"
    kind = site.of(pick(("MaxPooling", "AveragePooling"), d))
    return kind(size, pick((2, 1, 3), b), padding, data_format=site.format)(x)


def upsampling(site, x, a, b, c, d):
    if site.rank != 2:
        return site.of("UpSampling")(pick((2, 3, 2), a))(x)
    interpolation = pick(("nearest", "bilinear"), b)
    return layers.UpSampling2D(pick((2, 3, (1, 2)), a), site.format, interpolation)(x)


def resizing(site, x, a, b, c, d):
    if site.rank != 2:
        return x
    return layers.Resizing(pick((12, 9, 16), a), pick((12, 7), b), data_format=site.format)(x)


def padding(site, x, a, b, c, d):
    amounts = pick((1, 2, ((0, 1), (0, 1)), ((1, 0), (2, 1))), a)
    x = layers.ZeroPadding2D(amounts, site.format)(x) if site.rank == 2 else site.of("ZeroPadding")(1 + a % 2)(x)
    if b % 3 == 0:
        return site.conv(x, 8, 3, padding="valid", strides=pick((1, 2), c))
    if b % 3 == 1:
        return site.of("MaxPooling")(3, 2, data_format=site.format)(x)
    return x


def cropping(site, x, a, b, c, d):
    if not site.fits(x, 8):
        return x
    amounts = pick((1, 2, ((0, 1), (1, 0))), a)
    x = layers.Cropping2D(amounts, site.format)(x) if site.rank == 2 else site.of("Cropping")(1 + a % 2)(x)
    return site.conv(x, 6, 3, padding="valid") if b % 2 else x


def normalisation(site, x, a, b, c, d):
    axis, channels = site.axis, site.channels(x)
    makers = (
        lambda: layers.BatchNormalization(axis=axis),
        lambda: layers.LayerNormalization(axis=axis),
        lambda: layers.GroupNormalization(2 if channels % 2 == 0 else 1, axis=axis),
        lambda: layers.GroupNormalization(-1, axis=axis),
        lambda: layers.UnitNormalization(axis=axis),
        lambda: layers.BatchNormalization(axis=axis, center=False, scale=False),
    )
    return pick(makers, a)()(x)


def activation(site, x, a, b, c, d):
    shared = [2, 3] if site.first else list(range(1, site.rank + 1))
    makers = (
        layers.ReLU,
        lambda: layers.PReLU(shared_axes=shared),
        layers.LeakyReLU,
        lambda: layers.Activation("hard_silu"),
        lambda: layers.Dropout(0.3),
        lambda: site.of("SpatialDropout")(0.3, **({} if site.rank == 1 else {"data_format": site.format})),
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.Dropout(0.3, noise_shape=(None, *(1,) * (site.rank + 1))),
    )
    return pick(makers, a)()(x)


def dense(site, x, a, b, c, d):
    return site.conv(x, 8, 1) if site.first else layers.Dense(pick((8, 5), a), pick((None, "relu"), b))(x)


def residual(site, x, a, b, c, d):
    y = x
    for _ in range(1 + a % 2):
        y = layers.ReLU()(layers.BatchNormalization(axis=site.axis)(site.conv(y, pick((site.channels(x), 8), b))))
    if site.channels(y) != site.channels(x):
        x = site.conv(x, site.channels(y), 1)
    join = pick((layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum), c)
    return join()([x, y])


def strided_residual(site, x, a, b, c, d):
    y = site.conv(site.conv(x, 8, 3, strides=2), 8, 3)
    if a % 2:
        shortcut = site.conv(x, 8, 1, strides=2)
    else:
        shortcut = site.conv(site.of("AveragePooling")(2, 2, "same", data_format=site.format)(x), 8, 1)
    return layers.Add()([shortcut, y])


def branches(site, x, a, b, c, d):
    parts = [site.conv(x, pick((4, 2, 6), a + i), pick((1, 3, (1, 3)), b + i)) for i in range(1 + c % 3)]
    parts.append(x if d % 2 else site.conv(site.of("AveragePooling")(3, 1, "same", data_format=site.format)(x), 4, 1))
    return layers.Concatenate(axis=site.axis)(parts)


def gate(site, x, a, b, c, d):
    channels = site.channels(x)
    pool = site.of(pick(("GlobalAveragePooling", "GlobalMaxPooling"), b))
    if a % 2:
        g = layers.Dense(4, "relu")(pool(data_format=site.format)(x))
        g = layers.Dense(channels, pick(("sigmoid", "hard_sigmoid"), c))(g)
        g = layers.Reshape((channels, 1, 1) if site.first else (*(1,) * site.rank, channels))(g)
    else:
        g = site.conv(pool(keepdims=True, data_format=site.format)(x), 4, 1, activation="relu")
        g = site.conv(g, channels, 1, activation="sigmoid")
    return x * g if d % 2 else layers.Multiply()([x, g])


def attention_map(site, x, a, b, c, d):
    return layers.Multiply()([x, site.conv(x, 1, pick((3, 1), a), activation="sigmoid")])


def pooled_branch(site, x, a, b, c, d):
    """The image-level branch of DeepLab."""
    sizes = site.sizes(x)
    if None in sizes or site.rank != 2:
        return x
    g = site.conv(layers.GlobalAveragePooling2D(keepdims=True, data_format=site.format)(x), 4, 1)
    up = layers.UpSampling2D(tuple(sizes), site.format) if a % 2 else layers.Resizing(*sizes, data_format=site.format)
    return layers.Concatenate(axis=site.axis)([x, up(g)])


def raw(site, x, a, b, c, d):
    functions = (
        lambda t: ops.relu(t) * 2 + 1,
        lambda t: 1 - t,
        lambda t: ops.maximum(t, 0.1),
        lambda t: ops.concatenate([t, ops.tanh(t)], axis=site.axis),
        lambda t: t + t,
        lambda t: ops.softmax(t, axis=site.axis),
        lambda t: ops.square(t) * 0.5,
    )
    return pick(functions, a)(x)


def shared(site, x, a, b, c, d):
    again = site.of("Conv")(site.channels(x), 3, padding="same", data_format=site.format, use_bias=False)
    norm, relu = layers.BatchNormalization(axis=site.axis), layers.ReLU()
    for _ in range(2 + a % 2):
        x = relu(norm(again(x)))
    return x


def nested(site, x, a, b, c, d):
    shape = tuple(x.shape[1:])
    if a % 3 == 0:
        shape = (shape[0], None, None) if site.first else (*(None,) * site.rank, shape[-1])
    inner = keras.Input(shape)
    y = site.conv(inner, site.channels(x), 3, activation="relu")
    y = pick((residual, normalisation, gate, activation), b)(site, y, c, d, a, b)
    model = keras.Model(inner, y)
    x = model(x)
    return model(x) if d % 3 == 0 and x.shape[site.axis] == inner.shape[site.axis] else x


def down(site, x, a, b, c, d):
    site.skips.append(x)
    return site.of("MaxPooling")(2, padding="same", data_format=site.format)(site.conv(x, 8))


def up(site, x, a, b, c, d):
    if not site.skips:
        return upsampling(site, x, a, b, c, d)
    x = upsampling(site, x, 0, b, c, d) if a % 2 else transposed(site, x, b, 0, 0, d)
    skip = site.skips.pop()
    want, have = site.sizes(skip), site.sizes(x)
    if None not in (*want, *have):
        if any(h < w for h, w in zip(have, want, strict=True)):
            return x
        cuts = tuple((0, h - w) for h, w in zip(have, want, strict=True))
        x = site.of("Cropping")(*((cuts, site.format) if site.rank > 1 else cuts))(x)
    elif want != have:
        return x
    return layers.Concatenate(axis=site.axis)([skip, x])


def output(site, x, a, b, c, d):
    site.outputs.append(x)
    return x


def another_input(site, x, a, b, c, d):
    if None in site.sizes(x):
        return x
    other = keras.Input(tuple(x.shape[1:]))
    site.inputs.append(other)
    if a % 2:
        return layers.Concatenate(axis=site.axis)([x, other])
    return layers.Add()([x, site.conv(other, site.channels(x), 3)])


def other_rank(site, x, a, b, c, d):
    """Two axes become one, or the channels an axis; all that follows has one axis less, or one more."""
    sizes, channels = site.sizes(x), site.channels(x)
    if site.first or None in sizes:
        return x
    if site.rank > 1 and (a % 2 or site.rank == 3):
        joined = (*sizes[:-2], sizes[-2] * sizes[-1], channels) if b % 2 else (*sizes[:-1], sizes[-1] * channels)
        rank = site.rank - 1
    else:
        depth = next((size for size in (4, 3, 5) if channels % size == 0 and channels > size), 0)
        joined, rank = (*sizes, depth, channels // depth) if depth else (*sizes, channels, 1), site.rank + 1
    if max(joined[:-1]) > LARGEST[rank] or min(joined[:-1]) < 3 or joined[-1] > MOST_CHANNELS:
        return x
    site.rank, site.skips = rank, []
    return site.conv(layers.Reshape(joined)(x), 8)


STEPS = {
    step.__name__: step
    for step in (
        convolution, dilated, grouped, one_group_a_channel, depthwise, separable, transposed, pooling, upsampling,
        resizing, padding, cropping, normalisation, activation, dense, residual, strided_residual, branches, gate,
        attention_map, pooled_branch, raw, shared, nested, down, up, output, another_input, other_rank,
    )
}  # fmt: skip
_NUMBERS = st.tuples(*[st.integers(0, 11)] * 4)
_STEP = st.tuples(st.sampled_from(["convolution", *STEPS]), _NUMBERS)
graphs = st.builds(
    Graph,
    size=st.integers(0, len(SIZES[2]) - 1),
    open=st.sampled_from([False, False, False, True]),
    first=st.sampled_from([False, False, False, False, True]),
    head=st.integers(0, 4),
    steps=st.lists(_STEP, min_size=1, max_size=7).map(tuple),
    rank=st.sampled_from([2, 2, 2, 2, 2, 1, 3]),
)


def build(graph: Graph):
    """The Keras model of a description. Steps that would make a map too small or too wide are passed over."""
    site = Site(graph)
    size = (None,) * site.rank if graph.open else SIZES[site.rank][graph.size]
    inputs = keras.Input((3, *size) if site.first else (*size, 3))
    x = site.conv(inputs, 8)
    for name, numbers in graph.steps:
        before = list(site.inputs), site.rank, list(site.skips)
        y = STEPS[name](site, x, *numbers)
        sizes = [size for size in site.sizes(y) if size is not None]
        if site.channels(y) <= MOST_CHANNELS and all(3 <= size <= LARGEST[site.rank] for size in sizes):
            x = y
        else:
            site.inputs, site.rank, site.skips = before
    x = _head(site, x, graph.head)
    outputs = [x, *(tensor for tensor in dict.fromkeys(site.outputs) if tensor is not x)]
    return keras.Model([inputs, *site.inputs], outputs if len(outputs) > 1 else x)


def _head(site, x, number: int):
    if number == 0:
        return site.conv(x, 4, 1)
    if number == 1:
        return layers.Dense(5)(site.of("GlobalMaxPooling")(data_format=site.format)(x))
    if number == 2:
        return x
    x = site.of("GlobalAveragePooling")(data_format=site.format)(site.conv(x, 8, 3, activation="relu"))
    return layers.Dense(5, "softmax" if number == 3 else None)(x)
