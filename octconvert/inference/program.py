"""A model at inference as plain steps with their numbers, which are optimised and then turned into layers.

Everything is a value: a `Node` is a step with the nodes it reads. Equal steps on equal nodes are one node, so a map is
pooled once for all its readers. Rewrites build other nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from octconvert.model.graph import Call
from octconvert.octave.geometry import Octave, Pads
from octconvert.rules.traits import DEPTHWISE, TRANSPOSED


@dataclass(frozen=True, eq=False)
class Step:
    """Base of all steps; ``policy``: the dtype policy of the layer that the step comes from, or a dtype."""

    policy: Any

    @property
    def key(self) -> tuple:
        """Equal for steps that do the same."""
        return (type(self).__name__, *(key_of(getattr(self, each.name)) for each in fields(self)))


@dataclass(frozen=True, eq=False)
class InputStep(Step):
    """An input of the model; ``tensor`` is its number in the call graph."""

    tensor: int


@dataclass(frozen=True, eq=False)
class ConvolutionStep(Step):
    """A convolution without activation.

    Attributes:
        kind: CONV, DEPTHWISE, TRANSPOSED or DENSE of `octconvert.rules.traits`, which says how kernels of each are.
        bias: (outputs,) or None.
        strides, dilation: one number an axis; empty for DENSE.
        padding: 'same' or 'valid'.
        more: arguments that only the layer of this kind has.
        fit: zeros that are put around the result, or what is cut off it; None: nothing.
    """

    kind: str
    kernel: np.ndarray
    bias: np.ndarray | None
    strides: tuple[int, ...] = ()
    padding: str = "valid"
    dilation: tuple[int, ...] = ()
    groups: int = 1
    more: tuple[tuple[str, Any], ...] = ()
    fit: Pads | None = None

    @property
    def window(self) -> tuple[int, ...]:
        """Taps along each axis; empty for DENSE."""
        return self.kernel.shape[: len(self.strides)]

    @property
    def outputs(self) -> int:
        if self.kind == DEPTHWISE:
            return int(np.prod(self.kernel.shape[-2:]))
        return self.kernel.shape[-2 if self.kind == TRANSPOSED else -1]

    def scaled(self, scale: np.ndarray, offset: np.ndarray | None) -> ConvolutionStep:
        """``scale * result + offset`` for each output channel; without an offset no bias is added."""
        kernel = self.kernel.astype("float64")
        if self.kind == DEPTHWISE:
            kernel = kernel * scale.reshape(kernel.shape[-2:])
        elif self.kind == TRANSPOSED:
            kernel = kernel * scale[:, None]
        else:
            kernel = kernel * scale
        bias = None if self.bias is None else scale * self.bias
        if offset is not None:
            bias = offset if bias is None else bias + offset
        return replace(self, kernel=kernel, bias=bias)

    def reading(self, order: np.ndarray) -> ConvolutionStep:
        """The same on inputs whose channels come in another order: channel ``order[i]`` of them was channel i.

        Depthwise: its outputs are then in the new order as well.
        """
        places = np.argsort(order)
        axis = -1 if self.kind == TRANSPOSED else -2
        return replace(self, kernel=np.take(self.kernel, places, axis=axis))


@dataclass(frozen=True, eq=False)
class ScalingStep(Step):
    """``scale * x + offset`` for each channel; float64 vectors."""

    scale: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class ConstantStep(Step):
    """An array, which reads nothing."""

    value: np.ndarray


@dataclass(frozen=True, eq=False)
class AdditionStep(Step):
    """The sum of its inputs, which have one shape."""


@dataclass(frozen=True, eq=False)
class PlaceScalingStep(Step):
    """``scale * x``, with a number for each position of the map: an array over its spatial axes."""

    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class ReshapingStep(Step):
    """To another shape; the first entry is -1: the batch, with the time steps of a `TimeDistributed` or without."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class PoolingStep(Step):
    """Pooling by windows along any number of axes, with the arguments of Keras' layers."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str


@dataclass(frozen=True, eq=False)
class AveragePoolingStep(PoolingStep):
    """Averages."""


@dataclass(frozen=True, eq=False)
class MaxPoolingStep(PoolingStep):
    """Maxima."""


@dataclass(frozen=True, eq=False)
class GlobalPoolingStep(Step):
    """Global pooling; ``kind``: 'average' or 'max'."""

    kind: str
    keepdims: bool


@dataclass(frozen=True, eq=False)
class ImageStep(Step):
    """A signal as an image of one row."""


@dataclass(frozen=True, eq=False)
class SignalStep(Step):
    """An image of one row as a signal."""


@dataclass(frozen=True, eq=False)
class UpsamplingStep(Step):
    """Every cell repeated along each axis, as often as ``factors`` say, and the end cut to ``sizes``."""

    factors: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PaddingStep(Step):
    """Zeros around the map; negative: cropped."""

    pads: Pads


@dataclass(frozen=True, eq=False)
class DepthToSpaceStep(Step):
    """Channels become blocks of ``block`` x ``block`` positions, the first of each block first."""

    block: int


@dataclass(frozen=True, eq=False)
class EndRepeatingStep(Step):
    """Copies of what is first and last along each axis, as the last row of an image: ``counts`` (before, after)."""

    counts: Pads


@dataclass(frozen=True, eq=False)
class ShiftedAverageStep(Step):
    """Filters of shifted maps along each axis: ``weights[axis][shift]``."""

    weights: tuple[tuple[float, ...], ...]
    octave: Octave


@dataclass(frozen=True, eq=False)
class JoiningStep(Step):
    """Concatenation along the channels."""


@dataclass(frozen=True, eq=False)
class PartStep(Step):
    """The channels from ``start`` to before ``stop``."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class ReorderingStep(Step):
    """Channel i of the output is channel ``order[i]`` of the input."""

    order: np.ndarray


