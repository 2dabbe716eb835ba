"""The call graph of a Keras model: one node a call, in execution order, nested models walked into.

The graph is a `networkx.MultiDiGraph` (an ``add([x, x])`` needs parallel edges) whose nodes are call numbers and whose
edges carry (source output, target argument). A nested model that is called twice gives two sets of calls; calls that
must be rewritten alike share a `Call.key`. `octconvert.model.graph_reader` reads a model into one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import networkx as nx
from keras import KerasTensor
from keras.src.models.functional import Functional
from keras.src.ops.node import Node as KerasNode

from octconvert.model.functional import functional_of, layer_in_time, of_one_tensor
from octconvert.model.opening import NOTHING_CLOSED, Closed, Opened
from octconvert.model.time_runs import TimeRun, goes_on

Shape = tuple[int | None, ...]

SOURCE_INPUT = "input"
"""`Call.kind` of a model input."""
BOUNDARY = "boundary"
"""`Call.kind` of the identity call for an input of a nested model."""
OPERATION = "operation"
"""`Call.kind` of a layer or raw operation."""


@dataclass(frozen=True)
class Tensor:
    """One tensor that flows while the model runs once.

    Attributes:
        index: tensor number.
        shape: in the source model at this call, batch axis included.
        dtype: its name.
        producer: number of the call whose output it is.
        built_shape: its shape where the rewritten model is built: a nested model is built once for all its calls, so
            sizes in which they differ are None.
        size: (rows, columns) that it holds, None where open, if it is the output of an `octconvert.layers.OctaveSize`.
    """

    index: int
    shape: Shape
    dtype: str
    producer: int
    built_shape: Shape
    size: Shape | None = None


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
class Timed:
    """What runs at each time step of a tensor.

    Attributes:
        tensor: of (batch, time, ...).
        layer: with the name and the configuration of the model.
        model: the calls.
        trainable: whether the wrapper is.
    """

    tensor: KerasTensor
    layer: keras.layers.Layer
    model: Functional
    trainable: bool


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
        rank: spatial axes of its maps, 2 for images: those of its convolutions. In a model with convolutions of several
            ranks those of the 2-D ones, else of the most; `for_call` is the graph with the rank of one call.
        ranks: of all its convolutions, in order.
        opened: id of a layer that hides calls of others -> the model that it is, or why it is left as it is.
        closed: layers that were not to be opened.
        time_runs: id of a Keras node of a `TimeDistributed` -> the run that it is a part of.
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
    rank: int = 2
    ranks: tuple[int, ...] = (2,)
    opened: Mapping[int, Opened] = field(default_factory=dict)
    closed: Closed = NOTHING_CLOSED
    time_runs: Mapping[int, TimeRun] = field(default_factory=dict)

    @property
    def channel_axis(self) -> int:
        """Of maps with ``rank`` axes."""
        return self.rank + 1 if self.data_format == "channels_last" else 1

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """Of maps with ``rank`` axes: rows and columns of images."""
        return self._axes(self.rank)

    def spatial_axes_of(self, shape: Shape) -> tuple[int, ...]:
        """Of a map of this shape."""
        return self._axes(len(shape) - 2)

    def _axes(self, rank: int) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + rank))

    def is_map(self, shape: Shape) -> bool:
        """Whether a tensor of this shape has positions and channels."""
        return len(shape) - 2 in self.ranks

    def axis_of_channels(self, shape: Shape) -> int:
        """Of a map; the last axis of any other tensor."""
        return 1 if self.is_map(shape) and self.data_format == "channels_first" else len(shape) - 1

    def size_of(self, shape: Shape) -> Shape:
        """Of a map along its spatial axes, (rows, columns) for images; None where open."""
        return tuple(shape[axis] for axis in self.spatial_axes_of(shape))

    def known_size(self, shape: Shape) -> tuple[int, ...] | None:
        """The same; None where a size is open, or for a tensor that is no map."""
        size = [each for each in self.size_of(shape) if each is not None] if self.is_map(shape) else []
        return tuple(size) if size and len(size) == len(shape) - 2 else None

    def is_vector(self, shape: Shape) -> bool:
        """No extent: (batch, channels) or a 1x1 map. Both groups of such a pair have one resolution."""
        return len(shape) == 2 or (self.is_map(shape) and set(self.size_of(shape)) == {1})

    def for_call(self, call: Call) -> CallGraph:
        """The graph as the rule of a call sees it: the maps are those of one rank, that of the call's tensors."""
        read = [self.tensors[tensor].shape for tensor in call.inputs if self.is_map(self.tensors[tensor].shape)]
        written = (self.tensors[tensor].shape for tensor in call.outputs)
        return self.for_map(max(read, key=len) if read else next(filter(self.is_map, written), ()))

    def for_map(self, shape: Shape) -> CallGraph:
        """The graph whose maps are those with as many axes as this one; the same graph for a tensor that is no map."""
        return self if len(self.ranks) == 1 or not self.is_map(shape) else self._by_rank[len(shape) - 2]

    @cached_property
    def _by_rank(self) -> dict[int, CallGraph]:
        return {rank: replace(self, rank=rank, ranks=(rank,)) for rank in self.ranks}

    def inside(self, operation: Any) -> Functional | None:
        """The model that an operation is: a nested one, or a layer opened; None for any other."""
        block = self.opened.get(id(operation))
        return functional_of(operation) if block is None else block.model

    def in_time(self, node: KerasNode) -> Timed | None:
        """What a `TimeDistributed` runs at each step, a model of one tensor; None for any other call."""
        run, layer = self.time_runs.get(id(node)), layer_in_time(node)
        if run is not None:
            return Timed(run.input, run.model, run.model, run.trainable)
        inside = None if layer is None else of_one_tensor(self.inside(layer))
        if layer is None or inside is None:
            return None
        return Timed(node.arguments.keras_tensors[0], layer, inside, node.operation.trainable)

    def goes_on(self, node: KerasNode) -> bool:
        """Whether a call is a part of a run that goes on behind it: it has no call of its own in this graph."""
        return goes_on(node, self.time_runs)

    def producer(self, tensor: int) -> Call:
        """The call whose output a tensor is."""
        return self.calls[self.tensors[tensor].producer]

    def runs(self, call: Call) -> int:
        """How often the call runs for one sample; open numbers of time steps count as one."""
        return math.prod(self.tensors[tensor].shape[1] or 1 for tensor in call.timed)


def same_key(calls: Iterable[Call]) -> list[list[Call]]:
    """Groups of two or more calls that share one decision."""
    groups: defaultdict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.key].append(call)
    return [group for group in groups.values() if len(group) > 1]
