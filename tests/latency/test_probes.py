"""Each part of a model alone, with pairs at its ends."""

import keras
import pytest
from keras import layers
from part_models import OPTIONS, classes, conv, parts_of, residual, shapes

from octconvert.latency.probes import ProbeState, probe


@pytest.mark.quick("tf-state0-inputs0-outputs0", "litert-state3-inputs3-outputs3", "onnx-state1-inputs1-outputs1")
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


def test_joins_and_gates_with_pairs():
    graph = parts_of(residual())
    by_name = {classes(part)[0]: part for part in graph.parts}
    pair, gate = [(16, 16, 4), (8, 8, 4)], [(1, 1, 8)]

    def made(name, *alphas):
        found = probe(graph.model(by_name[name]), ProbeState(alphas, 0.0), OPTIONS, "tf", "channels_last")
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
