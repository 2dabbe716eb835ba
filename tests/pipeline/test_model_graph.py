"""The graph in a report: every call of the source, and which tensors are pairs."""

import keras
import pytest
from keras import layers

import octconvert
from octconvert.results.graph import PAIR, WHOLE_LOW
from octconvert.results.plan import PLAIN


def residual(nested=False):
    """A stem, a block with a squeeze-and-excite gate, and a head; ``nested``: the block is a model."""
    inputs = keras.Input((16, 16, 3), name="image")
    stem = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    entry = keras.Input((16, 16, 8), name="entry") if nested else stem
    x = layers.Conv2D(8, 3, padding="same", name="conv")(entry)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    x = layers.Multiply(name="gated")([x, layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)])
    x = layers.Add(name="add")([x, entry])
    x = keras.Model(entry, x, name="block")(stem) if nested else x
    x = layers.Conv2D(4, 3, padding="same", name="last")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x))


def frequencies(graph):
    return {node.name: node.output.frequency for node in graph.nodes}


def links(graph):
    return {(graph.nodes[edge.source].name, graph.nodes[edge.target].name): edge.frequency for edge in graph.edges}


def test_every_call_is_a_node_and_every_tensor_an_edge():
    graph = octconvert.convert(residual(), calibration=False).report.graph
    assert [node.name for node in graph.nodes] == (
        ["image", "stem", "conv", "bn", "relu", "mean", "excite", "gated", "add", "last", "pool"]
    )
    known = links(graph)
    assert len(known) == 12 and known["image", "stem"] == PLAIN
    assert known["stem", "add"] == known["relu", "gated"] == known["add", "last"] == PAIR
    by_name = {node.name: node for node in graph.nodes}
    assert by_name["relu"].class_name == "ReLU" and by_name["relu"].output.low_shape == (8, 8, 4)
    assert by_name["mean"].output.frequency == PLAIN  # vectors have no resolution


def test_what_a_nested_model_reads_comes_from_outside():
    graph = octconvert.convert(residual(nested=True), calibration=False).report.graph
    known = links(graph)
    assert known["stem", "block/conv"] == known["stem", "block/add"] == known["block/add", "last"] == PAIR
    assert [node.path for node in graph.nodes if node.name == "block/relu"] == [("block",)]


def test_each_call_of_a_nested_model_is_one_of_its_own():
    entry = keras.Input((16, 16, 3))
    block = keras.Model(entry, layers.ReLU(name="relu")(layers.Conv2D(3, 3, padding="same", name="conv")(entry)))
    block.name = "block"
    inputs = keras.Input((16, 16, 3), name="image")
    graph = octconvert.convert(keras.Model(inputs, block(block(inputs))), calibration=False).report.graph
    paths = {node.name: (node.layer, node.path) for node in graph.nodes}
    assert paths["block/conv"] == ("block/conv", ("block",)) and paths["block/relu#2"] == ("block/relu", ("block#2",))


def test_whole_low_tensors_are_no_pairs():
    graph = octconvert.convert(residual(), alpha=1, calibration=False).report.graph
    assert frequencies(graph)["relu"] == WHOLE_LOW
    assert next(node for node in graph.nodes if node.name == "relu").output.high_shape is None


@pytest.mark.parametrize(
    "options", [{}, {"portable": True}, {"alpha": 1.0}], ids=["octave layers", "portable", "whole-low"]
)
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_diff_draws_what_the_conversion_drew(options, nested):
    """From the two models alone."""
    model = residual(nested)
    result = octconvert.convert(model, calibration=False, **options)
    drawn, seen = (frequencies(graph) for graph in (result.report.graph, octconvert.diff(model, result.model).graph))
    assert seen == drawn


def test_json_leaves_the_graph_out():
    assert "graph" not in octconvert.convert(residual(), calibration=False).to_dict()
