"""How metrics add up batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

THRESHOLDS = 1000
"""Of the area under the curve: the values in it are ranks, so that they are spread over all thresholds."""
MOST_DECIBELS = 99.0
"""PSNR of equal images, which is infinite."""


class Tally(Protocol):
    """A metric while it is measured."""

    def add(self, labels: np.ndarray, outputs: np.ndarray) -> None:
        """Labels and outputs of a batch, as the metric takes them."""

    def result(self) -> float:
        """Of all batches so far."""


class Share:
    """Of equal numbers."""

    def __init__(self) -> None:
        self._equal = self._count = 0

    def add(self, labels: np.ndarray, outputs: np.ndarray) -> None:
        self._equal += int((labels == outputs).sum())
        self._count += labels.size

    def result(self) -> float:
        return self._equal / self._count


class Streamed:
    """A metric of Keras."""

    def __init__(self, metric: keras.Metric):
        self._metric = metric

    def add(self, labels: np.ndarray, outputs: np.ndarray) -> None:
        self._metric.update_state(labels, outputs)

    def result(self) -> float:
        return float(self._metric.result())


class Gathered:
    """A function of all labels and all outputs."""

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], float]):
        self._function = function
        self._labels: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []

    def add(self, labels: np.ndarray, outputs: np.ndarray) -> None:
        self._labels.append(labels)
        self._outputs.append(outputs)

    def result(self) -> float:
        return self._function(np.concatenate(self._labels), np.concatenate(self._outputs))


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """Of the receiver operating characteristic; nan where a score is nan, or all labels are equal.

    Args:
        labels: 0 or 1, (samples, outputs).
        scores: the same shape. Only their order counts, so a saturated sigmoid loses nothing.

    Returns:
        The mean over the outputs that have both labels.
    """
    both = [column for column in range(labels.shape[1]) if np.ptp(labels[:, column]) > 0]
    if not both or np.isnan(scores).any():
        return float("nan")
    ranks = np.stack([_ranks(scores[:, column]) for column in both], axis=1)
    metric = keras.metrics.AUC(num_thresholds=THRESHOLDS, multi_label=True, num_labels=len(both))
    metric.update_state(labels[:, both], ranks)
    return float(metric.result())


def _ranks(scores: np.ndarray) -> np.ndarray:
    values, places = np.unique(scores, return_inverse=True)
    return places / max(len(values) - 1, 1)


def decibels(labels: Any, outputs: Any, peak: float) -> Any:
    """The peak signal to noise ratio of each image, at most `MOST_DECIBELS`."""
    noise = ops.mean(ops.square(ops.subtract(labels, outputs)), axis=(1, 2, 3))
    return ops.minimum(10 * ops.log10(peak**2 / ops.maximum(noise, 1e-30)), MOST_DECIBELS)
