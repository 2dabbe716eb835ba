"""How close a converted model is to its source, measured on samples that nothing was fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from keras import ops

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.calibration.fitting.targets import target_of
from octconvert.model.execution import observe, tensors_of
from octconvert.model.graph import CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import factors
from octconvert.results.report import Measure
from octconvert.samples import Samples

WORST_DECIBELS = 99.0
"""PSNR of equal outputs, which is infinite."""


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """The outputs of a model for all samples: one float32 array for each output."""

    arrays: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, graph: CallGraph, samples: Samples, batch_size: int, pace: Pace | None = None) -> ModelOutputs:
        """Run a model.

        Raises:
            OutOfTime: not all of the samples can be run in time.
        """
        pace = pace or Pace()
        parts = [_outputs(graph, batch) for batch in pace.units(samples.batches(batch_size))]
        if pace.cut:
            raise OutOfTime
        return cls(tuple(np.concatenate(each) for each in zip(*parts, strict=True)))

    @property
    def spreads(self) -> list[float]:
        """Variance of each output, or its mean square where there is none."""
        with np.errstate(invalid="ignore"):  # of infinite outputs it is nan
            return [max(float(own.var()) or float(np.square(own).mean()), 1e-30) for own in self.arrays]

    def error(self, other: ModelOutputs) -> float:
        """Mean squared difference relative to the variance of these outputs; infinite where it is nan."""
        pairs = zip(self.arrays, other.arrays, self.spreads, strict=True)
        errors = [float(np.square(own - theirs).mean()) / spread for own, theirs, spread in pairs]
        mean = float(np.mean(errors))
        return mean if np.isfinite(mean) else np.inf

    def distance(self, other: ModelOutputs) -> float:
        """How much worse other outputs serve: for classes the Kullback-Leibler divergence, else `error`."""
        if not self.classes:
            return self.error(other)
        own, theirs = (_log_probabilities(each.arrays[0]) for each in (self, other))
        divergence = float((np.exp(own) * (own - theirs)).sum(axis=1).mean())
        return divergence if np.isfinite(divergence) else np.inf

    @property
    def unusable(self) -> int:
        """Samples for which an output is not finite."""
        finite = [np.isfinite(own).reshape(len(own), -1).all(axis=1) for own in self.arrays]
        return int((~np.logical_and.reduce(finite)).sum())

    @property
    def classes(self) -> bool:
        """Whether the first output is of classes: (samples, two or more)."""
        return self.arrays[0].ndim == 2 and self.arrays[0].shape[1] > 1

    def agreement(self, other: ModelOutputs) -> float:
        """Share of the samples with the same largest output; outputs with nan never agree."""
        own, theirs = self.arrays[0], other.arrays[0]
        same = (own.argmax(axis=1) == theirs.argmax(axis=1)) & ~np.isnan(own + theirs).any(axis=1)
        return float(same.mean())

    def decibels(self, other: ModelOutputs) -> float:
        """Peak signal to noise ratio of the first output, 0 where it is nan; the peak is these values' range."""
        own, theirs = self.arrays[0], other.arrays[0]
        noise = float(np.square(own - theirs).mean())
        if not np.isfinite(noise):
            return 0.0
        peak = float(own.max() - own.min())
        return min(10 * np.log10(peak**2 / noise), WORST_DECIBELS) if noise and peak else WORST_DECIBELS


def _log_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Of class probabilities, or of their logits."""
    outputs = outputs.astype("float64")
    if outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        return np.log(np.maximum(outputs, 1e-12))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _outputs(graph: CallGraph, batch: list[np.ndarray]) -> list[np.ndarray]:
    tensors = tensors_of(graph, batch, graph.outputs)
    return [np.asarray(ops.convert_to_numpy(ops.cast(tensors[n], "float32"))) for n in graph.outputs]


def measures(source: ModelOutputs, before: ModelOutputs, after: ModelOutputs) -> tuple[Measure, ...]:
    """For the report: the `closeness` of both."""
    first, second = (closeness(source, each) for each in (before, after))
    return tuple(Measure(name, value, second[name]) for name, value in first.items())


def closeness(source: ModelOutputs, other: ModelOutputs) -> dict[str, float]:
    """By name: agreement for a classifier, PSNR for maps, the relative error for all."""
    values = {"top-1 agreement": source.agreement(other)} if source.classes else {}
    values["relative error"] = source.error(other)
    if source.arrays[0].ndim > 2:
        values["PSNR"] = source.decibels(other)
    return values


def errors_by_layer(alignment: Alignment, batches: Iterable[list[np.ndarray]]) -> dict[str, float]:
    """Layer name -> mean squared difference of its output (or of the sum it is added to) over the source's variance.

    Of a layer that is called more than once it is the mean over its calls.
    """
    places = _places(alignment)
    sums: dict[int, np.ndarray] = {tensor: np.zeros(4) for tensors in places.values() for tensor in tensors}
    for batch in batches:
        _add_errors(alignment, batch, sums)
    errors = {name: [_relative(*sums[tensor]) for tensor in tensors] for name, tensors in places.items()}
    return {name: float(np.mean(each)) for name, each in errors.items() if np.isfinite(each).all()}


def _relative(count: float, total: float, squares: float, difference: float) -> float:
    if not count:
        return np.nan
    variance = squares / count - (total / count) ** 2
    return difference / count / max(variance, 1e-30)


def _places(alignment: Alignment) -> dict[str, list[int]]:
    """Layer name -> the source tensors at which its error is measured, one for each call."""
    everything = set(range(len(alignment.converted.tensors)))
    places: dict[str, dict[int, int]] = {}
    for aligned in alignment.calls:
        target = target_of(alignment, aligned, everything)
        tensor = aligned.source.outputs[0] if target is None or target.total is None else target.total
        if tensor in alignment.counterparts:
            places.setdefault(aligned.source.layer_name, {})[aligned.source.index] = tensor
    return {name: list(tensors.values()) for name, tensors in places.items()}


def _add_errors(alignment: Alignment, batch: list[np.ndarray], sums: dict[int, np.ndarray]) -> None:
    """Both models run side by side, so that no tensor is kept longer than it is needed."""
    numbers = {tensor: alignment.counterparts[tensor].numbers for tensor in sums}
    left = Counter(number for each in numbers.values() for number in each)
    held: dict[int, object] = {}
    source = observe(alignment.source, batch, sums)
    converted = observe(alignment.converted, batch, left)
    for tensor, value in source:
        while not all(number in held for number in numbers[tensor]):
            number, other = next(converted)
            held[number] = other
        split = alignment.counterparts[tensor].split
        cells = [1] if split is None else [part.cell for part in split.parts]
        for part, number, cell in zip(alignment.parts(value, split), numbers[tensor], cells, strict=True):
            sums[tensor] += math.prod(factors(cell, len(value.shape) - 2)) * _sums(part, held[number])
            left[number] -= 1
            if not left[number]:
                del held[number]


def _sums(own: BackendTensor, other: BackendTensor) -> np.ndarray:
    """(count, sum, sum of squares, sum of squared differences)."""
    own, other = ops.cast(own, "float32"), ops.cast(other, "float32")
    parts: Iterable[BackendTensor] = (own, ops.square(own), ops.square(own - other))
    return np.array([float(np.prod(own.shape)), *(float(ops.sum(part)) for part in parts)])
