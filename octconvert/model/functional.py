"""Functional models as Keras keeps them: nodes in execution order, nested models, arguments."""

from __future__ import annotations

import keras
from keras import KerasTensor, tree
from keras.src.models.functional import Functional  # none of the three has a public name
from keras.src.ops.node import Node as KerasNode
from keras.src.ops.operation import Operation


def functional_of(operation: Operation) -> Functional | None:
    """The Functional model behind a Functional or built Sequential; None for any other operation."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        return operation._functional
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def node_of(tensor: KerasTensor) -> KerasNode:
    """The Keras node that a Keras tensor comes from."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def nodes_in_order(functional: Functional) -> list[KerasNode]:
    """The model's own nodes in execution order (a layer's ``_inbound_nodes`` hold other models' nodes as well)."""
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def nested_arguments(functional: Functional, node: KerasNode) -> list[KerasTensor]:
    """The Keras tensors a nested model is called with, flat, in the order of the model's own inputs."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    inputs = args[0] if args else kwargs.get("inputs")
    if isinstance(inputs, dict) and not isinstance(functional._inputs_struct, dict):
        inputs = [inputs[tensor.name] for tensor in functional.inputs]
    return tree.flatten(inputs)


def layer_in_time(node: KerasNode) -> keras.layers.Layer | None:
    """The layer in a `TimeDistributed` that the node calls on one tensor without a mask; None for any other call."""
    wrapper, arguments = node.operation, node.arguments
    is_plain = type(wrapper) is keras.layers.TimeDistributed and len(arguments.keras_tensors) == 1
    return wrapper.layer if is_plain and arguments.kwargs.get("mask") is None else None


def of_one_tensor(model: Functional | None) -> Functional | None:
    """The model, where it takes one tensor and returns one."""
    return model if model is not None and len(model.inputs) == len(model.outputs) == 1 else None
