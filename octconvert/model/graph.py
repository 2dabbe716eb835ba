"""Keras model -> call graph: one node a call, in execution order, nested models walked into.

The graph is a `networkx.MultiDiGraph` (an ``add([x, x])`` needs parallel edges) whose nodes are call numbers and whose
edges carry (source output, target argument). A nested model that is called twice gives two sets of calls; calls that
must be rewritten alike share a `Call.key`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras
import networkx as nx
from keras import tree
from keras.src.models.functional import Functional  # the class has no public name

from octconvert.errors import InputError, first_line
from octconvert.layers.time import FoldTime, UnfoldTime

Shape = tuple[int | None, ...]

SOURCE_INPUT = "input"
"""`Call.kind` of a model input."""
BOUNDARY = "boundary"
"""`Call.kind` of the identity call that stands for an input of a nested model."""
OPERATION = "operation"
"""`Call.kind` of a layer or raw operation."""


@dataclass(frozen=True)
class Tensor:
    """One tensor that flows while the model runs once.

    Attributes:
        index: tensor number.
        shape: in the source model at this call, batch axis included.
        dtype: its name.
        producer: number of the call that makes it.
        built_shape: what can be counted on where the rewritten model is built: a nested model is built once for all its
            calls, so sizes in which they differ are None.
    """

    index: int
    shape: tuple[int | None, ...]
    dtype: str
    producer: int
    built_shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        index: node number in the graph, in execution order.
        kind: SOURCE_INPUT, BOUNDARY or OPERATION.
        name: layer name, with the nested models it lies in: ``backbone/conv1``; later calls get ``#2`` ...
        path: names of the nested models.
        operation: the Keras layer or operation.
        node: its Keras node (arguments and all).
        inputs, outputs: tensor numbers, in the order of ``node.arguments.keras_tensors`` and of the node's outputs.
        key: calls with equal keys share weights or belong to copies of one nested model, so share one decision.
        chain: Keras nodes by which the nested models were called, the outermost first: which call of them this is in.
        timed: tensors of (batch, time, ...) for each of whose time steps it runs once, as inside a `TimeDistributed`.
    """

    index: int
    kind: str
    name: str
    path: tuple[str, ...]
    operation: Any
    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    key: Any
    chain: tuple[Any, ...] = ()
    timed: tuple[int, ...] = ()

    @property
    def class_name(self) -> str:
        return type(self.operation).__name__

    @property
    def layer_name(self) -> str:
        """The name without the ``#2`` of a later call."""
        return "/".join((*self.path, self.operation.name))


@dataclass(frozen=True, eq=False)
class CallGraph:
    """A model as calls and tensors.

    Attributes:
        model: the source model (never changed).
        calls: in execution order.
        tensors: by number.
        inputs, outputs: tensor numbers of the model's inputs and outputs, flat.
        network: MultiDiGraph of call numbers.
        values: (path, id of Keras tensor) -> tensor number, for the first call of each nested model.
        lookup: (path, id of Keras node) -> call, for the first call of each nested model.
        data_format: of the model's first layer that has one.
        consumers: tensor number -> calls that read it, in order, once for each use.
        exits: tensor numbers of the outputs of nested models.
        every: (`Call.chain`, id of Keras tensor) -> tensor number, for all calls of nested models.
    """

    model: Any
    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    network: nx.MultiDiGraph
    values: dict[tuple[tuple[str, ...], int], int]
    lookup: dict[tuple[tuple[str, ...], int], Call]
    consumers: dict[int, tuple[Call, ...]]
    data_format: str
    exits: frozenset[int]
    every: dict[tuple[tuple[Any, ...], int], int]

    @property
    def channel_axis(self) -> int:
        return 3 if self.data_format == "channels_last" else 1

    @property
    def spatial_axes(self) -> tuple[int, int]:
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def is_vector(self, shape) -> bool:
        """No extent: (batch, channels) or a 1x1 map. Both groups of such a pair have one resolution."""
        return len(shape) == 2 or (len(shape) == 4 and all(shape[axis] == 1 for axis in self.spatial_axes))

    def producer(self, tensor: int) -> Call:
        """The call that makes a tensor."""
        return self.calls[self.tensors[tensor].producer]

    def runs(self, call: Call) -> int:
        """How often the call runs for one sample; open numbers of time steps count as one."""
        return math.prod(self.tensors[tensor].shape[1] or 1 for tensor in call.timed)


