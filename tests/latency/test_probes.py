"""Units of a model, and each of them alone with pairs at its ends."""

import keras
import pytest
from keras import layers

from octconvert.latency.fusing import FusedGraph
from octconvert.latency.probes import ProbeState, probe
from octconvert.model.graph import OPERATION
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layouts import layout_from_options

OPTIONS = RewritingOptions()


def conv(x, filters=8, size=3, **more):
    return layers.Conv2D(filters, size, padding="same", **more)(x)


def units_of(model, options=OPTIONS):
    graph = build_graph(model)
    return FusedGraph(layout_from_options(graph, options), graph)


def classes(unit):
    return [call.class_name for call in unit.calls]


def shapes(tensors):
    return [tuple(tensor.shape[1:]) for tensor in tensors]


@pytest.fixture
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


def test_a_unit_is_what_runs_in_one_go(residual):
    found = units_of(residual).parts
    assert [classes(unit) for unit in found] == [
        ["Conv2D", "BatchNormalization", "ReLU"],
        ["Conv2D", "BatchNormalization"],
        ["Add", "ReLU"],
        ["GlobalAveragePooling2D", "Dense", "Reshape"],
        ["Multiply", "MaxPooling2D"],
        ["Conv2D"],
        ["DepthwiseConv2D"],
        ["Conv2D", "GlobalAveragePooling2D", "Dense"],
    ]
    decides = [bool(unit.decides) for unit in found]
    assert decides == [True, True, False, True, False, True, False, True]


def test_the_units_are_the_whole_model_piece_by_piece(residual):
    """Everything that a pair can reach is in one unit, and only in one."""
    calls = [call.name for unit in units_of(residual).parts for call in unit.calls]
    every = [call.name for call in build_graph(residual).calls if call.kind == OPERATION]
    assert sorted(calls) == sorted(every)


def test_nested_and_shared_models_come_apart_as_well():
    image = keras.Input((16, 16, 8))
    inner = keras.Model(image, layers.ReLU()(conv(image)), name="inner")
    source = keras.Input((16, 16, 3))
    model = keras.Model(source, conv(inner(inner(conv(source))), 2))
    found = units_of(model).parts
    assert [classes(unit) for unit in found] == [["Conv2D"], ["Conv2D", "ReLU"], ["Conv2D", "ReLU"], ["Conv2D"]]
    assert shapes(units_of(model).model(found[1]).outputs) == [(16, 16, 8)]


@pytest.mark.parametrize(
    "state, inputs, outputs",
    [
        (ProbeState((0.0,), 0.0), [(16, 16, 8)], [(16, 16, 12)]),
        (ProbeState((0.0,), 0.5), [(16, 16, 8)], [(16, 16, 6), (8, 8, 6)]),
        (ProbeState((0.25,), 0.0), [(16, 16, 6), (8, 8, 2)], [(16, 16, 12)]),
        (ProbeState((0.25,), 0.5), [(16, 16, 6), (8, 8, 2)], [(16, 16, 6), (8, 8, 6)]),
        (ProbeState((0.25,), 0.0, frozen=True), [(16, 16, 6), (8, 8, 2)], [(16, 16, 12)]),
    ],
)
@pytest.mark.parametrize("runtime", ["tf", "litert", "onnx"])
def test_a_convolution_in_every_state(state, inputs, outputs, runtime):
    image = keras.Input((16, 16, 8))
    model = keras.Model(image, layers.ReLU()(layers.BatchNormalization()(conv(image, 12))), name="unit")
    made = probe(model, state, OPTIONS, runtime, "channels_last")
    assert (shapes(made.inputs), shapes(made.outputs)) == (inputs, outputs)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in made.layers)
    assert all(type(layer).__module__.startswith("keras.") for layer in made.layers)


def test_joins_and_gates_with_pairs(residual):
    units = units_of(residual)
    by_name = {classes(unit)[0]: unit for unit in units.parts}
    pair, gate = [(16, 16, 4), (8, 8, 4)], [(1, 1, 8)]

    def made(name, *alphas):
        found = probe(units.model(by_name[name]), ProbeState(alphas, 0.0), OPTIONS, "tf", "channels_last")
        return shapes(found.inputs), shapes(found.outputs)

    assert made("Add", 0.5, 0.5) == (pair * 2, pair)
    assert made("Add", 0.0, 0.0) == ([(16, 16, 8)] * 2, [(16, 16, 8)])
    assert made("Multiply", 0.0, 0.0) == ([(16, 16, 8), *gate], [(8, 8, 8)])
    assert made("Multiply", 0.5, 0.5) == ([*pair, (1, 1, 4), (1, 1, 4)], [(8, 8, 4), (4, 4, 4)])
    assert made("GlobalAveragePooling2D", 0.5)[0] == pair


def test_channels_first():
    image = keras.Input((8, 16, 16))
    x = layers.Conv2D(12, 3, padding="same", data_format="channels_first")(image)
    made = probe(keras.Model(image, x, name="unit"), ProbeState((0.5,), 0.5), OPTIONS, "tf", "channels_first")
    assert shapes(made.inputs) == [(4, 16, 16), (4, 8, 8)] and shapes(made.outputs) == [(6, 16, 16), (6, 8, 8)]
