"""How a model's input arrives at the calls that read it: affine maps of its channels, the same in every pixel.

Rescaling, Normalization and arithmetic with constants are probed with images of one colour, and so are those in front
of and inside a `TimeDistributed`, with videos of one frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from octconvert.calibration.data.conventions import MeanDeviation
from octconvert.calibration.effort import Pace
from octconvert.model.execution import run_call
from octconvert.model.graph import BOUNDARY, Call, CallGraph, Shape

_NEW_EXTENT = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.CenterCrop,
    layers.Resizing,
)
OPEN_SIZES = {1: 512, 2: 64, 3: 16}
"""Positions along each axis where the model leaves them open, by rank."""


@dataclass(frozen=True, eq=False)
class AffinePath:
    """How the input arrives at a call: value at the call = value of the input @ matrix + shift, in every pixel.

    Attributes:
        start, end: tensor numbers of the input and of the tensor that arrives.
        calls: between them, in execution order.
        matrix: (channels of the input, channels that arrive).
        shift: (channels that arrive,).
        changing: those of the calls that change values.
        next: the call that reads ``end``, if any.
    """

    start: int
    end: int
    calls: tuple[Call, ...]
    matrix: np.ndarray
    shift: np.ndarray
    changing: tuple[Call, ...] = ()
    next: Call | None = None

    @property
    def whole(self) -> bool:
        """Whether all channels of the input arrive."""
        return bool(self.matrix.any(axis=1).all())

    def arriving(self, mean: np.ndarray, deviation: np.ndarray) -> MeanDeviation:
        """Mean and deviation at ``end`` for those of the input; channels are taken to correlate by 0.9."""
        covariance = np.outer(deviation, deviation) * (0.9 + 0.1 * np.eye(len(deviation)))
        return mean @ self.matrix + self.shift, np.sqrt(np.diag(self.matrix.T @ covariance @ self.matrix))

    def entering(self, mean: np.ndarray, deviation: np.ndarray) -> MeanDeviation:
        """The inverse of `arriving`."""
        inverse = np.linalg.pinv(self.matrix)
        return (mean - self.shift) @ inverse, deviation @ abs(inverse)


def paths_from(graph: CallGraph, start: int, channels: int, pace: Pace) -> Iterator[AffinePath]:
    """One path for each call that the input arrives at as an affine map of its channels, the same in every pixel.

    Branches that meet again are followed: `preprocess_input` takes the channels apart and stacks them the other way.
    """
    reached = {start: AffinePath(start, start, (), np.eye(channels), np.zeros(channels))}
    for call in graph.calls:
        arriving = [reached[number] for number in dict.fromkeys(call.inputs) if number in reached]
        if not arriving:
            continue
        longer = _extended(graph, arriving, call, pace) if len(arriving) == len(set(call.inputs)) else None
        if longer:
            reached[longer.end] = longer
        else:
            yield from (replace(path, next=call) for path in arriving)
    yield from (path for number, path in reached.items() if number not in graph.consumers)


def _extended(graph: CallGraph, arriving: list[AffinePath], call: Call, pace: Pace) -> AffinePath | None:
    """The path up to the call's output; None where that is no longer an affine map."""
    if len(call.outputs) != 1:
        return None
    path, calls = arriving[0], {c.index: c for before in arriving for c in before.calls}
    changing = {c.index: c for before in arriving for c in before.changing}
    calls[call.index] = call
    longer = replace(path, end=call.outputs[0], calls=_ordered(calls), changing=_ordered(changing))
    if call.kind == BOUNDARY or _is_augmentation(call):
        return longer
    affine = _probe(graph, longer, pace) if _may_be_affine(graph, call) else None
    if affine is None:
        return None
    matrix, shift = affine
    if not _only_routes(matrix, shift, arriving):
        changing[call.index] = call
    return replace(longer, matrix=matrix, shift=shift, changing=_ordered(changing))


def _ordered(calls: dict[int, Call]) -> tuple[Call, ...]:
    return tuple(calls[index] for index in sorted(calls))


def _only_routes(matrix: np.ndarray, shift: np.ndarray, arriving: list[AffinePath]) -> bool:
    """Whether every channel is an unchanged input channel."""
    before = np.concatenate([np.vstack([path.matrix, path.shift]) for path in arriving], axis=1)
    after = np.vstack([matrix, shift])
    same = np.isclose(after[:, :, None], before[:, None], rtol=1e-4, atol=1e-4 * abs(matrix).max())
    return bool(same.all(axis=0).any(axis=1).all())


