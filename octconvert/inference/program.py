"""A model at inference as a list of plain operations with their numbers: what is optimised, then made into layers.

Everything is a value: a `Node` is an operation with the nodes it reads, and equal operations on equal nodes are one
node (so a pooled map is made once for all its readers). Rewriting makes other nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Operation:
    """Base of all operations; ``policy`` is the dtype policy of the layer it comes from, or a dtype."""

    policy: Any

    @property
    def key(self) -> tuple:
        """Equal for operations that do the same."""
        return (type(self).__name__, *(key_of(getattr(self, each.name)) for each in fields(self)))


@dataclass(frozen=True, eq=False)
class Source(Operation):
    """An input of the model; ``tensor`` is its number in the call graph."""

    tensor: int


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """A convolution without activation.

    Attributes:
        kind: 'conv', 'depthwise' (kernel (rows, columns, channels, multiplier)), 'transposed' (kernel (rows, columns,
            outputs, inputs)) or 'dense' (kernel (inputs, outputs)).
        kernel: without the batch's axis, as the Keras layer of that kind holds it.
        bias: (outputs,) or None.
        padding: 'same' or 'valid'.
        more: arguments of that layer alone.
    """

    kind: str
    kernel: np.ndarray
    bias: np.ndarray | None
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def outputs(self) -> int:
        if self.kind == "depthwise":
            return int(np.prod(self.kernel.shape[-2:]))
        return self.kernel.shape[-2 if self.kind == "transposed" else -1]

    def scaled(self, scale: np.ndarray, offset: np.ndarray | None) -> Convolution:
        """``scale * result + offset``, for each output channel; no offset is none to have a bias for."""
        kernel = self.kernel.astype("float64")
        if self.kind == "depthwise":
            kernel = kernel * scale.reshape(kernel.shape[-2:])
        elif self.kind == "transposed":
            kernel = kernel * scale[:, None]
        else:
            kernel = kernel * scale
        bias = None if self.bias is None else scale * self.bias
        if offset is not None:
            bias = offset if bias is None else bias + offset
        return replace(self, kernel=kernel, bias=bias)

    def reading(self, order: np.ndarray) -> Convolution:
        """The same on inputs whose channels come in another order: channel ``order[i]`` of them was channel i.

        Depthwise: its outputs are then in the new order as well.
        """
        places = np.argsort(order)
        axis = -1 if self.kind == "transposed" else -2
        return replace(self, kernel=np.take(self.kernel, places, axis=axis))


@dataclass(frozen=True, eq=False)
class Scaling(Operation):
    """``scale * x + offset`` for each channel; float64 vectors."""

    scale: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class Addition(Operation):
    """The sum of its inputs, which have one shape."""


@dataclass(frozen=True, eq=False)
class Reshaping(Operation):
    """To another shape; the first entry is -1: the batch, with the time steps of a `TimeDistributed` or without."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class AveragePooling(Operation):
    """As the Keras layer."""

    size: tuple[int, int]
    strides: tuple[int, int]
    padding: str


@dataclass(frozen=True, eq=False)
class Upsampling(Operation):
    """Every cell repeated ``octave`` times along rows and columns, the end cut to (rows, columns) = ``sizes``."""

    octave: int
    sizes: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Padding(Operation):
    """Zeros around the map; negative: cropped."""

    pads: Pads


@dataclass(frozen=True, eq=False)
class EndRepeating(Operation):
    """Copies of the last row and of the last column: ``counts`` of each."""

    counts: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ShiftedAverage(Operation):
    """Filters of shifted maps along rows and columns: ``weights[axis][shift]``."""

    weights: tuple[tuple[float, ...], tuple[float, ...]]
    octave: int


@dataclass(frozen=True, eq=False)
class Joining(Operation):
    """Concatenation along the channels."""


@dataclass(frozen=True, eq=False)
class Part(Operation):
    """The channels from ``start`` to before ``stop``."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Reordering(Operation):
    """Channel i of the output is channel ``order[i]`` of the input."""

    order: np.ndarray


@dataclass(frozen=True, eq=False)
class Activation(Operation):
    """An activation function, as a layer has it."""

    function: Callable


@dataclass(frozen=True, eq=False)
class Other(Operation):
    """A call of the model that stays what it is: ``call`` of its graph; output ``output``."""

    call: Any
    output: int = 0

    @property
    def key(self) -> tuple:
        return ("Other", id(self.call.node), self.output)


@dataclass(frozen=True, eq=False)
class Node:
    """An operation and what it reads. ``name`` is what the layer should be called."""

    operation: Operation
    inputs: tuple[Node, ...]
    name: str


@dataclass(eq=False)
class Program:
    """Nodes in the order in which they can run, each once."""

    nodes: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    _known: dict[tuple, Node] = field(default_factory=dict)

    def add(self, operation: Operation, inputs: Iterable[Node], name: str) -> Node:
        """A node, or the one there is that does the same."""
        inputs = tuple(inputs)
        key = (operation.key, tuple(map(id, inputs)))
        if key not in self._known:
            self._known[key] = Node(operation, inputs, name)
            self.nodes.append(self._known[key])
        return self._known[key]

    def uses(self) -> Counter:
        """How often each node is read, the model's outputs included."""
        found = Counter(given for node in self.live() for given in node.inputs)
        found.update(self.outputs)
        return found

    def readers(self) -> dict[Node, list[Node]]:
        """The nodes that read each node."""
        found: dict[Node, list[Node]] = {node: [] for node in self.live()}
        for node in found:
            for given in node.inputs:
                found[given].append(node)
        return found

    def live(self) -> list[Node]:
        """The nodes that the outputs need, and the inputs of the model."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if node in needed:
                needed.update(node.inputs)
        return [node for node in self.nodes if node in needed or isinstance(node.operation, Source)]

    def mapped(self, change: Callable[[Program, Node, tuple[Node, ...]], Node | None]) -> Program:
        """Another program: ``change(program, node, inputs)`` gives what stands for a node, None: itself on them."""
        made = Program()
        stands: dict[Node, Node] = {}
        for node in self.live():
            inputs = tuple(stands[given] for given in node.inputs)
            found = change(made, node, inputs)
            stands[node] = made.add(node.operation, inputs, node.name) if found is None else found
        made.outputs = [stands[node] for node in self.outputs]
        return made


def key_of(value):
    """What stands for a part of an operation where two are compared."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), hashlib.sha1(value.tobytes()).digest()
    if hasattr(value, "name") and not callable(value):  # a dtype policy
        return value.name
    return value if isinstance(value, (str, int, float, tuple, type(None))) else id(value)
