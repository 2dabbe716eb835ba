"""Rotates the channels of linear tensors so that the smooth components lie in a few of them.

Between linear layers the channels of a tensor are a free choice of basis: where convolutions without activation write
it, sums join it and convolutions read it (the bottlenecks of inverted residual blocks), ``M x`` serves as well as
``x`` if the writers' kernels are multiplied by M and the readers' by its inverse. The model stays the same function.
Octave convolution takes detail from some channels, so the basis is taken in which the detail the readers respond to
sits in as few channels as possible: the eigenvectors of ``Q^1/2 R Q^1/2``, with R the covariance of the lost detail
and Q the readers' response to a channel (both summed over the places at which the tensor is read).

The rotated copy of the source takes the source's place in everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from octconvert.calibration.selection import Moments, response
from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.rewriting import rewrite
from octconvert.rules import rule_of
from octconvert.rules.activations import is_linear

FLOOR = 0.02
"""Least eigenvalue of Q, as a share of its mean, so that M can be inverted safely."""


@dataclass(frozen=True, eq=False)
class Branch:
    """A convolution that writes a linear tensor, and the normalisations between it and the first sum or reader."""

    writer: Call
    affine: tuple[Call, ...]

    @property
    def end(self) -> int:
        """The tensor behind them."""
        return (self.affine[-1] if self.affine else self.writer).outputs[0]


@dataclass(frozen=True, eq=False)
class LinearGroup:
    """Tied tensors that only linear layers touch.

    Attributes:
        branches: who writes.
        readers: convolutions and Dense layers that read, with the tensor each reads.
    """

    branches: tuple[Branch, ...]
    readers: tuple[tuple[Call, int], ...]


def linear_groups(layout: Layout) -> list[LinearGroup]:
    """The groups of the layout whose basis is free."""
    tensors: dict[bytes, list[int]] = {}
    for tensor, channels in layout.channels.items():
        tensors.setdefault(channels.tobytes(), []).append(tensor)
    owners: dict[int, set[bytes]] = {}
    for key in tensors:
        for component in np.frombuffer(key, dtype=next(iter(layout.channels.values())).dtype).tolist():
            owners.setdefault(component, set()).add(key)
    shared = {key for keys in owners.values() if len(keys) > 1 for key in keys}
    groups = (_linear_group(layout, members) for key, members in tensors.items() if key not in shared)
    return [group for group in groups if group is not None]


def _linear_group(layout: Layout, tensors: list[int]) -> LinearGroup | None:
    graph, members = layout.graph, set(tensors)
    often = _often(graph)
    branches: list[Branch] = []
    readers: list[tuple[Call, int]] = []
    inside: set[int] = set()
    for tensor in tensors:
        writer = graph.producer(tensor)
        if writer.kind == OPERATION and not members.intersection(writer.inputs):
            branch = _branch(layout, writer, members, often)
            if branch is None:
                return None
            branches.append(branch)
            inside.update(call.index for call in branch.affine)
    for tensor in tensors:
        is_map = graph.is_map(graph.tensors[tensor].shape)
        if tensor in graph.outputs or not is_map or not _is_pair(layout, tensor):
            return None
        for call in graph.consumers.get(tensor, ()):
            rule = rule_of(call) if call.kind == OPERATION else None
            if call.kind == BOUNDARY or call.index in inside:
                continue
            if rule is not None and rule.is_sum(call) and members.issuperset(call.inputs):  # all of them are rotated
                continue
            if rule is None or rule.mixing(call) is None or often[call.key] > 1:
                return None
            readers.append((call, tensor))
    measured = [pair for pair in readers if _reads_pair(layout, *pair)]
    return LinearGroup(tuple(branches), tuple(readers)) if measured else None


def _is_pair(layout: Layout, tensor: int) -> bool:
    """Whether a basis decides which components are low; in a tensor that is whole-low all of them are."""
    return tensor in layout.splits and not layout.splits[tensor].whole_low


def _reads_pair(layout: Layout, call: Call, tensor: int) -> bool:
    trace = layout.traces.get(call.index)
    return trace is not None and trace.gains and tensor in layout.splits


def _often(graph: CallGraph) -> dict[tuple[Any, ...], int]:
    """How often each layer is called, by call key."""
    counts: dict[tuple[Any, ...], int] = {}
    for call in graph.calls:
        counts[call.key] = counts.get(call.key, 0) + 1
    return counts


def _branch(layout: Layout, writer: Call, members: set[int], often: dict[tuple[Any, ...], int]) -> Branch | None:
    """Follow a writer through normalisations that nothing else reads."""
    graph, rule = layout.graph, rule_of(writer)
    linear = is_linear(getattr(writer.operation, "activation", None))
    if rule is None or rule.mixing(writer) is None or not linear or often[writer.key] > 1:
        return None
    affine: list[Call] = []
    tensor = writer.outputs[0]
    while True:
        consumers = graph.consumers.get(tensor, ())
        following = rule_of(consumers[0]) if len(consumers) == 1 and consumers[0].kind == OPERATION else None
        if following is None or following.affine(consumers[0]) is None or often[consumers[0].key] > 1:
            return Branch(writer, tuple(affine))
        affine.append(consumers[0])
        tensor = consumers[0].outputs[0]
        if tensor not in members:
            return None


def measured_tensors(layout: Layout, groups: list[LinearGroup]) -> set[int]:
    """Tensors whose `Moments` a rotation needs, with outer products."""
    ends = {branch.end for group in groups for branch in group.branches}
    return ends | {tensor for group in groups for call, tensor in group.readers if _reads_pair(layout, call, tensor)}


def rotated(planned: Planned, groups: list[LinearGroup], moments: dict[int, Moments]) -> Planned:
    """The plan of a copy of the source with every group in its smooth basis; the same function."""
    layout = planned.layout
    copy = rewrite(Planned.from_options(layout.graph, RewritingOptions(alpha=0.0)))
    layers = {item.call.index: item.layer for item in copy.layers}
    for group in groups:
        _rotate(layout, group, moments, lambda call: layers[call.index])
    return planned.following(
        replace(planned.plan, model=copy.model.name), build_graph(copy.model, closed=layout.graph.closed)
    )


def basis(layout: Layout, group: LinearGroup, moments: dict[int, Moments]) -> tuple[np.ndarray, np.ndarray]:
    """(M, its inverse); the rows of M from rough to smooth, as plans put low channels last."""
    reading = [pair for pair in group.readers if _reads_pair(layout, *pair)]
    answers = [_matrix(response(layout, call)) for call, _ in reading]
    weight = sum(answers)
    rough = sum(moments[tensor].roughness * np.trace(a) for a, (_, tensor) in zip(answers, reading, strict=True))
    values, vectors = np.linalg.eigh(weight)
    values = np.maximum(values, max(FLOOR * values.mean(), 1e-12))
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    _, turned = np.linalg.eigh(root @ rough @ root)
    turned = turned[:, ::-1]
    return turned.T @ root, inverse @ turned


def _matrix(answer: np.ndarray) -> np.ndarray:
    return np.diag(answer) if answer.ndim == 1 else answer


def _rotate(layout: Layout, group: LinearGroup, moments: dict[int, Moments], layer_of: Callable[[Call], Any]) -> None:
    matrix, inverse = basis(layout, group, moments)
    for branch in group.branches:
        _write_rotated(branch, matrix, moments[branch.end], layer_of)
    for call, _ in group.readers:
        layer = layer_of(call)
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
        layer.kernel.assign(np.einsum("...co,cd->...do", kernel, inverse))


def _affine(call: Call) -> tuple[np.ndarray, np.ndarray]:
    rule = rule_of(call)
    affine = rule.affine(call) if rule is not None else None
    assert affine is not None  # `_branch` has checked it
    return affine


def _write_rotated(branch: Branch, matrix: np.ndarray, moments: Moments, layer_of: Callable[[Call], Any]) -> None:
    """The writer takes the normalisations' scales and M; they take the statistics of their new inputs."""
    layer, width = layer_of(branch.writer), len(matrix)
    scale, offset = np.ones(width), np.zeros(width)
    for call in branch.affine:
        a, b = _affine(call)
        scale, offset = scale * a, offset * a + b
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
    layer.kernel.assign((kernel * scale) @ matrix.T)
    bias = np.zeros(width)
    if layer.bias is not None:
        bias = matrix @ (scale * keras.ops.convert_to_numpy(layer.bias))
        layer.bias.assign(bias)
    offset = matrix @ offset
    mean = matrix @ (moments.total / moments.count) - offset
    variance = np.maximum(np.diag(matrix @ moments.covariance @ matrix.T), 1e-8)
    for call in branch.affine:
        own, rule = layer_of(call), rule_of(call)
        assert rule is not None
        rule.set_affine(own, mean, variance, offset)
        added = _affine(replace(call, operation=own))[1]  # a gain or Dropout adds nothing; the next one does
        mean, offset = mean + added, offset - added
