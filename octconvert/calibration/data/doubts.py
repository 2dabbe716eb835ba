"""Whether the data of a calibration look like those that the model was trained on.

Held-out samples of the same data do not show it: a model that is fitted to images that are all alike, or 255 times too
bright, is near to its source on such images and on no others. The range of values that the model expects shows it, and
so do the statistics of its first normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from keras import layers, ops

from octconvert.calibration.data.conventions import BYTES, SIGNED, UNIT, InputRange
from octconvert.calibration.data.supply import Supply
from octconvert.calibration.data.synthetic import DEVIATION, MEAN
from octconvert.calibration.effort import Pace
from octconvert.model.execution import observe
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.samples import Samples
from octconvert.text.words import listing, plural

FAR = 10.0
"""Ratio of the spread of values to that in training, or its inverse: more than another camera or light causes."""
SEEN = 64
"""Samples that are measured for that."""
FEW = 32
"""Samples below which a report says that more are better."""
OUTSIDE, NARROW = 0.3, 0.1
"""Of a range with a black and a white: what lies outside it, and how little of it is used, in other ranges."""
APART = 3.0
"""The same for a mean and a deviation: the distance of means in deviations, and the ratio of deviations."""
LOUDER = 10.0
"""`APART` of signals, which are loud or quiet."""
ABOVE = -0.1
"""In deviations from the mean of centred values: data that have nothing below that are not centred."""
VALUES = 1 << 20
"""Values of a channel that the range is measured on at most."""
SAME = 0.9999
"""Correlation from which on a channel is a copy of another one."""


@dataclass(frozen=True)
class Doubts:
    """What is odd about data.

    Attributes:
        reason: why a calibration on them may be of no use for others; empty where there is no reason.
        remarks: what the user should know besides, a sentence each; no reason for distrust.
    """

    reason: str = ""
    remarks: tuple[str, ...] = ()


def doubts_about(
    graph: CallGraph,
    supply: Supply,
    ranges: Sequence[InputRange | None] = (),
    batch_size: int = SEEN,
    pace: Pace | None = None,
) -> Doubts:
    """What is odd about the samples.

    Args:
        ranges: the values that each input expects, as `find_range` reads them from the model; None where unknown.
        pace: as many samples as it has time for are run, to measure the input of the first normalisation.
    """
    remarks = _too_few(supply)
    copies = supply.fit.count // supply.count  # mirror images stand behind their originals
    pairs = list(zip(supply.fit.arrays, supply.held_out.arrays, strict=True))
    if all(_are_alike(fit[0], (*fit[::copies], *held_out)) for fit, held_out in pairs):
        return Doubts(f"all {supply.count + supply.held_out.count:,} samples are the same", remarks)
    maps = [(i, *p) for i, p in enumerate(pairs) if graph.is_map(p[0].shape) and _channels(graph, p[0]) > 1]
    reasons = [*_constant_channels(graph, maps), *_other_ranges(graph, supply.fit, ranges)]
    if not reasons:
        call = next((call for call in graph.calls if call.kind == OPERATION and _statistics(call) is not None), None)
        reasons = [] if call is None else [_far_off(graph, call, supply.fit, batch_size, pace or Pace())]
    grey = _grey(graph, [each for each in maps if each[1].ndim > 3])
    return Doubts(" and ".join(filter(None, reasons)), (*remarks, *grey))


def _channels(graph: CallGraph, array: np.ndarray) -> int:
    return array.shape[graph.axis_of_channels(array.shape)]


def _too_few(supply: Supply) -> tuple[str, ...]:
    count = supply.count + supply.held_out.count
    if count >= FEW:
        return ()
    how = f"{supply.count:,} to fit to, {supply.held_out.count:,} to measure on"
    return (f"calibrated on {plural(count, 'sample')} only ({how}): a few hundred are better (`calibration`)",)


def _are_alike(first: np.ndarray, others: Iterable[np.ndarray]) -> bool:
    return all(np.array_equal(first, other) for other in others)


# --- channels -------------------------------------------------------------------------------------------------------


def _constant_channels(graph: CallGraph, maps: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[str]:
    """Channels with one value in all samples: nothing shows what the model does with other values."""
    for number, fit, held_out in maps:
        axis = graph.axis_of_channels(fit.shape)
        rows = np.moveaxis(fit[:SEEN], axis, -1).reshape(-1, fit.shape[axis])
        likely = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0))
        constant = [f"{each}" for each in likely if _has_one_value((fit, held_out), axis, int(each))]
        if constant:
            noun, has = ("channel", "has") if len(constant) == 1 else ("channels", "have")
            where = f"{listing(constant, 40)}{_of_input(graph, number)} (the first is 0)"
            yield f"{noun} {where} {has} one value in all samples"


def _has_one_value(arrays: Iterable[np.ndarray], axis: int, channel: int) -> bool:
    parts = [array.take(channel, axis) for array in arrays]
    return len({part.min() for part in parts} | {part.max() for part in parts}) == 1


def _grey(graph: CallGraph, maps: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[str]:
    """Images whose three channels are copies, up to a scale and an offset: common, and no reason for distrust."""
    for number, fit, _ in maps:
        pixels = _pixels(graph, fit)
        varies = (pixels.min(axis=0) < pixels.max(axis=0)).all()
        if pixels.shape[1] == 3 and varies and np.corrcoef(pixels, rowvar=False).min() > SAME:
            place = _of_input(graph, number)
            yield f"all samples are grey: the channels{place} are copies of one, so nothing was fitted to colours"


def _pixels(graph: CallGraph, array: np.ndarray) -> np.ndarray:
    """(pixels, channels) of the first samples, at most about `VALUES` pixels of them evenly spread, in float64."""
    rows = np.moveaxis(array[:SEEN], graph.axis_of_channels(array.shape), -1).reshape(-1, _channels(graph, array))
    return rows[:: max(1, len(rows) // VALUES)].astype("float64")


def _of_input(graph: CallGraph, number: int) -> str:
    """Which input, where the model has more than one."""
    return f" of input {number}" if len(graph.inputs) > 1 else ""


# --- the range of values --------------------------------------------------------------------------------------------


def _other_ranges(graph: CallGraph, samples: Samples, ranges: Sequence[InputRange | None]) -> Iterator[str]:
    """Images with values in another range than the one that the model shows it expects."""
    for number, (array, expected) in enumerate(zip(samples.arrays, ranges, strict=False)):
        if expected is None or not expected.known or not graph.is_map(array.shape):
            continue
        pixels = _pixels(graph, array)
        if _is_other(pixels, expected, LOUDER if array.ndim == 3 else APART):
            low, high, mean, deviation = map(_short, (pixels.min(), pixels.max(), pixels.mean(), pixels.std()))
            values = f"are from {low} to {high}, mean {mean}, deviation {deviation}"
            expects = f"the model expects {expected.how}; `preprocess` changes them"
            yield f"the values{_of_input(graph, number)} {values}, where {expects}"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _is_other(pixels: np.ndarray, expected: InputRange, apart: float) -> bool:
    """By the median over the channels; ``pixels``: (pixels, channels); ``apart``: see `APART`."""
    scale, offset = np.array(expected.scale), np.array(expected.offset)
    mean, deviation = MEAN * scale + offset, DEVIATION * scale
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if (offset < 0).all() and np.median((low - mean) / deviation) > ABOVE:
        return True
    if any(_equal(expected, each.scale, each.offset) for each in (UNIT, SIGNED, BYTES)):
        least, most = (np.percentile(pixels, share, axis=0) for share in (1, 99))
        outside = max(np.median((offset - least) / scale), np.median((most - offset) / scale) - 1)
        return bool(outside > OUTSIDE or np.median((high - low) / scale) < NARROW)
    ratio = np.median(np.maximum(pixels.std(axis=0), 1e-12) / deviation)
    shift = np.median(abs(pixels.mean(axis=0) - mean) / deviation)
    return bool(not 1 / apart <= ratio <= apart or shift > apart)


def _equal(expected: InputRange, scale: object, offset: object) -> bool:
    return set(expected.scale) == {scale} and set(expected.offset) == {offset}


# --- the first normalisation ----------------------------------------------------------------------------------------


def _statistics(call: Call) -> tuple[np.ndarray, np.ndarray] | None:
    """(mean, variance) of the inputs of a layer in training."""
    layer = call.operation
    if isinstance(layer, layers.BatchNormalization):
        pair = layer.moving_mean, layer.moving_variance
    elif isinstance(layer, layers.Normalization) and layer.built and not layer.invert:
        pair = layer.mean, layer.variance
    else:
        return None
    mean, variance = (np.asarray(ops.convert_to_numpy(each), dtype="float64").reshape(-1) for each in pair)
    return mean, variance


def _far_off(graph: CallGraph, call: Call, samples: Samples, batch_size: int, pace: Pace) -> str:
    """By the median over the channels."""
    mean, variance = _statistics(call) or (np.zeros(1), np.ones(1))
    axis = getattr(call.operation, "axis", -1)
    axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return ""
    count, total, squares = 0, np.zeros(len(mean)), np.zeros(len(mean))
    for batch in pace.units(samples.batches(batch_size, range(min(SEEN, samples.count)))):
        _, values = next(iter(observe(graph, batch, call.inputs[:1])))  # the calls behind it are not run
        values = np.asarray(ops.convert_to_numpy(values), dtype="float64")
        if values.shape[axis] != len(mean):
            return ""
        rows = np.moveaxis(values, axis, -1).reshape(-1, len(mean)) - mean
        count, total, squares = count + len(rows), total + rows.sum(axis=0), squares + np.square(rows).sum(axis=0)
    if not count:
        return ""
    usual = np.sqrt(np.maximum(variance, 1e-12))
    spread = float(np.median(np.sqrt(squares / count) / usual))
    deviation = float(np.median(np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0)) / usual))
    if spread > FAR:
        return f"the input of '{call.layer_name}' is {spread:,.0f} times as far spread as in the model's training"
    if deviation < 1 / FAR:
        return f"the input of '{call.layer_name}' hardly varies: {deviation:.2g} of its spread in the model's training"
    return ""
