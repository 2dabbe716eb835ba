"""The program of a model while it is written, and what the lowerings of single layers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from octconvert.inference.program import ActivationStep, CallStep, Node, Program, ReorderingStep, Step
from octconvert.model.graph import Call, CallGraph
from octconvert.rules.activations import own_call


@dataclass(frozen=True, eq=False)
class OrderedNode:
    """A tensor of the model: channel i of it is channel ``order[i]`` of ``node``'s (None: they are the same).

    A channel order is carried along rather than applied, as far as weights can take it up.
    """

    node: Node
    order: np.ndarray | None = None


class Draft:
    """The program so far.

    Attributes:
        graph: of the model.
        program: the steps that replace its calls.
    """

    def __init__(self, graph: CallGraph):
        self.graph, self.program = graph, Program(graph.ranks)

    def add(self, step: Step, nodes: Iterable[Node], call: Call, suffix: str = "") -> Node:
        """A node named after the call."""
        return self.program.add(step, nodes, call.name.replace("/", "-").replace("#", "-") + suffix)

    def plain(self, tensor: OrderedNode) -> Node:
        """The tensor in its own channel order."""
        if tensor.order is None:
            return tensor.node
        return self.program.add(ReorderingStep(None, tensor.order), [tensor.node], f"{tensor.node.name}-order")

    def activated(self, node: Node, call: Call, suffix: str = "") -> Node:
        """With the activation of the call's layer."""
        function = getattr(call.operation, "activation", None)
        if function is None or function is keras.activations.linear:
            return node
        if isinstance(function, keras.layers.Layer):
            return self.add(CallStep(None, own_call(call)), [node], call, f"{suffix}-activation")
        return self.add(ActivationStep(policy_of(call), function), [node], call, f"{suffix}-activation")


def policy_of(call: Call) -> Any:
    """The dtype policy of a call's layer; None for a raw operation."""
    return getattr(call.operation, "dtype_policy", None)


def array(layer: Any, name: str) -> np.ndarray:
    """The numbers of a layer's variable."""
    return keras.ops.convert_to_numpy(getattr(layer, name))


def bias_of(layer: Any, name: str) -> np.ndarray | None:
    """The numbers of a layer's bias; None where it has none."""
    return None if not name or getattr(layer, name, None) is None else array(layer, name)
