"""Nets and helpers of the tests of parts."""

import keras
from keras import layers

from octconvert.latency.fusing import FusedGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layouts import layout_from_options

OPTIONS = RewritingOptions()


def conv(x, filters=8, size=3, **more):
    return layers.Conv2D(filters, size, padding="same", **more)(x)


def parts_of(model, options=OPTIONS):
    graph = build_graph(model)
    return FusedGraph(layout_from_options(graph, options), graph)


def classes(part):
    return [call.class_name for call in part.calls]


def shapes(tensors):
    return [tuple(tensor.shape[1:]) for tensor in tensors]


def residual():
    image = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.BatchNormalization()(conv(image)))
    y = layers.BatchNormalization()(conv(x))
    x = layers.ReLU()(layers.Add()([x, y]))
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(gate))
    x = layers.MaxPooling2D()(layers.Multiply()([x, gate]))
    x = layers.DepthwiseConv2D(3, padding="same")(conv(x, 12))
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(conv(x, 4))))
