"""Layers in `TimeDistributed` one after the other, as a Sequential has them: one model a run.

Each of the wrappers runs its layer at every time step, and so does one wrapper of all these layers. A run begins and
ends where a tensor is read by anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor
from keras.src.models.functional import Functional
from keras.src.ops.node import Node as KerasNode

from octconvert.model.functional import functional_of, layer_in_time, nodes_in_order
from octconvert.model.unchanged import unchanged


@dataclass(frozen=True, eq=False)
class TimeRun:
    """Calls of `TimeDistributed` layers that read each other's outputs, and nothing else does.

    Attributes:
        nodes: of the calls, in order.
        model: what they compute at one time step.
    """

    nodes: tuple[KerasNode, ...]
    model: Functional

    @property
    def input(self) -> KerasTensor:
        """What the first one reads."""
        return self.nodes[0].arguments.keras_tensors[0]

    @property
    def trainable(self) -> bool:
        """Whether some of the layers are."""
        return any(node.operation.trainable for node in self.nodes)


def time_runs(functional: Functional, may_open: Callable[[Any], bool]) -> list[TimeRun]:
    """The runs of a model that have a convolution, or a model or layer that may hide one, beside another layer.

    A model or such a layer that is alone in its wrapper is no run. The calls of one wrapper have one model.
    """
    runs = []
    models: dict[int, Functional | None] = {}
    for nodes in _chains(functional):
        operations = [node.operation.layer for node in nodes]
        has_hidden = any(functional_of(each) is not None or may_open(each) for each in operations)
        if any(hasattr(each, "kernel_size") for each in operations) or (has_hidden and len(nodes) > 1):
            last = id(nodes[-1].operation)
            model = models[last] = models[last] if last in models else _model(nodes)
            runs += [] if model is None else [TimeRun(nodes, model)]
    return runs


def goes_on(node: KerasNode, runs: Mapping[int, TimeRun]) -> bool:
    """Whether a call is a part of a run that goes on behind it; ``runs``: by the ids of their nodes."""
    run = runs.get(id(node))
    return run is not None and run.nodes[-1] is not node


def _chains(functional: Functional) -> Iterator[tuple[KerasNode, ...]]:
    """Calls of `TimeDistributed` layers one after the other; the layers inside have different names."""
    nodes = [node for node in nodes_in_order(functional) if not node.is_input]
    readers = Counter(id(tensor) for node in nodes for tensor in node.arguments.keras_tensors)
    readers.update(id(tensor) for tensor in functional.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    members = list(filter(_is_member, nodes))
    yield from ((node,) for node in members if calls[id(node.operation)] > 1)
    members = [node for node in members if calls[id(node.operation)] == 1]
    next_of = {id(node.arguments.keras_tensors[0]): node for node in members}
    seen: set[int] = set()
    for node in members:
        chain: list[KerasNode] = []
        following: KerasNode | None = node
        while following is not None and id(following) not in seen:
            if chain and not _may_follow(chain, following):
                break
            seen.add(id(following))
            chain.append(following)
            output = following.outputs[0]
            following = next_of.get(id(output)) if readers[id(output)] == 1 else None
        if chain:
            yield tuple(chain)


def _is_member(node: KerasNode) -> bool:
    layer, kwargs = layer_in_time(node), node.arguments.kwargs
    if layer is None or getattr(layer, "stateful", False) or layer.trainable != node.operation.trainable:
        return False
    return len(node.outputs) == 1 and all(value is None for key, value in kwargs.items() if key != "inputs")


def _may_follow(chain: Sequence[KerasNode], node: KerasNode) -> bool:
    """One model has no two layers of one name, and one wrapper casts to one precision."""
    names = {other.operation.layer.name for other in chain}
    return node.operation.layer.name not in names and node.operation.dtype_policy == chain[0].operation.dtype_policy


def _model(nodes: tuple[KerasNode, ...]) -> Functional | None:
    """The layers of the calls, one after the other; None where their outputs have other shapes so."""
    first = nodes[0].arguments.keras_tensors[0]
    x = step = keras.Input(batch_shape=(None, *first.shape[2:]), dtype=first.dtype)
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(unchanged(node.operation.layer))
            x = node.operation.layer(x)
            if not isinstance(x, KerasTensor) or x.shape[1:] != node.outputs[0].shape[2:]:
                return None
        return Functional(step, x, name=nodes[-1].operation.name)
