"""Small nets for the tests of the calibration, images, and a source and its conversion side by side."""

import keras
import numpy as np
from keras import layers
from oracle import randomise

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.data.synthetic import dead_leaves
from octconvert.model.execution import observe
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.planned import Planned
from octconvert.rewriting import rewrite
from octconvert.samples import Samples


class Clock:
    """A count of seconds that the tests move on; ``each``: by itself, whenever it is asked."""

    def __init__(self, each: float = 0.0):
        self.now, self.asked, self._each = 0.0, 0, each

    def __call__(self) -> float:
        self.asked += 1
        self.now += self._each
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def planned(model, **options) -> Planned:
    """Of a model or graph."""
    graph = model if hasattr(model, "calls") else build_graph(model)
    return Planned.from_options(graph, RewritingOptions(**{"min_size": 1, **options}))


def alignment_of(model, layout=None, **options) -> Alignment:
    options = RewritingOptions(**{"min_size": 1, **options})
    return Alignment(rewrite(planned(model, **vars(options)) if layout is None else Planned.of(layout, options)))


def images(count: int = 48, size: int = 16, channels: int = 3, seed: int = 5) -> np.ndarray:
    return (4 * dead_leaves(count, size, size, channels, seed) - 2).astype("float32")


def samples(*arrays, labels=None) -> Samples:
    return Samples(arrays or (images(),), labels, "test")


def everything(graph, arrays) -> dict:
    """Tensor number -> tensor, of a whole run."""
    return dict(observe(graph, list(arrays), range(len(graph.tensors))))


def damage(model, share: float = 0.5, seed: int = 3) -> None:
    """Noise on all kernels."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) > 1:
            value = np.array(weight)
            weight.assign(value + share * value.std() * rng.standard_normal(value.shape))


def conv_bn(x, filters, kernel=3, strides=1, activation="relu", bias=False, **more):
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=bias, **more)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


def head(x, classes=5, activation="softmax"):
    return layers.Dense(classes, activation=activation)(layers.GlobalAveragePooling2D()(x))


def residual(size=16, width=8, seed=0, activation="relu", head_activation="softmax", blocks=(1, 2)):
    """``blocks``: the strides of the residual blocks."""
    inputs = keras.Input((size, size, 3))
    x = conv_bn(inputs, width)
    for strides in blocks:
        y = conv_bn(conv_bn(x, width * strides, strides=strides), width * strides, activation=None)
        shortcut = x if strides == 1 else conv_bn(x, width * 2, 1, 2, None)
        x = layers.Add()([shortcut, y])
        x = layers.Activation(activation)(x) if activation else x
    return randomise(keras.Model(inputs, head(x, activation=head_activation), name="residual"), seed)


def small():
    """The least net that is worth a calibration: a tied group and one within it."""
    return residual(blocks=(1,))


def two_convolutions():
    """The least net there is to train."""
    inputs = keras.Input((16, 16, 3))
    return randomise(keras.Model(inputs, head(conv_bn(conv_bn(inputs, 8), 8))))


def inverted_residual(size=16, width=8, seed=0, gate=True, blocks=2, after=None):
    """Linear bottlenecks with squeeze-and-excitation; ``after`` is applied behind each bottleneck's normalisation."""
    inputs = keras.Input((size, size, 3))
    x = conv_bn(inputs, width, strides=1)
    x = conv_bn(x, width, 1, activation=None)
    for block in range(blocks):
        y = conv_bn(x, 3 * width, 1, activation="relu6")
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        if gate:
            z = layers.GlobalAveragePooling2D(keepdims=True)(y)
            z = layers.Conv2D(4, 1, activation="relu")(z)
            y = layers.Multiply()([y, layers.Conv2D(3 * width, 1, activation="sigmoid")(z)])
        y = conv_bn(y, width, 1, activation=None)
        y = y if after is None else after(y, block)
        x = layers.Add()([x, y])
    x = conv_bn(x, 2 * width, 1)
    return randomise(keras.Model(inputs, head(x), name="inverted"), seed)


