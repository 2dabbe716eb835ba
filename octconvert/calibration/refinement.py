"""A short training of the whole converted model towards the source, without labels.

Layer-by-layer fits can not weigh one layer's error against another's; some hundred steps of gradient descent can. The
loss compares the outputs and every tensor that a linear layer reads: a few hundred samples have enough of those to
train on (Romero et al. 2015, "FitNets", arXiv 1412.6550). The model runs as at inference: BatchNormalization's
statistics stay as they were fitted, and small batches add no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import backend, ops, tree

from octconvert.calibration.alignment import Alignment
from octconvert.calibration.data.supply import Supply
from octconvert.calibration.effort import Pace
from octconvert.calibration.fitting.linear import regressions
from octconvert.calibration.inner_tensors import InnerTensors
from octconvert.calibration.optimizer import GroupedMuon
from octconvert.calibration.training_schedule import LEAST_STEPS, Schedule
from octconvert.layers.gradients import safe_gradients
from octconvert.model.execution import tensors_of
from octconvert.model.tensors import BackendTensor
from octconvert.samples import Samples
from octconvert.text.words import fine_percent
from octconvert.training.augmentation import flipped_and_shifted
from octconvert.training.distiller import Distiller
from octconvert.training.losses import RelativeSquaredError
from octconvert.training.optimizer import output_layers
from octconvert.training.overrides import overridden
from octconvert.training.schedule import restart

BATCH = 32
TRAINING_BYTES = 2**31
"""Activations of one batch at most, all of them: a training keeps them for backpropagation."""
KEPT = 3
"""Activations of a training step, in those of a run of the source."""
TRACED = 0.14
"""Seconds to build the graph of a training step, for each call of the source."""
RUNS = 1.9
"""Time of a step for one sample in runs of the source, which are slower because they run call by call."""
LEAST_SAMPLES, MOST_STEPS = 64, 6_000
LEARNING_RATE, USUAL_ERROR, LEAST_TIMES, MOST_TIMES = 3e-3, 0.03, 0.5, 2.0
"""Peak of the learning rate where the relative error of the outputs is `USUAL_ERROR`. It grows with the error's root,
the distance that there is to go, from so many to so many times as much."""
SAMPLES_AN_ERROR = 80_000
"""Times the relative error and the root of the number of inner tensors: samples of all steps together, on synthetic
images within the default budget. More gain little for their time. Deep networks gain more: a layer that was fitted to
what it reads does not know what the layers behind it make of its error."""
SHORT, LEAST_BATCH = 300, 12
"""Steps of a training that has smaller batches for it, and their samples at least. Fewer steps do not come back from
where the first ones lead."""
INNER_WEIGHT = 10.0
"""Weight of the loss of all inner tensors together; the outputs have 1. They are what keeps few samples from being
learned by heart: with 900 images and whole-low interiors 1 ends further from the source than 3, and 3 than 10."""
RATES, SLOWER = 3, 4.0
"""Learning rates that are tried where a training diverges, each so many times lower. Mobile networks need it: channels
of a depthwise convolution whose outputs are small are scaled up a hundred times by the normalisation behind it."""
SYNTHETIC_SAMPLES = 8_192
GENERATED_SHARE = 0.3
"""Share of the time for generating them."""


@dataclass(frozen=True)
class TrainingPlan:
    """Whether there are enough samples and time for a training, and how long it is.

    Attributes:
        steps: 0: it is left out.
        batch: samples of each step.
        reason: why it is left out.
        samples: synthetic ones to generate for it at most.
    """

    steps: int
    batch: int = BATCH
    reason: str = ""
    samples: int = SYNTHETIC_SAMPLES

    def shortened(self, error: float, inner: int) -> TrainingPlan:
        """As long as an error of the outputs is worth: fewer steps, then smaller batches.

        Args:
            inner: number of `inner_tensors`.
        """
        samples = int(SAMPLES_AN_ERROR * error * inner**0.5)
        if samples >= SHORT * self.batch:
            return replace(self, steps=min(self.steps, samples // self.batch))
        batch = min(samples // SHORT // 2 * 2, self.batch)
        if batch < min(LEAST_BATCH, self.batch):
            worth = f"an error of {fine_percent(error)} is not worth its time"
            reason = f"{worth}; it runs where a `calibration_budget` is given"
            return TrainingPlan(0, reason=reason)
        return replace(self, steps=min(SHORT, self.steps * self.batch // batch), batch=batch)


def _further(progress: Callable[[int, int], None], done: int, count: int, total: int) -> None:
    """``count`` of ``total`` steps behind those that were done before."""
    progress(done + count, done + total)


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Attributes:
        steps: of all of it.
        restarts: with a lower learning rate, from the weights at the beginning.
        diverges: whether the loss grew with every rate.
    """

    steps: int
    restarts: int = 0
    diverges: bool = False


