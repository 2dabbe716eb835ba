"""The weights of a Keras model, written into its ONNX graph after the conversion.

Keras and tf2onnx hold every constant many times over while they convert: 24 GB for the 0.55 of VGG16. So the graph is
converted with the weights as inputs, which costs next to nothing, and these inputs become initializers here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    import onnx

_RANDOM = ("Random", "Bernoulli", "Multinomial")
"""Operations whose result differs from run to run."""


class FedWeights(keras.Model):
    """A model as a function of its inputs and its weights: call it with both in one flat list."""

    def __init__(self, model: keras.Model):
        super().__init__(autocast=False)  # weights keep their dtype
        # A lambda, so that Keras does not track the model.
        self._run = lambda *values: model.stateless_call(*values, training=False)
        self._inputs, self._trained = len(model.inputs), len(model.trainable_variables)
        self.built = True

    def call(self, values: Sequence[Any]) -> Any:
        inputs, weights = values[: self._inputs], values[self._inputs :]
        return self._run(weights[: self._trained], weights[self._trained :], inputs)[0]


def weights_of(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights by the names of their inputs, in the order in which `FedWeights` takes them."""
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    return {f"keras_weight_{number}": variable for number, variable in enumerate(variables)}


def set_weights(model: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Turn the inputs of these names into initializers, and fold what depends on constants only; in place."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {*weights, *(each.name for each in graph.initializer)}
    folded: list[onnx.NodeProto] = []
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        is_constant = constants.issuperset(_read_by([node])) and not node.op_type.startswith(_RANDOM)
        (folded if is_constant else kept).append(node)
        constants.update(node.output if is_constant else ())
    read = _read_by(kept) | {each.name for each in graph.output}
    needed = [name for node in folded for name in node.output if name in read]
    values = {name: value for name, value in weights.items() if name in read}
    values |= _run(model, folded, weights, needed)
    initializers = [each for each in graph.initializer if each.name in read]
    inputs = [each for each in graph.input if each.name not in weights]
    for field, new in (("node", kept), ("input", inputs), ("initializer", initializers)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(new)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v, order="C"), name) for name, v in values.items())


def _read_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """The names that nodes read, of each other or from outside, in their branches and loops too."""
    read = {name for node in nodes for name in node.input if name}
    graphs = [each for node in nodes for attribute in node.attribute for each in (attribute.g, *attribute.graphs)]
    for graph in graphs:
        inside = {each.name for each in (*graph.input, *graph.initializer)}
        inside.update(name for node in graph.node for name in node.output)
        read |= (_read_by(graph.node) | {each.name for each in graph.output}) - inside
    return read


def _run(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], needed: list[str]
) -> dict[str, np.ndarray]:
    """The values of the names that are needed, computed by nodes from the weights."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if not needed:
        return {}
    read = _read_by(nodes)
    graph = helper.make_graph(
        nodes,
        "constants",
        [each for each in model.graph.input if each.name in weights and each.name in read],
        [helper.make_empty_tensor_value_info(name) for name in needed],
        [each for each in model.graph.initializer if each.name in read],
    )
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=model.opset_import))
    values = evaluator.run(None, {each.name: weights[each.name] for each in graph.input})
    return dict(zip(needed, values, strict=True))
