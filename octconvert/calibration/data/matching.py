"""Synthetic images that a model sees as it saw those of its training.

BatchNormalization keeps the mean and the variance of what it read in training. Generated images are changed by
gradient descent until a batch of them has these statistics at every normalisation, or nearly so: so they have the
strokes, textures and shapes that this network was trained on (Cai et al. 2020, "ZeroQ", arXiv 2001.00281, eq. 1; Yin
et al. 2020, "Dreaming to Distill", arXiv 1912.08795, eq. 4). They start as the images of `generator`, and so stay
different from each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import backend, ops

from octconvert.calibration.data.first_convolutions import running_statistics
from octconvert.calibration.effort import Pace
from octconvert.calibration.inner_tensors import InnerTensors
from octconvert.layers.gradients import safe_gradients
from octconvert.model.execution import observe
from octconvert.model.graph import OPERATION, CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.samples import Samples
from octconvert.training.schedule import restart, set_learning_rate

STEPS = 40
"""Of gradient descent for each batch of images."""
RATE = 0.05
"""Peak of the learning rate, in deviations of the images; it falls to 0 along a cosine."""
ALIKE = 0.7
"""Distance of images from the training, as `mean_distance` measures it, that needs no matching. Generated images have
0.04 for a network of photographs (CIFAR-10), 0.6 and 1.2 for two of clothes on black; the last one alone gains much."""
TRACED = 0.06
"""Seconds to build the graph of a descent, for each call of the model."""
MOST_LOG = 3.0
"""The difference of logarithms of variances counts no more than that: of a channel that is dead on synthetic images."""

Bounds = tuple[np.ndarray, np.ndarray] | None
"""Smallest and largest value of an input's images, by channel; None: any."""


@dataclass(frozen=True, eq=False)
class TrainingStatistics:
    """Mean and variance, over the batch and all positions, of what one normalisation read in training.

    Attributes:
        tensor: number of what it reads.
        axis: of its channels.
        mean, variance: (channels,); the variance as the normalisation divides by it.
    """

    tensor: int
    axis: int
    mean: np.ndarray
    variance: np.ndarray

    def distance(self, values: BackendTensor) -> BackendTensor:
        """Of a batch: mean squared differences of means, in deviations, and of the logarithms of variances."""
        values = ops.cast(values, "float32")
        axes = [axis for axis in range(len(values.shape)) if axis != self.axis]
        mean, variance = ops.moments(values, axes)
        shift = ops.mean(ops.square(mean - self.mean) / self.variance)
        ratio = ops.log((variance + 1e-3 * self.variance) / self.variance)
        return shift + ops.mean(ops.minimum(ops.square(ratio), MOST_LOG**2))


def training_statistics(graph: CallGraph) -> list[TrainingStatistics]:
    """Of every BatchNormalization that is called once and has statistics of a training."""
    calls = [call for call in graph.calls if call.kind == OPERATION]
    uses = Counter(id(call.operation) for call in calls)
    statistics = []
    for call in calls:
        running = running_statistics(call) if uses[id(call.operation)] == 1 else None
        if running is not None and all(np.isfinite(each).all() for each in running):
            mean, variance = (each.astype("float32") for each in running)
            layer, (tensor,) = call.operation, call.inputs
            axis = layer.axis % len(graph.tensors[tensor].shape)
            statistics.append(TrainingStatistics(tensor, axis, mean, variance + np.float32(layer.epsilon)))
    return statistics


def mean_distance(graph: CallGraph, samples: Samples) -> float:
    """Of the samples, as one batch, from the training: the mean of `TrainingStatistics.distance`."""
    statistics = training_statistics(graph)
    tensors = observe(graph, list(samples.arrays), [each.tensor for each in statistics])
    by_tensor = {each.tensor: each for each in statistics}
    return float(np.mean([float(by_tensor[number].distance(values)) for number, values in tensors]))


