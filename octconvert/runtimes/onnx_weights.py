"""A Keras model's weights put into its ONNX graph afterwards.

Keras and tf2onnx hold every constant many times over while they convert: 24 GB for the 0.55 of VGG16. So the graph that
is made takes the weights as inputs, which costs next to nothing, and they become its initializers here.
"""

from __future__ import annotations

import keras
import numpy as np

_RANDOM = ("Random", "Bernoulli", "Multinomial")
"""Operations that give something else each time."""


class FedWeights(keras.Model):
    """A model as a function of its inputs and its weights: call it with both in one flat list."""

    def __init__(self, model):
        super().__init__(autocast=False)  # weights are of the dtype they are
        self._run = lambda *values: model.stateless_call(*values, training=False)  # so that nothing of it is tracked
        self._inputs, self._trained = len(model.inputs), len(model.trainable_variables)
        self.built = True

    def call(self, values):
        inputs, weights = values[: self._inputs], values[self._inputs :]
        return self._run(weights[: self._trained], weights[self._trained :], inputs)[0]


def weights_of(model) -> dict[str, keras.Variable]:
    """The weights by the names of their inputs, in the order in which `FedWeights` takes them."""
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    return {f"keras_weight_{number}": variable for number, variable in enumerate(variables)}


def put_in(made, weights: dict[str, np.ndarray]) -> None:
    """Turn the inputs of these names into initializers, and all that is made of them and other constants alone as well.

    Args:
        made: onnx.ModelProto; changed.
    """
    from onnx import numpy_helper

    graph = made.graph
    constants = {*weights, *(each.name for each in graph.initializer)}
    folded: list = []
    kept: list = []
    for node in graph.node:
        is_constant = constants.issuperset(_read_by([node])) and not node.op_type.startswith(_RANDOM)
        (folded if is_constant else kept).append(node)
        constants.update(node.output if is_constant else ())
    read = _read_by(kept) | {each.name for each in graph.output}
    wanted = [name for node in folded for name in node.output if name in read]
    values = {**{name: value for name, value in weights.items() if name in read}, **_run(made, folded, weights, wanted)}
    initializers = [each for each in graph.initializer if each.name in read]
    inputs = [each for each in graph.input if each.name not in weights]
    for field, new in (("node", kept), ("input", inputs), ("initializer", initializers)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(new)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v, order="C"), name) for name, v in values.items())


def _read_by(nodes) -> set[str]:
    """The names that some nodes read, from outside or of each other, in their branches and loops too."""
    read = {name for node in nodes for name in node.input if name}
    graphs = [each for node in nodes for attribute in node.attribute for each in (attribute.g, *attribute.graphs)]
    for graph in graphs:
        inside = {each.name for each in (*graph.input, *graph.initializer)}
        inside.update(name for node in graph.node for name in node.output)
        read |= (_read_by(graph.node) | {each.name for each in graph.output}) - inside
    return read


def _run(made, nodes: list, weights: dict[str, np.ndarray], wanted: list[str]) -> dict[str, np.ndarray]:
    """What some nodes make of the weights."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if not wanted:
        return {}
    read = _read_by(nodes)
    graph = helper.make_graph(
        nodes,
        "constants",
        [each for each in made.graph.input if each.name in weights and each.name in read],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [each for each in made.graph.initializer if each.name in read],
    )
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=made.opset_import))
    found = evaluator.run(None, {each.name: weights[each.name] for each in graph.input})
    return dict(zip(wanted, found, strict=True))
