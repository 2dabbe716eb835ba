"""Keras model -> `octconvert.model.graph.CallGraph`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

import keras
import networkx as nx
from keras.src.models.functional import Functional
from keras.src.ops.node import Node as KerasNode
from keras.src.ops.operation import Operation

from octconvert.errors import InputError
from octconvert.layers.reading import held_size
from octconvert.layers.time import FoldTime, UnfoldTime
from octconvert.model.call_arguments import tensors_read
from octconvert.model.functional import (
    functional_of,
    layer_in_time,
    nested_arguments,
    node_of,
    nodes_in_order,
    of_one_tensor,
)
from octconvert.model.graph import BOUNDARY, OPERATION, SOURCE_INPUT, Call, CallGraph, Tensor
from octconvert.model.opening import NOTHING_CLOSED, Closed, Opened, goes_by, may_open, opened, opened_in_time
from octconvert.model.shapes import with_input_shapes
from octconvert.model.time_runs import TimeRun, goes_on, time_runs
from octconvert.options.limits import MOST_AXES

ModelPath = tuple[str, ...]
"""Names of the nested models that a call lies in."""


def build_graph(model: keras.Model, open_time: bool = True, closed: Closed = NOTHING_CLOSED) -> CallGraph:
    """Read a model into a `CallGraph`.

    Args:
        open_time: with the calls inside each `TimeDistributed`.
        closed: layers whose calls of others are not read (`octconvert.model.opening`).

    Raises:
        InputError: the model is subclassed (its layers can not be seen from outside), or a Sequential without input
            shape.
    """
    functional = functional_of(model)
    if functional is None:
        raise InputError(_refusal(model))
    different: set[int] = set()
    while True:
        try:
            return GraphReader(model, open_time, closed, different).read(functional)
        except _OpenedTwice as error:  # as two models, which could not share their weights
            different.add(error.layer)


def model_inside(value: Any) -> str:
    """A hint for what is no model and has one, as the result of a conversion; else empty."""
    return "; give its .model" if isinstance(getattr(value, "model", None), keras.Model) else ""


def _refusal(model: Any) -> str:
    if not isinstance(model, keras.Model):
        return f"expected a Keras model, received {type(model).__module__}.{type(model).__name__}{model_inside(model)}"
    if isinstance(model, keras.Sequential):
        return f"model '{model.name}': its input shape is not known; give `input_shape` (rows, columns, channels)"
    return (
        f"model '{model.name}' is subclassed ({type(model).__name__}): its calls can not be read from outside; "
        "rebuild it with the functional API"
    )


class _OpenedTwice(Exception):
    """A layer is called in two ways; ``layer``: its id."""

    def __init__(self, layer: int):
        super().__init__()
        self.layer = layer


class GraphReader:
    """Collects calls and tensors while walking through the model and its nested models."""

    def __init__(self, model: keras.Model, open_time: bool, closed: Closed, different: Collection[int]):
        self.model, self.open_time, self.closed, self.different = model, open_time, closed, different
        self.calls: list[Call] = []
        self.tensors: list[Tensor] = []
        self.values: dict[tuple[tuple[str, ...], int], int] = {}
        self.lookup: dict[tuple[tuple[str, ...], int], Call] = {}
        self.seen: Counter = Counter()
        self.exits: set[int] = set()
        self.every: dict[tuple[tuple[Any, ...], int], int] = {}
        self.chain: tuple[Any, ...] = ()
        self.timed: tuple[int, ...] = ()
        self.opened: dict[int, Opened] = {}
        self.runs: dict[int, TimeRun] = {}
        self.searched: set[int] = set()

    def read(self, functional: Functional) -> CallGraph:
        inputs, values = [], {}
        for tensor in functional.inputs:
            layer = tensor._keras_history.operation
            number = self._add_call(SOURCE_INPUT, (), layer, None, [], [tensor], key=("input", id(tensor)))[0]
            inputs.append(number)
            values[id(tensor)] = number
        self._walk(functional, (), values)
        outputs = tuple(self.values[(), id(tensor)] for tensor in functional.outputs)
        network, consumers = self._network()
        tensors = tuple(self.tensors)
        graph = CallGraph(
            self.model,
            tuple(self.calls),
            tensors,
            tuple(inputs),
            outputs,
            network,
            self.values,
            self.lookup,
            consumers,
            _data_format(self.calls),
            frozenset(self.exits),
            self.every,
            *_ranks(self.calls),
            self.opened,
            self.closed,
            self.runs,
        )
        if all(tensors[c.inputs[0]].shape == tensors[c.outputs[0]].shape for c in self.calls if c.kind == BOUNDARY):
            return graph
        return with_input_shapes(graph, [tensors[number].shape for number in inputs])

    def _walk(self, functional: Functional, path: ModelPath, values: dict[int, int]) -> dict[int, int]:
        first = (path, id(functional.inputs[0])) not in self.values
        if first:
            self.values.update({(path, key): number for key, number in values.items()})
        if self.open_time and id(functional) not in self.searched:  # once: all calls of it have the same runs
            self.searched.add(id(functional))
            runs = time_runs(functional, may_open)
            self.runs.update({id(node): run for run in runs for node in run.nodes})
        for node in nodes_in_order(functional):
            if node.is_input or id(node.outputs[0]) in values or goes_on(node, self.runs):
                continue
            numbers = self._visit(node, functional, path, values)
            for tensor, number in zip(node.outputs, numbers, strict=True):
                values[id(tensor)] = number
                if first:
                    self.values[path, id(tensor)] = number
        self.every.update({(self.chain, key): number for key, number in values.items()})
        return values

    def _visit(self, node: KerasNode, functional: Functional, path: ModelPath, values: dict[int, int]) -> list[int]:
        nested = functional_of(node.operation)
        if nested is not None:
            return self._enter(node, nested, path, values)
        run = self.runs.get(id(node))
        if run is not None:
            return self._enter_time_distributed(node, run.input, run.model, path, values)
        inside = self._in_time(node, functional, path) if self.open_time else None
        if inside is not None:
            return self._enter_time_distributed(node, node.arguments.keras_tensors[0], inside, path, values)
        block = self._opened(node, functional, path)
        if block is not None:
            return self._walk_inside(node, block, path, [values[id(tensor)] for tensor in tensors_read(node)])
        inputs = [values[id(tensor)] for tensor in node.arguments.keras_tensors]
        key = ("layer", id(node.operation)) if getattr(node.operation, "weights", None) else ("node", id(node))
        return self._add_call(OPERATION, path, node.operation, node, inputs, node.outputs, key)

    def _opened(self, node: KerasNode, functional: Functional, path: ModelPath) -> Functional | None:
        """The model that a layer is, if it is one whose calls of others are read."""
        return self._once(node.operation, path, lambda: opened(node.operation, functional))

    def _in_time(self, node: KerasNode, functional: Functional, path: ModelPath) -> Functional | None:
        """The same for the layer, or nested model, in a `TimeDistributed`."""
        layer = layer_in_time(node)
        if layer is None:
            return None
        block = lambda: opened_in_time(node.operation, functional)  # noqa: E731
        return of_one_tensor(functional_of(layer) or self._once(layer, path, block))

    def _once(self, layer: Operation, path: ModelPath, open_layer: Callable[[], Opened | None]) -> Functional | None:
        """The model that a layer is opened as, the same at all of its calls."""
        if goes_by(layer, "/".join((*path, layer.name)), self.closed.names):
            return None
        is_other = id(layer) in self.different
        block = Opened(None, "its calls have different arguments") if is_other else open_layer()
        if block is None:
            return None
        refusal = "" if block.model is None else self.closed.reason(block.model)
        block = Opened(None, refusal) if refusal else block
        if self.opened.setdefault(id(layer), block).model is not block.model:
            raise _OpenedTwice(id(layer))
        return block.model

    def _enter(self, node: KerasNode, nested: Functional, path: ModelPath, values: dict[int, int]) -> list[int]:
        arguments = nested_arguments(nested, node)
        return self._walk_inside(node, nested, path, [values[id(argument)] for argument in arguments])

    def _enter_time_distributed(
        self, node: KerasNode, whole: keras.KerasTensor, inside: Functional, path: ModelPath, values: dict[int, int]
    ) -> list[int]:
        """`TimeDistributed`: fold, the calls of the model inside, unfold."""
        outer = self.timed
        number = values[id(whole)]
        folded = self._add_time_call(FoldTime, node, path, [number], [whole])
        self.timed = (*outer, number)
        exits = self._walk_inside(node, inside, path, [folded])
        self.timed = outer
        return [self._add_time_call(UnfoldTime, node, path, [exits[0], number], [inside.outputs[0], whole])]

    def _add_time_call(
        self, kind: type, node: KerasNode, path: ModelPath, inputs: list[int], like: list[keras.KerasTensor]
    ) -> int:
        """A call that the model itself does not have, on tensors of its own: no layer of the source is called."""
        own = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in like]
        layer = kind(name=node.operation.name, dtype=like[0].dtype)
        output = layer(own if len(own) > 1 else own[0])
        return self._add_call(OPERATION, path, layer, node_of(output), inputs, [output], (kind, id(node)))[0]

    def _walk_inside(self, node: KerasNode, nested: Functional, path: ModelPath, arguments: list[int]) -> list[int]:
        """The calls of a nested model; its inputs are the tensors of these numbers."""
        inner_path, outer_chain = (*path, node.operation.name), self.chain
        self.chain = (*outer_chain, node)
        inner: dict[int, int] = {}
        for tensor, outer in zip(nested.inputs, arguments, strict=True):
            layer, key = tensor._keras_history.operation, ("boundary", id(tensor))
            inner[id(tensor)] = self._add_call(BOUNDARY, inner_path, layer, None, [outer], [tensor], key)[0]
        inner = self._walk(nested, inner_path, inner)
        self.chain = outer_chain
        numbers = [inner[id(tensor)] for tensor in nested.outputs]
        self.exits.update(numbers)
        return numbers

    def _add_call(
        self,
        kind: str,
        path: ModelPath,
        operation: Operation,
        node: KerasNode | None,
        inputs: Sequence[int],
        outputs: Sequence[keras.KerasTensor],
        key: Hashable,
    ) -> list[int]:
        index, name = len(self.calls), "/".join((*path, operation.name))
        self.seen[name] += 1
        numbers = []
        for tensor in outputs:
            numbers.append(len(self.tensors))
            shape = tuple(tensor.shape)
            size = held_size(tensor)
            self.tensors.append(Tensor(len(self.tensors), shape, str(tensor.dtype), index, shape, size))
        if self.seen[name] > 1:
            name = f"{name}#{self.seen[name]}"
        call = Call(
            index, kind, name, tuple(path), operation, node, tuple(inputs), tuple(numbers), key, self.chain, self.timed
        )
        self.calls.append(call)
        self.lookup.setdefault((call.path, id(node)), call)
        return numbers

    def _network(self) -> tuple[nx.MultiDiGraph, dict[int, tuple[Call, ...]]]:
        network = nx.MultiDiGraph()
        consumers: defaultdict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            network.add_node(call.index, name=call.name, class_name=call.class_name)
            for argument, tensor in enumerate(call.inputs):
                producer = self.calls[self.tensors[tensor].producer]
                output = producer.outputs.index(tensor)
                network.add_edge(producer.index, call.index, source_output=output, target_argument=argument)
                consumers[tensor].append(call)
        return network, {tensor: tuple(calls) for tensor, calls in consumers.items()}


def _data_format(calls: Sequence[Call]) -> str:
    formats = (getattr(call.operation, "data_format", None) for call in calls)
    return next((value for value in formats if value), "channels_last")


def _ranks(calls: Sequence[Call]) -> tuple[int, tuple[int, ...]]:
    """Of the convolutions, which have the attribute in Keras: the model's, and all of them."""
    layers = {id(call.operation): call.operation for call in calls if hasattr(call.operation, "kernel_size")}
    ranks = Counter(map(_rank, layers.values()))
    if not ranks:
        return 2, (2,)
    return 2 if 2 in ranks else max(ranks, key=ranks.__getitem__), tuple(sorted(ranks))


def _rank(layer: Any) -> int:
    """2 where the attribute of a user's own layer means something else, as the rank of a matrix does."""
    rank = getattr(layer, "rank", None)
    return rank if isinstance(rank, int) and 1 <= rank <= MOST_AXES else 2