def matched(
    graph: CallGraph,
    samples: Samples,
    bounds: Sequence[Bounds],
    batch: int,
    pace: Pace,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples | None:
    """The samples, changed; as many whole batches as there is time for, and so fewer than there are.

    Args:
        bounds: of the images of each input.
        batch: samples whose statistics are matched together.
        progress: called with (steps done, steps in all).

    Returns:
        None where not one batch could be changed: there is no time, or an operation has no gradient.
    """
    try:
        with safe_gradients():
            parts = list(_changed(graph, samples, bounds, batch, pace, progress))
    except Exception:  # an operation without a gradient, a layer that only runs eagerly, too little memory
        return None
    if not parts or not all(np.isfinite(array).all() for part in parts for array in part):
        return None
    arrays = tuple(np.concatenate(each) for each in zip(*parts, strict=True))
    return replace(samples, arrays=arrays)


def _changed(
    graph: CallGraph,
    samples: Samples,
    bounds: Sequence[Bounds],
    batch: int,
    pace: Pace,
    progress: Callable[[int, int], None],
) -> Iterator[list[np.ndarray]]:
    """Batch after batch; each takes as long as the one before."""
    count = samples.count // batch
    model = Pictures(graph, training_statistics(graph), next(samples.batches(batch)), bounds)
    model.compile(keras.optimizers.Adam(0.0), jit_compile=backend.backend() == "jax")
    for number, arrays in enumerate(pace.units(samples.batches(batch, range(count * batch)))):
        rate = RATE * float(np.mean([array.std() for array in arrays]))
        steps = DescentSteps(rate, pace, partial(_of_all, progress, number, count))
        model.restart(arrays)
        model.fit(np.zeros((STEPS, 1)), batch_size=1, shuffle=False, callbacks=[steps], verbose=0)
        if steps.is_cut:
            return
        yield [ops.convert_to_numpy(pixels) for pixels in model.pixels]


def _of_all(progress: Callable[[int, int], None], number: int, count: int, done: int) -> None:
    """``done`` steps of batch ``number`` of ``count``."""
    progress(number * STEPS + done, count * STEPS)


class Pictures(keras.Model):
    """A batch of images as weights; the loss is the distance of its statistics from those of the training."""

    def __init__(
        self,
        graph: CallGraph,
        statistics: Sequence[TrainingStatistics],
        arrays: Sequence[np.ndarray],
        bounds: Sequence[Bounds],
    ):
        super().__init__(dtype="float32", autocast=False)
        self._statistics = tuple(statistics)
        self._inner = InnerTensors(graph, [each.tensor for each in statistics])
        self.pixels = [
            self.add_weight(shape=array.shape, initializer="zeros", name=f"pixels_{i}", constraint=_within(limits))
            for i, (array, limits) in enumerate(zip(arrays, bounds, strict=True))
        ]
        self.built = True

    def restart(self, arrays: Sequence[np.ndarray]) -> None:
        """With other images, and nothing left of the descent before."""
        for pixels, array in zip(self.pixels, arrays, strict=True):
            pixels.assign(array)
        restart(self)

    def call(self, inputs: Any, training: bool | None = None) -> list[BackendTensor]:
        return self._inner([ops.convert_to_tensor(pixels) for pixels in self.pixels], training=False)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> BackendTensor:
        pairs = zip(self._statistics, y_pred, strict=True)
        return sum(each.distance(values) for each, values in pairs) / len(self._statistics)


def _within(bounds: Bounds) -> Callable[[BackendTensor], BackendTensor] | None:
    if bounds is None:
        return None
    low, high = bounds
    return lambda values: ops.clip(values, low, high)


class DescentSteps(keras.callbacks.Callback):
    """Sets the learning rate of each step, and ends a descent for which there is no time."""

    def __init__(self, rate: float, pace: Pace, progress: Callable[[int], None]):
        super().__init__()
        self._rate = keras.optimizers.schedules.CosineDecay(rate, STEPS)
        self._pace, self._progress = pace, progress
        self.is_cut = False

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        set_learning_rate(self.model, self._rate(batch))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress(batch + 1)
        self.is_cut = self._pace.lacks()
        if self.is_cut:
            self.model.stop_training = True