@dataclass(frozen=True, eq=False)
class ActivationStep(Step):
    """An activation function, as a layer has it."""

    function: Callable


@dataclass(frozen=True, eq=False)
class CallStep(Step):
    """A call of the model that stays as it is: ``call`` of its graph, and the number of its output."""

    call: Call
    output: int = 0

    @property
    def key(self) -> tuple:
        return ("CallStep", id(self.call.node), self.output)


@dataclass(frozen=True, eq=False)
class Node:
    """A step and the nodes that it reads; ``name``: of its layer, if that is free."""

    step: Step
    inputs: tuple[Node, ...]
    name: str


@dataclass(eq=False)
class Program:
    """Nodes in the order in which they can run, each once; ``ranks``: numbers of spatial axes that its maps have."""

    ranks: tuple[int, ...] = (2,)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    _known: dict[tuple, Node] = field(default_factory=dict)

    def add(self, step: Step, inputs: Iterable[Node], name: str) -> Node:
        """A new node, or the existing one that does the same."""
        inputs = tuple(inputs)
        key = (step.key, tuple(map(id, inputs)))
        if key not in self._known:
            self._known[key] = Node(step, inputs, name)
            self.nodes.append(self._known[key])
        return self._known[key]

    def uses(self) -> Counter[Node]:
        """How often each node is read, the model's outputs included."""
        counts = Counter(source for node in self.live() for source in node.inputs)
        counts.update(self.outputs)
        return counts

    def readers(self) -> dict[Node, list[Node]]:
        """The nodes that read each node."""
        readers: dict[Node, list[Node]] = {node: [] for node in self.live()}
        for node in readers:
            for source in node.inputs:
                readers[source].append(node)
        return readers

    def live(self) -> list[Node]:
        """The nodes that the outputs need, and the inputs of the model."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if node in needed:
                needed.update(node.inputs)
        return [node for node in self.nodes if node in needed or isinstance(node.step, InputStep)]

    def mapped(self, change: Callable[[Program, Node, tuple[Node, ...]], Node | None]) -> Program:
        """Another program: ``change(program, node, inputs)`` is a node's replacement; None: the same step on them."""
        result = Program(self.ranks)
        replacements: dict[Node, Node] = {}
        for node in self.live():
            inputs = tuple(replacements[source] for source in node.inputs)
            changed = change(result, node, inputs)
            replacements[node] = result.add(node.step, inputs, node.name) if changed is None else changed
        result.outputs = [replacements[node] for node in self.outputs]
        return result


def key_of(value: Any) -> Hashable:
    """A hashable value, equal for equal parts of two steps."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), hashlib.sha1(value.tobytes()).digest()
    if hasattr(value, "name") and not callable(value):  # a dtype policy
        return value.name
    return value if isinstance(value, (str, int, float, tuple, type(None))) else id(value)