def assorted(seed=0):
    """Layers with their own relu, separable, depthwise, grouped, dilated; a join of three; Dense."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.SeparableConv2D(12, 3, padding="same", depth_multiplier=2)(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6")(x)
    x = layers.Conv2D(12, 3, padding="same", groups=2)(x)
    y = layers.Conv2D(12, 3, padding="same", dilation_rate=2)(x)
    z = layers.BatchNormalization(center=False)(layers.Conv2D(12, 1, use_bias=False)(x))
    x = layers.Add()([x, layers.Dropout(0.3)(y), z])
    x = layers.Dense(8, activation="gelu")(x)
    x = layers.Concatenate()([x, layers.Conv2D(4, (1, 3), padding="same")(x)])
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = layers.GlobalAveragePooling2D()(layers.LeakyReLU()(x))
    x = layers.Dense(6, activation="relu")(x)
    return randomise(keras.Model(inputs, layers.Dense(3)(x), name="assorted"), seed)


def nested(seed=0):
    """A backbone as a layer, called once."""
    backbone_input = keras.Input((16, 16, 3))
    backbone = keras.Model(backbone_input, conv_bn(conv_bn(backbone_input, 8), 8), name="backbone")
    inputs = keras.Input((16, 16, 3))
    return randomise(keras.Model(inputs, head(conv_bn(backbone(inputs), 8)), name="outer"), seed)


def shared(seed=0):
    """One convolution called three times."""
    inputs = keras.Input((16, 16, 3))
    x, again = conv_bn(inputs, 8), layers.Conv2D(8, 3, padding="same", activation="relu", name="again")
    for _ in range(3):
        x = again(x)
    return randomise(keras.Model(inputs, head(conv_bn(x, 8))), seed)


def backbone(width=8):
    """A small residual net to be called as a layer."""
    inputs = keras.Input((16, 16, 3))
    x = conv_bn(inputs, width)
    x = layers.ReLU()(layers.Add()([x, conv_bn(conv_bn(x, width), width, activation=None)]))
    return keras.Model(inputs, x, name="backbone")


def backbone_with_head(seed=0):
    inputs = keras.Input((16, 16, 3))
    return randomise(keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(backbone()(inputs)))), seed)


def siamese(seed=0):
    """A backbone with two images."""
    first, second, part = keras.Input((16, 16, 3)), keras.Input((16, 16, 3)), backbone()
    joined = layers.Concatenate()([part(first), part(second)])
    return randomise(keras.Model([first, second], head(conv_bn(joined, 8)), name="siamese"), seed)


def again_and_again(seed=0):
    """A net that reads what it puts out, three times."""
    part_input = keras.Input((16, 16, 8))
    part = keras.Model(part_input, conv_bn(conv_bn(part_input, 8), 8), name="part")
    inputs = keras.Input((16, 16, 3))
    x = conv_bn(inputs, 8)
    for _ in range(3):
        x = part(x)
    return randomise(keras.Model(inputs, head(conv_bn(x, 8))), seed)


def heads_on_scales(seed=0):
    """Two shared convolutions on maps of three sizes, as in detectors, each with normalisations of its own."""
    inputs = keras.Input((32, 32, 3))
    x, outputs = conv_bn(inputs, 8), []
    first, second = (layers.Conv2D(8, 3, padding="same", use_bias=False, name=f"shared{i}") for i in range(2))
    for strides in (1, 2, 2):
        x = conv_bn(x, 8, strides=strides)
        y = layers.ReLU()(layers.BatchNormalization()(first(x)))
        outputs.append(head(layers.ReLU()(layers.BatchNormalization()(second(y)))))
    return randomise(keras.Model(inputs, outputs), seed)


def nested_twice(seed=0):
    """A net called twice within a net that is called twice."""
    inner_input = keras.Input((16, 16, 8))
    inner = keras.Model(inner_input, conv_bn(inner_input, 8), name="inner")
    outer_input = keras.Input((16, 16, 3))
    outer = keras.Model(outer_input, inner(inner(conv_bn(outer_input, 8))), name="outer")
    first, second = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    joined = layers.Subtract()([outer(first), outer(second)])
    return randomise(keras.Model([first, second], head(conv_bn(joined, 8))), seed)


def two_inputs(seed=0):
    first, second = keras.Input((16, 16, 3), name="image"), keras.Input((16, 16, 2), name="more")
    x = layers.Add()([conv_bn(first, 8, activation=None), conv_bn(second, 8, activation=None)])
    return randomise(keras.Model([first, second], head(conv_bn(x, 8))), seed)


def unet(seed=0, size=16):
    inputs = keras.Input((size, size, 3))
    top = conv_bn(inputs, 8)
    x = conv_bn(layers.MaxPooling2D()(top), 16)
    x = layers.Conv2DTranspose(8, 2, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = conv_bn(layers.Concatenate()([x, top]), 8)
    return randomise(keras.Model(inputs, layers.Conv2D(2, 1, activation="sigmoid")(x), name="unet"), seed)


def dense_net(seed=0):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same", use_bias=False)(y)])
    return randomise(keras.Model(inputs, head(x)), seed)


def transformer_tail(seed=0):
    """Dense layers on sequences behind convolutions."""
    inputs = keras.Input((16, 16, 3))
    x = conv_bn(conv_bn(inputs, 8, strides=2), 8)
    x = layers.Dense(6, activation="relu")(layers.Reshape((64, 8))(x))
    return randomise(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))), seed)


CALLED_OFTEN = [shared, siamese, again_and_again, heads_on_scales, nested_twice]
"""Layers and nets that are called more than once."""
TOPOLOGIES = [inverted_residual, assorted, nested, shared, two_inputs, unet]
"""One of each kind of wiring; what a test is about may need more."""