def functional_of(operation) -> Functional | None:
    """The Functional model behind a Functional or built Sequential; None for any other operation."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        return operation._functional
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def timed_model(node) -> Functional | None:
    """The Functional model in a `TimeDistributed` that the node calls; None for any other call.

    One with a mask, or around a layer or a model with several inputs or outputs, is an operation like any other.
    """
    wrapper = node.operation
    if type(wrapper) is not keras.layers.TimeDistributed or len(node.arguments.keras_tensors) != 1:
        return None
    inside = functional_of(wrapper.layer)
    one_tensor = inside is not None and len(inside.inputs) == len(inside.outputs) == 1
    return inside if one_tensor and node.arguments.kwargs.get("mask") is None else None


def node_of(tensor):
    """The Keras node that a Keras tensor comes from."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def build_graph(model, open_time: bool = True) -> CallGraph:
    """Read a model into a `CallGraph`; ``open_time``: with the calls inside each `TimeDistributed`.

    Raises:
        InputError: the model is subclassed (its layers can not be seen from outside), or a Sequential without input
            shape.
    """
    functional = functional_of(model)
    if functional is None:
        raise InputError(_refusal(model))
    return _Builder(model, open_time).build(functional)


def nodes_in_order(functional) -> list:
    """The model's own nodes in execution order (a layer's ``_inbound_nodes`` hold other models' nodes as well)."""
    by_depth = functional._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def nested_arguments(functional, node) -> list:
    """The Keras tensors a nested model is called with, flat, in the order of the model's own inputs."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    inputs = args[0] if args else kwargs.get("inputs")
    if isinstance(inputs, dict) and not isinstance(functional._inputs_struct, dict):
        inputs = [inputs[tensor.name] for tensor in functional.inputs]
    return tree.flatten(inputs)


def _refusal(model) -> str:
    if not isinstance(model, keras.Model):
        return f"expected a Keras model, received {type(model).__module__}.{type(model).__name__}"
    if isinstance(model, keras.Sequential):
        return f"model '{model.name}': its input shape is not known; give --input-shape H,W,C (input_shape=)"
    return (
        f"model '{model.name}' is subclassed ({type(model).__name__}): its calls can not be read from outside; "
        "rebuild it with the functional API"
    )


class _Builder:
    """Collects calls and tensors while walking through the model and its nested models."""

    def __init__(self, model, open_time: bool):
        self.model, self.open_time = model, open_time
        self.calls: list[Call] = []
        self.tensors: list[Tensor] = []
        self.values: dict[tuple[tuple[str, ...], int], int] = {}
        self.lookup: dict[tuple[tuple[str, ...], int], Call] = {}
        self.seen: Counter = Counter()
        self.exits: set[int] = set()
        self.every: dict[tuple[tuple[Any, ...], int], int] = {}
        self.chain: tuple[Any, ...] = ()
        self.timed: tuple[int, ...] = ()

    def build(self, functional) -> CallGraph:
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
            self._data_format(),
            frozenset(self.exits),
            self.every,
        )
        if all(tensors[c.inputs[0]].shape == tensors[c.outputs[0]].shape for c in self.calls if c.kind == BOUNDARY):
            return graph
        return with_input_shapes(graph, [tensors[number].shape for number in inputs])

    def _walk(self, functional, path, values: dict[int, int]) -> dict[int, int]:
        first = (path, id(functional.inputs[0])) not in self.values
        if first:
            self.values.update({(path, key): number for key, number in values.items()})
        for node in nodes_in_order(functional):
            if node.is_input or id(node.outputs[0]) in values:
                continue
            numbers = self._visit(node, path, values)
            for tensor, number in zip(node.outputs, numbers, strict=True):
                values[id(tensor)] = number
                if first:
                    self.values[path, id(tensor)] = number
        self.every.update({(self.chain, key): number for key, number in values.items()})
        return values

    def _visit(self, node, path, values) -> list[int]:
        nested = functional_of(node.operation)
        if nested is not None:
            return self._enter(node, nested, path, values)
        inside = timed_model(node) if self.open_time else None
        if inside is not None:
            return self._enter_timed(node, inside, path, values)
        inputs = [values[id(tensor)] for tensor in node.arguments.keras_tensors]
        key = ("layer", id(node.operation)) if getattr(node.operation, "weights", None) else ("node", id(node))
        return self._add_call(OPERATION, path, node.operation, node, inputs, node.outputs, key)

    def _enter(self, node, nested, path, values) -> list[int]:
        arguments = nested_arguments(nested, node)
        return self._walk_inside(node, nested, path, [values[id(argument)] for argument in arguments])

    def _enter_timed(self, node, inside, path, values) -> list[int]:
        """`TimeDistributed`: fold, the calls of the model inside, unfold."""
        whole, outer = node.arguments.keras_tensors[0], self.timed
        number = values[id(whole)]
        folded = self._add_time_call(FoldTime, node, path, [number], [whole])
        self.timed = (*outer, number)
        exits = self._walk_inside(node, inside, path, [folded])
        self.timed = outer
        return [self._add_time_call(UnfoldTime, node, path, [exits[0], number], [inside.outputs[0], whole])]

    def _add_time_call(self, kind: type, node, path, inputs: list[int], like: list) -> int:
        """A call that the model has not itself, on tensors of its own: the source's layers do not get to know it."""
        own = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in like]
        layer = kind(name=node.operation.name, dtype=like[0].dtype)
        output = layer(own if len(own) > 1 else own[0])
        return self._add_call(OPERATION, path, layer, node_of(output), inputs, [output], (kind, id(node)))[0]

    def _walk_inside(self, node, nested, path, arguments: list[int]) -> list[int]:
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

    def _add_call(self, kind, path, operation, node, inputs, outputs, key) -> list[int]:
        index, name = len(self.calls), "/".join((*path, operation.name))
        self.seen[name] += 1
        numbers = []
        for tensor in outputs:
            numbers.append(len(self.tensors))
            shape = tuple(tensor.shape)
            self.tensors.append(Tensor(len(self.tensors), shape, str(tensor.dtype), index, shape))
        if self.seen[name] > 1:
            name = f"{name}#{self.seen[name]}"
        call = Call(
            index, kind, name, tuple(path), operation, node, tuple(inputs), tuple(numbers), key, self.chain, self.timed
        )
        self.calls.append(call)
        self.lookup.setdefault((call.path, id(node)), call)
        return numbers

    def _data_format(self) -> str:
        found = (getattr(call.operation, "data_format", None) for call in self.calls)
        return next((value for value in found if value), "channels_last")

    def _network(self):
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


