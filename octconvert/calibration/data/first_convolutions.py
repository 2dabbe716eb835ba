"""The input range that a model was trained with, from its first convolutions.

The running statistics of the BatchNormalization behind a convolution are those of its outputs in training. The
convolution is run on images, and scale and offset of these are fitted so that its outputs have the same statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from octconvert.calibration.data.affine_paths import OPEN_SIZES, AffinePath, names_of, of_frames, run_path
from octconvert.calibration.data.conventions import (
    Convention,
    InputRange,
    MeanDeviation,
    conventions,
    moments_text,
    numbers,
    range_of,
)
from octconvert.calibration.data.natural import natural
from octconvert.calibration.data.synthetic import DEVIATION, MEAN
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.model.graph import BOUNDARY, Call, CallGraph

_CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
_IMAGES = 64
_LEAST_IMAGES = 8
_POOR_FIT = 2.0  # `_Responses.score` from which on a fit explains nothing
_PRIOR = 0.04  # ridge of the offset: means are met to about 0.2 deviations, offsets lie within about 1 of mean 0
_POSITIONS = 1024  # of each map that are used
_ELEMENTS = 1 << 21  # of the responses in memory at once


def running_statistics(call: Call | None) -> tuple[np.ndarray, np.ndarray] | None:
    """(moving mean, moving variance) of a BatchNormalization that was trained."""
    if call is None or not isinstance(call.operation, layers.BatchNormalization):
        return None
    moving = (call.operation.moving_mean, call.operation.moving_variance)
    mean, variance = (np.asarray(keras.ops.convert_to_numpy(v), dtype="float64") for v in moving)
    trained = mean.any() or (variance != 1).any()
    return (mean, variance) if trained and (variance >= 0).all() else None


def range_from_convolutions(
    graph: CallGraph, paths: list[AffinePath], images: np.ndarray | None, pace: Pace
) -> InputRange | None:
    """The range in which the first convolutions have the outputs that their BatchNormalization saw in training."""
    pairs = [(path, norm) for path in paths for norm in _norms_behind(graph, path.next)]
    if not pairs or pace.lacks():
        return None
    channels = len(pairs[0][0].matrix)
    if images is None:
        most = OPEN_SIZES[graph.rank]
        size = graph.size_of(of_frames(graph, graph.tensors[pairs[0][0].start].shape))
        images = natural(_IMAGES, [min(length or most, most) for length in size], channels)
    try:
        shares = (pace.part(1 / (len(pairs) - i)) for i in range(len(pairs)))
        parts = [_measure(graph, *pair, images, share) for pair, share in zip(pairs, shares, strict=True)]
        responses = _joined(parts)
    except OutOfTime:
        pace.leave_out()
        return None
    except Exception:  # a layer that works at the model's own size only
        return None
    place = f"{names_of([norm for _, norm in pairs])} behind {_convolution_names(pairs)}"
    return _fit(responses, conventions(channels, graph.rank), channels, place)


def _convolution_names(pairs: Sequence[tuple[AffinePath, Call]]) -> str:
    return " and ".join(f"'{path.next.name}'" for path, _ in pairs if path.next is not None)


def _norms_behind(graph: CallGraph, call: Call | None) -> Iterator[Call]:
    """Trained BatchNormalizations that read the output of a convolution without activation."""
    if call is None or not isinstance(call.operation, _CONVOLUTIONS):
        return
    if call.operation.activation is not keras.activations.linear:
        return
    waiting = [call.outputs[0]]
    while waiting:
        for consumer in graph.consumers.get(waiting.pop(), ()):
            if consumer.kind == BOUNDARY:
                waiting.append(consumer.outputs[0])
            elif running_statistics(consumer):
                yield consumer


@dataclass(frozen=True, eq=False)
class _Responses:
    """First convolutions as affine functions of scale and offset, filter by filter.

    A filter's output is coefficients @ features, coefficients = (scales, offsets, 1); so its mean and variance on fixed
    images follow for every scale and offset, exactly even at padded borders.

    Attributes:
        means: (filters, features), of the features over images and positions.
        covariances: (filters, features, features).
        moving_mean, moving_variance: (filters,), of the outputs in training.
    """

    means: np.ndarray
    covariances: np.ndarray
    moving_mean: np.ndarray
    moving_variance: np.ndarray

    def moments(self, scale: np.ndarray, offset: np.ndarray) -> MeanDeviation:
        """Mean and variance (filters,) of the output."""
        weights = np.concatenate([scale, offset, [1.0]])
        variance = np.einsum("i,fij,j->f", weights, self.covariances, weights)
        return self.means @ weights, np.maximum(variance, 1e-30)

    def score(self, scale: np.ndarray, offset: np.ndarray) -> float:
        """Distance from the statistics of training, 0: none; each filter counts for 9 at most."""
        mean, variance = self.moments(scale, offset)
        ratios = np.log(variance / self.moving_variance) ** 2
        shifts = (mean - self.moving_mean) ** 2 / self.moving_variance
        return float(np.minimum(ratios, 9).mean() + np.minimum(shifts, 9).mean())


def _measure(graph: CallGraph, path: AffinePath, norm: Call, images: np.ndarray, pace: Pace) -> _Responses:
    """Run the path and its convolution on every channel of the images alone, and on every channel at 1.

    Raises:
        OutOfTime: there is no time for `_LEAST_IMAGES` of them.
    """
    assert path.next is not None  # the convolution
    calls, channels = (*path.calls, path.next), images.shape[-1]
    masks = np.eye(channels, dtype="float32")

    def output(inputs: np.ndarray) -> np.ndarray:
        return _thinned(run_path(graph, path.start, calls, inputs)).astype("float64")

    zero = output(np.zeros_like(images[:1]))
    full, once = [], math.inf
    for mask in pace.units(masks):
        started = pace.clock()
        full.append(output(np.broadcast_to(mask, images[:1].shape)) - zero)
        once = min(once, pace.clock() - started)  # the first run of a layer takes longer
    if pace.lacks(len(images) * channels * once):
        images = images[: int(max(pace.left, 0.0) / max(once * channels, 1e-9))]
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
    mean, variance = running_statistics(norm) or (np.zeros(0), np.zeros(0))
    return _Responses(means, products / count - means[:, :, None] * means[:, None], mean, variance)


def _thinned(maps: np.ndarray) -> np.ndarray:
    """Some `_POSITIONS` of each map, evenly spread."""
    size = maps.shape[1:-1]
    step = max(1, int((math.prod(size) / _POSITIONS) ** (1 / len(size))))
    return maps[(slice(None), *[slice(step // 2, None, step)] * len(size))]


def _joined(parts: list[_Responses]) -> _Responses:
    """All filters but those that weight decay has reduced to nothing, with their variance."""
    fields = ("means", "covariances", "moving_mean", "moving_variance")
    whole = _Responses(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
    channels = whole.means.shape[1] // 2
    variance = whole.moments(np.ones(channels), np.zeros(channels))[1]
    alive = np.full(len(variance), True)
    for values in (variance, whole.moving_variance):
        alive &= values > 1e-6 * np.median(values)
    return _Responses(*(getattr(whole, name)[alive] for name in fields))


def _fit(responses: _Responses, usual: list[Convention], channels: int, place: str) -> InputRange | None:
    if not len(responses.means):
        return None
    scale, offset = _fitted(responses, channels)
    score = responses.score(scale, offset)
    if not score <= _POOR_FIT:
        return None
    ranked = [(responses.score(*c.vectors(channels)), c) for c in usual]
    best_score, best = min(ranked, key=lambda pair: pair[0])
    if best_score <= 1.3 * score + 0.1:  # photographs differ from the images by that much
        return range_of(best, channels, f"{best.name}, which fits {place}")
    text = moments_text(MEAN * scale + offset, DEVIATION * scale)
    return InputRange(numbers(scale), numbers(offset), f"{text}, fitted to {place}", True)


def _fitted(responses: _Responses, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """One scale by the median ratio of the variances, one offset a channel by least squares on the means."""
    scale = np.ones(channels)
    offset = -MEAN * scale
    for _ in range(8):  # the effect of zero padding on the variance depends on the offset
        variance = responses.moments(scale, offset)[1]
        step = math.exp(0.5 * float(np.median(np.log(responses.moving_variance / variance))))
        scale, offset = scale * step, offset * step
        offset = _offset(responses, scale)
    return scale, offset


def _offset(responses: _Responses, scale: np.ndarray) -> np.ndarray:
    """The offset with which the filters have their means, pulled a little towards mean 0 where no filter sees it."""
    channels = len(scale)
    deviation = np.sqrt(responses.moving_variance)
    start = -MEAN * scale
    missing = (responses.moving_mean - responses.moments(scale, start)[0]) / deviation
    gains = responses.means[:, channels : 2 * channels] * scale / deviation[:, None]
    shift = np.linalg.solve(gains.T @ gains + _PRIOR * np.eye(channels), gains.T @ missing)
    return start + scale * shift
