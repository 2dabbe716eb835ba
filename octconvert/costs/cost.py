"""MACs, parameters and activation memory of any Keras model, read from its call graph."""

from __future__ import annotations

import keras

from octconvert.costs.activations import activation_bytes
from octconvert.costs.macs import call_macs
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import ASSUMED_SIZES, with_known_sizes
from octconvert.results.report import Cost


def measure(model_or_graph: keras.Model | CallGraph) -> tuple[CallGraph, Cost]:
    """The call graph with every size known, and the `Cost` of one run on one sample.

    Sizes that are unknown are taken from `ASSUMED_SIZES`; `Cost.assumed_shapes` holds the resulting input shapes.

    Raises:
        InputError: the model is subclassed, or works at none of the assumed sizes.
    """
    graph = model_or_graph if isinstance(model_or_graph, CallGraph) else build_graph(model_or_graph)
    sized = with_known_sizes(graph, ASSUMED_SIZES)
    shapes = [sized.tensors[number].shape for number in sized.inputs]
    assumed = () if sized is graph else tuple(tuple(size or 0 for size in shape[1:]) for shape in shapes)
    total, peak = activation_bytes(sized)
    return sized, Cost(sum(call_macs(sized).values()), graph.model.count_params(), total, peak, assumed)


def cost_of(model_or_graph: keras.Model | CallGraph) -> Cost:
    """The second half of `measure`."""
    return measure(model_or_graph)[1]
