"""What values a model's image input expects, read from the model itself.

What the input goes through first tells it: Rescaling, Normalization and arithmetic with numbers are probed; behind
those, the running statistics of a BatchNormalization say what a convolution put out in training, and the convolution is
run on images to find the scale and offset that give just that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from octconvert.calibration.data.synthetic import DEVIATION, MEAN, dead_leaves
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.errors import UsageError
from octconvert.model.execution import run_call
from octconvert.model.graph import BOUNDARY, Call, CallGraph

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_NEW_EXTENT = (layers.ZeroPadding2D, layers.Cropping2D, layers.CenterCrop, layers.Resizing)
_OPEN_SIZE = 64  # rows and columns where the model leaves them open, and the most that images are made with
_IMAGES = 64
_LEAST_IMAGES = 8
_CLOSE = 0.5  # how far a known range may be off, as `_distance` tells it
_POOR_FIT = 2.0  # `_Responses.score` from which on a fit explains nothing
_PRIOR = 0.04  # ridge of the offset: means are met to about 0.2 deviations, offsets lie within about 1 of mean 0
_POSITIONS = 1024  # of each map that are looked at
_ELEMENTS = 1 << 21  # of the responses held at once


@dataclass(frozen=True)
class InputRange:
    """How to turn images in [0, 1] into what the model's input expects: ``scale * image + offset``.

    Attributes:
        scale, offset: one number a channel.
        how: the range and how it was found, one sentence for the report.
        known: False where it is only assumed.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    how: str
    known: bool


def image_like(graph: CallGraph, input_index: int = 0) -> bool:
    """Whether a model input takes images: 4-D, floating point, 1 or 3 channels."""
    tensor = graph.tensors[graph.inputs[input_index]]
    return len(tensor.shape) == 4 and "float" in tensor.dtype and tensor.shape[graph.channel_axis] in (1, 3)


def find_range(
    graph: CallGraph,
    input_index: int = 0,
    given: tuple[float, float] | None = None,
    images: np.ndarray | None = None,
    pace: Pace | None = None,
) -> InputRange:
    """The range of one model input.

    Args:
        graph: call graph of the model, which is run, but not changed.
        input_index: number of the input, in the model's flat order.
        given: (LO, HI), what black and white are; asked nothing further.
        images: (count, rows, columns, channels) in [0, 1] to run a first convolution on; default: 64 `dead_leaves`.
        pace: the time it may take.

    Raises:
        UsageError: ``given`` is no range.
    """
    shape = graph.tensors[graph.inputs[input_index]].shape
    channels = (shape[graph.channel_axis] if len(shape) == 4 else shape[-1] if len(shape) > 1 else 1) or 1
    if given is not None:
        return _as_given(given, channels)
    if len(shape) == 4:
        pace = pace or Pace()
        paths = list(_paths(graph, graph.inputs[input_index], channels, pace))
        found = _from_arithmetic(paths) or _from_statistics(paths) or _from_convolutions(graph, paths, images, pace)
        if found:
            return found
    why = (
        "the time was too short to look for the range" if pace and pace.cut else "nothing in the model tells the range"
    )
    how = f"assumed: mean 0, deviation 1 ({why}; --input-range LO,HI does)"
    return _range(_STANDARD, channels, how, known=False)


def _as_given(given: tuple[float, float], channels: int) -> InputRange:
    low, high = given
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--input-range: expected finite LO < HI, received {low:g},{high:g}")
    return InputRange((high - low,) * channels, (low,) * channels, f"{low:g}..{high:g}, as given", True)