def plan_training(
    supply: Supply, seconds: float, seconds_a_sample: float, activation_bytes: int, uses: float = 1.0
) -> TrainingPlan:
    """How many steps fit into the time; the arguments behind it are of the source, for one sample."""
    if supply.more is None and supply.fit.count < LEAST_SAMPLES:
        mirrored = ", mirror images among them" if supply.fit.count > supply.count else ""
        reason = f"needs {LEAST_SAMPLES} samples or more to fit to, there are {supply.fit.count}{mirrored}"
        return TrainingPlan(0, reason=reason)
    batch = training_batch(activation_bytes, uses)
    samples, a_step = SYNTHETIC_SAMPLES, RUNS * batch * seconds_a_sample
    if supply.more is not None and supply.more_seconds:
        samples = max(batch, min(samples, int(GENERATED_SHARE * seconds / supply.more_seconds)))
        seconds -= samples * supply.more_seconds
    steps = min(int(seconds / a_step), MOST_STEPS)
    if steps < LEAST_STEPS:
        needed = f"about {LEAST_STEPS * a_step:.0f} s, {max(seconds, 0):.0f} s were left (`calibration_budget`)"
        return TrainingPlan(0, reason=f"needs {needed}")
    return TrainingPlan(steps, batch, samples=samples)


