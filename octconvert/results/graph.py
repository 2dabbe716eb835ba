"""`ModelGraph`: the calls of a source model, and which of its tensors are pairs or whole-low after the conversion."""

from __future__ import annotations

from dataclasses import dataclass

from octconvert.results.plan import PLAIN

PAIR, WHOLE_LOW = "pair", "whole-low"
FREQUENCIES = (PLAIN, PAIR, WHOLE_LOW)
"""What a tensor of the source becomes: one map as it was, a high and a low map, or one low map."""

Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class Maps:
    """What a tensor of the source becomes.

    Attributes:
        shape: (rows, columns, channels) in the source; None where unknown.
        high_shape, low_shape: of the converted tensor; low_shape is None where it is plain, high_shape where it is
            whole-low.
    """

    shape: Sizes
    high_shape: Sizes | None
    low_shape: Sizes | None = None

    @property
    def frequency(self) -> str:
        """One of `FREQUENCIES`."""
        if self.low_shape is None:
            return PLAIN
        return WHOLE_LOW if self.high_shape is None else PAIR


@dataclass(frozen=True)
class GraphNode:
    """One call of a layer or raw operation.

    Attributes:
        name: the layer's name with its nested models; later calls get ``#2`` ...
        layer: the same without the number of the call, as the rows of a report have it.
        class_name: the layer's class.
        path: names of the nested models that it lies in; later calls of one get ``#2`` ...
        output: its first output.
    """

    name: str
    layer: str
    class_name: str
    path: tuple[str, ...]
    output: Maps


@dataclass(frozen=True)
class GraphEdge:
    """A tensor on its way: positions of two nodes, and what the tensor becomes, one of `FREQUENCIES`."""

    source: int
    target: int
    frequency: str


@dataclass(frozen=True)
class ModelGraph:
    """All calls in execution order, and the tensors between them."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