def _is_augmentation(call: Call) -> bool:
    """Random layers that are called with ``training=True``; at inference they do nothing."""
    return call.node.arguments.kwargs.get("training") is True and not isinstance(call.operation, _NEW_EXTENT)


def _may_be_affine(graph: CallGraph, call: Call) -> bool:
    """No weights but a Normalization's, and one pixel for each (`_probe` sees only images of one colour)."""
    if getattr(call.operation, "weights", None) and not isinstance(call.operation, layers.Normalization):
        return False
    before, after = (_extent(graph, graph.tensors[number].shape) for number in (call.inputs[0], call.outputs[0]))
    return after is not None and (before == after or isinstance(call.operation, _NEW_EXTENT))


def of_frames(graph: CallGraph, shape: Shape) -> Shape:
    """The shape of a tensor, or of the frames where it is one of videos for a model of images: (batch, time, ...)."""
    return (shape[0], *shape[2:]) if is_video(graph, shape) else shape


def is_video(graph: CallGraph, shape: Shape) -> bool:
    """Whether a tensor of this shape holds images one after another; to a model of volumes it is one map."""
    return 2 in graph.ranks and len(shape) == 5 and not graph.is_map(shape)


def _extent(graph: CallGraph, shape: Shape) -> Shape | None:
    """Of maps or frames along their axes, or of single channels."""
    shape = of_frames(graph, shape)
    if len(shape) == graph.rank + 1:
        return tuple(shape[1:])
    return graph.size_of(shape) if graph.is_map(shape) else None


def _probe(graph: CallGraph, path: AffinePath, pace: Pace) -> tuple[np.ndarray, np.ndarray] | None:
    """The path's (matrix, shift), from runs on images of one colour; None where it is not an affine map."""
    size = tuple(size or OPEN_SIZES[graph.rank] for size in _extent(graph, graph.tensors[path.start].shape) or ())
    channels = len(path.matrix)
    colours = np.random.default_rng(0).normal(0, 50, (channels + 4, channels))
    try:
        inputs = (np.broadcast_to(colour, (1, *size, channels)) for colour in pace.units(colours))
        outputs = [run_path(graph, path.start, path.calls, image) for image in inputs]
    except Exception:  # user code may raise anything for these values, or for a batch of one
        return None
    if len(outputs) < len(colours):
        return None
    centre = tuple(size // 2 for size in outputs[0].shape[1 : 1 + graph.rank])
    values = np.stack([np.ravel(output[(0, *centre)]) for output in outputs])
    if not np.isfinite(values).all():
        return None
    known = np.column_stack([colours, np.ones(len(colours))])
    solution = np.linalg.lstsq(known, values, rcond=None)[0]
    exact = abs(known @ solution - values).max() <= 2e-3 * abs(values).max(initial=1e-6)
    matrix, shift = solution[:-1], solution[-1]
    matrix[abs(matrix) < max(1e-6, 1e-5 * abs(matrix).max())] = 0  # roundings
    return (matrix, shift) if exact and matrix.any(axis=0).all() else None


def run_path(graph: CallGraph, start: int, calls: Sequence[Call], images: np.ndarray) -> np.ndarray:
    """The output of the last call for samples in the input's range; both channels last, videos as one frame."""
    first, is_timed = graph.data_format == "channels_first", is_video(graph, graph.tensors[start].shape)
    ready = np.ascontiguousarray(np.moveaxis(images, -1, 1) if first else images)
    ready = ready[:, None] if is_timed else ready
    batch = graph.tensors[start].shape[0] or len(ready)
    parts = []
    for begin in range(0, len(ready), batch):
        part = np.resize(ready[begin : begin + batch], (batch, *ready.shape[1:]))  # a fixed batch is filled up
        values: dict[int, object] = {start: keras.ops.convert_to_tensor(part, dtype=graph.tensors[start].dtype)}
        for call in calls:
            if call.kind != BOUNDARY and _is_augmentation(call):
                values[call.outputs[0]] = values[call.inputs[0]]
            else:
                run_call(call, values)
        parts.append(np.asarray(keras.ops.convert_to_numpy(values[calls[-1].outputs[0]]), "float32"))
    outputs = np.concatenate(parts)[: len(ready)]
    outputs = outputs[:, 0] if is_timed and outputs.ndim == 5 else outputs
    return np.moveaxis(outputs, 1, -1) if first and graph.is_map(outputs.shape) else outputs


def names_of(calls: Iterable[Call]) -> str:
    """Classes and names, for the report."""
    return " and ".join(f"{call.class_name} '{call.name}'" for call in calls)