def training_batch(activation_bytes: int, uses: float = 1.0, most: int = BATCH) -> int:
    """Samples whose activations can all be kept for backpropagation, from those of the source for one sample.

    Fewer where a sample ``uses`` the layers more than once, as a pair of images does: a step sees as many images then.
    """
    count = int(np.clip(TRAINING_BYTES // max(KEPT * activation_bytes, 1), 1, max(most / uses, 1)))
    return max(1, count // 2 * 2)


def refine(
    alignment: Alignment,
    supply: Supply,
    training: TrainingPlan,
    error: float,
    pace: Pace,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train the converted model of ``alignment``, whose relative error is ``error``, in place.

    Ends when its time is over by the clock, if that comes first. Where the loss grows, it begins again with a lower
    learning rate.
    """
    keras.utils.set_random_seed(seed)
    samples = _samples(supply, training, pace.part(GENERATED_SHARE), seed)
    model = trained_model(alignment)
    rate = peak_rate(error) * (training.batch / BATCH) ** 0.5  # gradients of few samples are less certain
    # Without XLA, JAX does not compile at all; for TensorFlow it is long to wait for, and no faster here.
    model.compile(
        GroupedMuon(rate, exclude_layers=output_layers(alignment.model)), jit_compile=backend.backend() == "jax"
    )
    # Layers that the user has frozen are fitted as well: they have to compensate for errors before them.
    with overridden(alignment.model._flatten_layers(), "trainable", lambda trainable: True), safe_gradients():
        alone = supply.images and len(samples.arrays) == 1
        axes = alignment.source.spatial_axes_of(samples.arrays[0].shape) if alone else None
        data = WholeBatches(samples, training.batch, seed, axes)
        return _fitted(model, data, training.steps, rate, pace, progress)


def _fitted(
    model: keras.Model,
    data: WholeBatches,
    steps: int,
    rate: float,
    pace: Pace,
    progress: Callable[[int, int], None],
) -> Trained:
    """Trained with the first of some rates at which the loss does not grow, for what is left of the steps."""
    weights, done = model.get_weights(), 0
    for number in range(RATES):
        watch = Schedule(rate / SLOWER**number, steps - done, pace, partial(_further, progress, done))
        model.fit(data, epochs=-(-(steps - done) // len(data)), callbacks=[watch], verbose=0)
        done += watch.steps
        if not watch.diverges:
            return Trained(done, number)
        if steps - done < min(LEAST_STEPS, steps):
            break
        model.set_weights(weights)
        restart(model)
    return Trained(done, number, diverges=True)


def peak_rate(error: float) -> float:
    """Of a training that begins at a relative error."""
    return LEARNING_RATE * float(np.clip((error / USUAL_ERROR) ** 0.5, LEAST_TIMES, MOST_TIMES))


def trained_model(alignment: Alignment) -> Distiller:
    """The converted model with the distance from its source as its loss."""
    inner = inner_tensors(alignment)
    weights = [1 / len(alignment.source.outputs)] * len(alignment.source.outputs)
    weights += [INNER_WEIGHT * share / len(inner) for tensor in inner for share in _shares(alignment, tensor)]
    return Refiner(
        lambda inputs, training: _source_values(alignment, inputs, inner),
        inner_outputs(alignment, inner),
        [RelativeSquaredError() for _ in weights],
        weights=weights,
    )


def inner_tensors(alignment: Alignment) -> list[int]:
    """Source tensors, but the model's inputs, that linear layers read and that have a counterpart."""
    read = dict.fromkeys(aligned.source.inputs[0] for aligned in alignment.calls if regressions(aligned.layer))
    return [tensor for tensor in read if tensor in alignment.counterparts and tensor not in alignment.source.inputs]


class Refiner(Distiller):
    """Runs as at inference while its weights are trained."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.converted(inputs, training=False)


def inner_outputs(alignment: Alignment, inner: list[int]) -> InnerTensors:
    """The converted model with the counterparts of inner tensors of the source as further outputs, flat."""
    counterparts = [number for tensor in inner for number in alignment.counterparts[tensor].numbers]
    numbers = [*alignment.converted.outputs, *counterparts]
    return InnerTensors(alignment.converted, numbers, alignment.model)


def _source_values(alignment: Alignment, inputs: Any, inner: list[int]) -> list[BackendTensor]:
    """The outputs and inner tensors of the source, as `inner_outputs` has them."""
    graph = alignment.source
    tensors = tensors_of(graph, tree.flatten(inputs), [*graph.outputs, *inner])
    parts = [
        part for tensor in inner for part in alignment.parts(tensors[tensor], alignment.counterparts[tensor].split)
    ]
    return [ops.cast(value, "float32") for value in (*(tensors[number] for number in graph.outputs), *parts)]


def _shares(alignment: Alignment, tensor: int) -> list[float]:
    """Shares of the channels of a source tensor in its counterparts."""
    split = alignment.counterparts[tensor].split
    return [1.0] if split is None else [len(part.channels) / split.channels for part in split.parts]


def _samples(supply: Supply, training: TrainingPlan, pace: Pace, seed: int) -> Samples:
    if supply.more is None:
        return supply.fit
    return supply.more(min(training.samples, training.steps * training.batch), seed + 3, pace)


class WholeBatches(keras.utils.PyDataset):
    """Samples in a new order each epoch; those that do not fill a batch are left out of it.

    So every step weighs samples equally, and the training is traced for one batch size.

    Args:
        axes: the spatial ones of maps that are flipped and shifted; None: they are not.
    """

    def __init__(self, samples: Samples, size: int, seed: int, axes: tuple[int, ...] | None = None):
        super().__init__()
        self._samples, self._size, self._axes = samples, min(size, samples.count), axes
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return self._samples.count // self._size

    def __getitem__(self, index: int) -> tuple[Any]:
        rows = self._order[index * self._size : (index + 1) * self._size]
        batch = next(self._samples.batches(self._size, rows))
        if self._axes is not None:
            batch = [flipped_and_shifted(images, self._rng, self._axes) for images in batch]
        return (tuple(batch) if len(batch) > 1 else batch[0],)

    def on_epoch_end(self) -> None:
        self._order = self._rng.permutation(self._samples.count)