@dataclass(frozen=True)
class _Convention:
    """A usual range; scale and offset are one number for all channels, or one for each."""

    name: str
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]

    def vectors(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        return np.broadcast_to(np.array(self.scale), channels), np.broadcast_to(np.array(self.offset), channels)

    def moments(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of images in this range."""
        scale, offset = self.vectors(channels)
        return scale * MEAN + offset, scale * DEVIATION


_UNIT = _Convention("0..1", 1.0, 0.0)
_SIGNED = _Convention("-1..1", 2.0, -1.0)
_BYTES = _Convention("0..255", 255.0, 0.0)
_STANDARD = _Convention("mean 0, deviation 1 in each channel", 1 / DEVIATION, -MEAN / DEVIATION)
_CENTRED = _Convention("0..255 with the mean subtracted", 255.0, -255.0 * MEAN)
_TORCH = _Convention(
    "mean 0, deviation 1 by the mean and deviation of ImageNet",
    (1 / 0.229, 1 / 0.224, 1 / 0.225),
    (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)
_CAFFE = _Convention("0..255, blue first, with the mean of ImageNet subtracted", 255.0, (-103.939, -116.779, -123.68))


def _conventions(channels: int) -> list[_Convention]:
    found = [_UNIT, _SIGNED, _BYTES, _STANDARD]
    return [*found, _TORCH, _CAFFE] if channels == 3 else found


def _range(convention: _Convention, channels: int, how: str, known: bool = True) -> InputRange:
    scale, offset = convention.vectors(channels)
    return InputRange(_numbers(scale), _numbers(offset), how, known)


def _numbers(values) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _distance(first, second) -> float:
    """Between two pairs (mean, deviation), in deviations and in ratios of them."""
    (mean, deviation), (other_mean, other_deviation) = first, second
    return float(np.mean(abs(np.log(deviation / other_deviation)) + abs(mean - other_mean) / other_deviation))


# --- what the input goes through first ---


@dataclass(frozen=True, eq=False)
class _Path:
    """How the input arrives at a call: value there = value of the input @ matrix + shift, in every pixel.

    Attributes:
        start, end: tensor numbers of the input and of what arrives.
        calls: that lie between, in execution order.
        matrix: (channels of the input, channels that arrive).
        shift: (channels that arrive,).
        told: the calls that change values.
        next: the call it arrives at, if any.
    """

    start: int
    end: int
    calls: tuple[Call, ...]
    matrix: np.ndarray
    shift: np.ndarray
    told: tuple[Call, ...] = ()
    next: Call | None = None

    @property
    def whole(self) -> bool:
        """Whether all channels of the input arrive."""
        return bool(self.matrix.any(axis=1).all())

    def arriving(self, mean, deviation) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation there of images that have these at the input; channels go nine tenths together."""
        covariance = np.outer(deviation, deviation) * (0.9 + 0.1 * np.eye(len(deviation)))
        return mean @ self.matrix + self.shift, np.sqrt(np.diag(self.matrix.T @ covariance @ self.matrix))

    def entering(self, mean, deviation) -> tuple[np.ndarray, np.ndarray]:
        """The reverse of `arriving`."""
        inverse = np.linalg.pinv(self.matrix)
        return (mean - self.shift) @ inverse, deviation @ abs(inverse)


def _paths(graph: CallGraph, start: int, channels: int, pace: Pace) -> Iterator[_Path]:
    """One path for each call that the input arrives at as an affine map of its channels, the same in every pixel.

    Branches that meet again are followed: `preprocess_input` takes the channels apart and stacks them the other way.
    """
    reached = {start: _Path(start, start, (), np.eye(channels), np.zeros(channels))}
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


def _extended(graph: CallGraph, arriving: list[_Path], call: Call, pace: Pace) -> _Path | None:
    """The path on to the call's output; None where that is no such map any more."""
    if len(call.outputs) != 1:
        return None
    path, calls = arriving[0], {c.index: c for before in arriving for c in before.calls}
    told = {c.index: c for before in arriving for c in before.told}
    calls[call.index] = call
    longer = replace(path, end=call.outputs[0], calls=_ordered(calls), told=_ordered(told))
    if call.kind == BOUNDARY or _is_augmentation(call):
        return longer
    found = _probe(graph, longer, pace) if _may_be_affine(graph, call) else None
    if found is None:
        return None
    matrix, shift = found
    if not _only_routes(matrix, shift, arriving):
        told[call.index] = call
    return replace(longer, matrix=matrix, shift=shift, told=_ordered(told))


def _ordered(calls: dict[int, Call]) -> tuple[Call, ...]:
    return tuple(calls[index] for index in sorted(calls))


def _only_routes(matrix: np.ndarray, shift: np.ndarray, arriving: list[_Path]) -> bool:
    """Whether every channel is one of those that came in, as it was."""
    before = np.concatenate([np.vstack([path.matrix, path.shift]) for path in arriving], axis=1)
    after = np.vstack([matrix, shift])
    same = np.isclose(after[:, :, None], before[:, None], rtol=1e-4, atol=1e-4 * abs(matrix).max())
    return bool(same.all(axis=0).any(axis=1).all())


def _is_augmentation(call: Call) -> bool:
    """Random layers that were called for training by default; in prediction they do nothing."""
    return call.node.arguments.kwargs.get("training") is True and not isinstance(call.operation, _NEW_EXTENT)


def _may_be_affine(graph: CallGraph, call: Call) -> bool:
    """No weights but a Normalization's, and one pixel for each (`_probe` sees only images of one colour)."""
    if getattr(call.operation, "weights", None) and not isinstance(call.operation, layers.Normalization):
        return False
    before, after = (_extent(graph, graph.tensors[number].shape) for number in (call.inputs[0], call.outputs[0]))
    return after is not None and (before == after or isinstance(call.operation, _NEW_EXTENT))


def _extent(graph: CallGraph, shape) -> tuple | None:
    """Rows and columns of images, or of single channels."""
    if len(shape) == 3:
        return tuple(shape[1:])
    return tuple(shape[axis] for axis in graph.spatial_axes) if len(shape) == 4 else None


def _probe(graph: CallGraph, path: _Path, pace: Pace) -> tuple[np.ndarray, np.ndarray] | None:
    """The path's (matrix, shift), found by running it on images of one colour; None where it is no affine map."""
    size = tuple(size or _OPEN_SIZE for size in _extent(graph, graph.tensors[path.start].shape) or ())
    channels = len(path.matrix)
    colours = np.random.default_rng(0).normal(0, 50, (channels + 4, channels))
    try:
        inputs = (np.broadcast_to(colour, (1, *size, channels)) for colour in pace.units(colours))
        outputs = [_run(graph, path.start, path.calls, image) for image in inputs]
    except Exception:  # whatever user code raises about numbers or a batch it was not made for
        return None
    if len(outputs) < len(colours):
        return None
    found = np.stack([np.ravel(output[0, output.shape[1] // 2, output.shape[2] // 2]) for output in outputs])
    if not np.isfinite(found).all():
        return None
    known = np.column_stack([colours, np.ones(len(colours))])
    solution = np.linalg.lstsq(known, found, rcond=None)[0]
    exact = abs(known @ solution - found).max() <= 2e-3 * abs(found).max(initial=1e-6)
    matrix, shift = solution[:-1], solution[-1]
    matrix[abs(matrix) < max(1e-6, 1e-5 * abs(matrix).max())] = 0  # roundings
    return (matrix, shift) if exact and matrix.any(axis=0).all() else None


def _run(graph: CallGraph, start: int, calls, images: np.ndarray) -> np.ndarray:
    """What the calls make of images; both channels last, the images in the input's units."""
    first = graph.channel_axis == 1
    ready = np.ascontiguousarray(np.moveaxis(images, -1, 1) if first else images)
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
    return np.moveaxis(outputs, 1, -1) if first and outputs.ndim == 4 else outputs


def _named(calls) -> str:
    return " and ".join(f"{call.class_name} '{call.name}'" for call in calls)


# --- Rescaling, Normalization, arithmetic ---


def _from_arithmetic(paths: list[_Path]) -> InputRange | None:
    """The range that what the input goes through turns into another usual one."""
    for path in paths:
        if not path.told:
            continue
        channels, arriving = path.matrix.shape
        usual = [c.moments(arriving) for c in (_UNIT, _SIGNED, _STANDARD, _BYTES, _CENTRED)]
        ranked = []
        for convention in (_BYTES, _UNIT, _SIGNED):
            moments = path.arriving(*convention.moments(channels))
            ranked.append((min(_distance(moments, other) for other in usual), convention))
        distance, best = min(ranked, key=lambda pair: pair[0])
        if distance <= _CLOSE:
            return _range(best, channels, f"{best.name}, read from {_named(path.told)}")
        if path.whole and any(isinstance(call.operation, layers.Normalization) for call in path.told):
            moments = path.entering(np.zeros(arriving), np.ones(arriving))
            return _from_moments(moments, f"read from {_named(path.told)}")
    return None


def _from_moments(moments: tuple[np.ndarray, np.ndarray], source: str) -> InputRange:
    """The usual range with about this mean and deviation, or else the one with just these."""
    mean, deviation = moments
    channels = len(mean)
    ranked = [(_distance(c.moments(channels), moments), c) for c in _conventions(channels)]
    distance, best = min(ranked, key=lambda pair: pair[0])
    if distance <= _CLOSE:
        return _range(best, channels, f"{best.name}, {source}")
    scale = deviation / DEVIATION
    return InputRange(_numbers(scale), _numbers(mean - MEAN * scale), f"{_told(mean, deviation)}, {source}", True)


def _told(mean, deviation) -> str:
    return " and ".join(
        f"{name} {'/'.join(f'{value:.3g}' for value in values)}"
        for name, values in (("mean", mean), ("deviation", deviation))
    )


# --- running statistics ---


def _statistics(call: Call | None) -> tuple[np.ndarray, np.ndarray] | None:
    """(moving mean, moving variance) of a BatchNormalization that was trained."""
    if call is None or not isinstance(call.operation, layers.BatchNormalization):
        return None
    moving = (call.operation.moving_mean, call.operation.moving_variance)
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(v), dtype="float64") for v in moving)
    trained = mean.any() or (variance != 1).any()
    return (mean, variance) if trained and (variance >= 0).all() else None


def _from_statistics(paths: list[_Path]) -> InputRange | None:
    """A BatchNormalization right on the input knows the input's mean and variance."""
    for path in paths:
        found = _statistics(path.next)
        usable = found and path.whole and len(found[0]) == path.matrix.shape[1]
        if found and usable and path.next and found[1].min() > 0:
            moments = path.entering(found[0], np.sqrt(found[1]))
            return _from_moments(moments, f"read from {_named([path.next])}")
    return None


def _from_convolutions(
    graph: CallGraph, paths: list[_Path], images: np.ndarray | None, pace: Pace
) -> InputRange | None:
    """The range in which the first convolutions put out what their BatchNormalization saw in training."""
    pairs = [(path, norm) for path in paths for norm in _norms_behind(graph, path.next)]
    if not pairs or pace.left <= 0:
        return None
    channels = len(pairs[0][0].matrix)
    if images is None:
        shape = graph.tensors[pairs[0][0].start].shape
        rows, columns = (min(shape[axis] or _OPEN_SIZE, _OPEN_SIZE) for axis in graph.spatial_axes)
        images = dead_leaves(_IMAGES, rows, columns, channels)
    try:
        shares = (pace.part(1 / (len(pairs) - i)) for i in range(len(pairs)))
        parts = [_measure(graph, *pair, images, share) for pair, share in zip(pairs, shares, strict=True)]
        responses = _joined(parts)
    except OutOfTime:
        pace.cut = True
        return None
    except Exception:  # a layer that works at the model's own size only
        return None
    return _fit(responses, channels, f"{_named([norm for _, norm in pairs])} behind {_named_next(pairs)}")


def _named_next(pairs) -> str:
    return " and ".join(f"'{path.next.name}'" for path, _ in pairs)


def _norms_behind(graph: CallGraph, call: Call | None) -> Iterator[Call]:
    """Trained BatchNormalizations that read a convolution as it is."""
    if call is None or not isinstance(call.operation, _CONVOLUTIONS):
        return
    if call.operation.activation is not keras.activations.linear:
        return
    waiting = [call.outputs[0]]
    while waiting:
        for consumer in graph.consumers.get(waiting.pop(), ()):
            if consumer.kind == BOUNDARY:
                waiting.append(consumer.outputs[0])
            elif _statistics(consumer):
                yield consumer


@dataclass(frozen=True, eq=False)
class _Responses:
    """First convolutions as affine functions of scale and offset, filter by filter.

    A filter's output is coefficients @ features, coefficients = (scales, offsets, 1); so its mean and variance on given
    images follow for every scale and offset, exact to the padded borders.

    Attributes:
        means: (filters, features), of the features over images and positions.
        covariances: (filters, features, features).
        moving_mean, moving_variance: (filters,), what training saw.
    """

    means: np.ndarray
    covariances: np.ndarray
    moving_mean: np.ndarray
    moving_variance: np.ndarray

    def moments(self, scale, offset) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (filters,) of the output."""
        weights = np.concatenate([scale, offset, [1.0]])
        variance = np.einsum("i,fij,j->f", weights, self.covariances, weights)
        return self.means @ weights, np.maximum(variance, 1e-30)

    def score(self, scale, offset) -> float:
        """How badly the statistics are met; single filters count for no more than 9."""
        mean, variance = self.moments(scale, offset)
        ratios = np.log(variance / self.moving_variance) ** 2
        shifts = (mean - self.moving_mean) ** 2 / self.moving_variance
        return float(np.minimum(ratios, 9).mean() + np.minimum(shifts, 9).mean())


def _measure(graph: CallGraph, path: _Path, norm: Call, images: np.ndarray, pace: Pace) -> _Responses:
    """Run the path and its convolution on every channel of the images alone, and on every channel full.

    Raises:
        OutOfTime: there is no time for `_LEAST_IMAGES` of them.
    """
    calls, channels = (*path.calls, path.next), images.shape[-1]
    masks = np.eye(channels, dtype="float32")

    def output(inputs):
        return _thinned(_run(graph, path.start, calls, inputs)).astype("float64")

    zero = output(np.zeros_like(images[:1]))
    full, once = [], math.inf
    for mask in pace.units(masks):
        started = pace.clock()
        full.append(output(np.broadcast_to(mask, images[:1].shape)) - zero)
        once = min(once, pace.clock() - started)  # the first run of a layer takes longer
    images = images[: int(min(pace.left / max(once * channels, 1e-9), len(images)))]
    if len(images) < _LEAST_IMAGES or len(full) < channels:
        raise OutOfTime
    count, total, products = 0, np.zeros(()), np.zeros(())
    step = max(1, _ELEMENTS // ((2 * channels + 1) * zero.size))
    for begin in range(0, len(images), step):
        part = images[begin : begin + step]
        alone = [output(part * mask) - zero for mask in masks]
        constant = [np.broadcast_to(value, alone[0].shape) for value in (*full, zero)]
        features = np.stack([*alone, *constant]).reshape(2 * channels + 1, -1, zero.shape[-1]).transpose(2, 0, 1)
        count, total = count + features.shape[2], total + features.sum(axis=2)
        products = products + features @ features.transpose(0, 2, 1)
    means = total / count
    mean, variance = _statistics(norm) or (np.zeros(0), np.zeros(0))
    return _Responses(means, products / count - means[:, :, None] * means[:, None], mean, variance)


def _thinned(maps: np.ndarray) -> np.ndarray:
    """Some `_POSITIONS` of each map, evenly spread."""
    step = max(1, math.isqrt(maps.shape[1] * maps.shape[2] // _POSITIONS))
    return maps[:, step // 2 :: step, step // 2 :: step]


def _joined(parts: list[_Responses]) -> _Responses:
    """All filters that are alive: one that weight decay let vanish, variance and all, tells nothing."""
    fields = ("means", "covariances", "moving_mean", "moving_variance")
    whole = _Responses(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
    channels = whole.means.shape[1] // 2
    variance = whole.moments(np.ones(channels), np.zeros(channels))[1]
    alive = np.full(len(variance), True)
    for values in (variance, whole.moving_variance):
        alive &= values > 1e-6 * np.median(values)
    return _Responses(*(getattr(whole, name)[alive] for name in fields))


def _fit(responses: _Responses, channels: int, where: str) -> InputRange | None:
    if not len(responses.means):
        return None
    scale, offset = _fitted(responses, channels)
    score = responses.score(scale, offset)
    if not score <= _POOR_FIT:
        return None
    ranked = [(responses.score(*c.vectors(channels)), c) for c in _conventions(channels)]
    best_score, best = min(ranked, key=lambda pair: pair[0])
    if best_score <= 1.3 * score + 0.1:  # photographs differ from the images by that much
        return _range(best, channels, f"{best.name}, which fits {where}")
    told = _told(MEAN * scale + offset, DEVIATION * scale)
    return InputRange(_numbers(scale), _numbers(offset), f"{told}, fitted to {where}", True)


def _fitted(responses: _Responses, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """One scale by the median ratio of the variances, one offset a channel by least squares on the means."""
    scale = np.ones(channels)
    offset = -MEAN * scale
    for _ in range(8):  # what padding with zeros does to the variance depends on the offset
        variance = responses.moments(scale, offset)[1]
        step = math.exp(0.5 * float(np.median(np.log(responses.moving_variance / variance))))
        scale, offset = scale * step, offset * step
        offset = _offset(responses, scale)
    return scale, offset


def _offset(responses: _Responses, scale: np.ndarray) -> np.ndarray:
    """The offset that gives the filters their means, drawn a little towards mean 0 where no filter sees it."""
    channels = len(scale)
    deviation = np.sqrt(responses.moving_variance)
    start = -MEAN * scale
    missing = (responses.moving_mean - responses.moments(scale, start)[0]) / deviation
    gains = responses.means[:, channels : 2 * channels] * scale / deviation[:, None]
    shift = np.linalg.solve(gains.T @ gains + _PRIOR * np.eye(channels), gains.T @ missing)
    return start + scale * shift