def same_key(calls: Iterable[Call]) -> list[list[Call]]:
    """Groups of two or more calls that share one decision."""
    groups: defaultdict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.key].append(call)
    return [group for group in groups.values() if len(group) > 1]


def with_input_shapes(graph: CallGraph, shapes) -> CallGraph:
    """The same graph with the tensor shapes that follow from other input ``shapes`` (batch axis included)."""
    found = _propagate(graph, shapes, {})
    common: dict[Any, Shape] = {}
    for call in graph.calls:
        if call.kind == BOUNDARY:
            shape = found[call.inputs[0]]
            common[call.key] = _common(common.get(call.key, shape), shape)
    agreed = all(common[call.key] == found[call.inputs[0]] for call in graph.calls if call.kind == BOUNDARY)
    built = found if agreed else _propagate(graph, shapes, common)
    tensors = (replace(t, shape=s, built_shape=b) for t, s, b in zip(graph.tensors, found, built, strict=True))
    return replace(graph, tensors=tuple(tensors))


def _common(first: Shape, second: Shape) -> Shape:
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def _propagate(graph: CallGraph, shapes, boundaries: dict[Any, Shape]) -> list[Shape]:
    """Every tensor's shape; inputs of nested models know no more than ``boundaries`` says for their key."""
    found: list[Shape] = [tensor.shape for tensor in graph.tensors]
    for number, shape in zip(graph.inputs, shapes, strict=True):
        found[number] = tuple(shape)
    for call in graph.calls:
        if call.kind == BOUNDARY:
            shape = found[call.inputs[0]]
            found[call.outputs[0]] = _common(shape, boundaries.get(call.key, shape))
        elif call.kind == OPERATION and _shapes_differ(call, found):
            for number, shape in zip(call.outputs, _output_shapes(graph, call, found), strict=True):
                found[number] = shape
    return found


def with_known_sizes(graph: CallGraph, candidates: Iterable[int]) -> CallGraph:
    """The graph with open rows, columns ... of its inputs set to the first of ``candidates`` that the model works at.

    Raises:
        InputError: it works at none of them.
    """
    shapes = [graph.tensors[number].shape for number in graph.inputs]
    if all(None not in shape[1:] for shape in shapes):
        return graph
    failure = None
    for candidate in candidates:
        sized = [(shape[0], *(candidate if size is None else size for size in shape[1:])) for shape in shapes]
        try:
            return with_input_shapes(graph, sized)
        except InputError as error:
            failure = failure or error
    raise failure or InputError(f"model '{graph.model.name}': no size to try")


def _shapes_differ(call: Call, found) -> bool:
    """Whether the call reads other shapes than it was built with."""
    built = call.node.arguments.keras_tensors
    return any(found[number] != tuple(tensor.shape) for number, tensor in zip(call.inputs, built, strict=True))


def _output_shapes(graph: CallGraph, call: Call, found) -> list[Shape]:
    built = call.node.arguments.keras_tensors
    specs = {
        id(tensor): keras.KerasTensor(found[number], dtype=tensor.dtype)
        for number, tensor in zip(call.inputs, built, strict=True)
    }
    args, kwargs = call.node.arguments.fill_in(specs)
    try:
        outputs = call.operation.compute_output_spec(*args, **kwargs)
    except Exception as error:  # whatever a layer raises about a shape it can not work on
        shape = found[call.inputs[0]]
        raise InputError(f"layer '{call.name}' does not work on shape {shape}: {first_line(error)}") from error
    return [tuple(output.shape) for output in tree.flatten(outputs)]
