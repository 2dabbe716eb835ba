"""The last step: a short training of the whole converted model towards the source's outputs, without labels.

Layer-by-layer fits can not weigh one layer's error against another's; a few hundred steps of gradient descent on the
outputs can. It needs enough samples and time, and is left out where there are not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from octconvert.calibration.supply import Supply
from octconvert.distillation import distill, flip_and_shift
from octconvert.samples import Samples

BATCH = 64
LEAST_SAMPLES, LEAST_STEPS, MOST_STEPS = 512, 150, 1_200
LEARNING_RATE, USUAL_ERROR = 1e-3, 0.03
"""Peak of the learning rate where the relative error of the outputs is `USUAL_ERROR`; the nearer, the smaller."""
SYNTHETIC_SAMPLES = 8_192


@dataclass(frozen=True)
class Training:
    """Whether there is enough for a training, and how long it is: ``steps``; ``reason`` tells why it is left out."""

    steps: int
    reason: str = ""


def planned(supply: Supply, seconds: float, seconds_a_step: float) -> Training:
    """How many steps fit into the time."""
    if supply.more is None and supply.fit.count < LEAST_SAMPLES:
        return Training(0, f"needs {LEAST_SAMPLES} samples or more to fit to, there are {supply.fit.count}")
    steps = min(int(seconds / seconds_a_step), MOST_STEPS)
    if steps < LEAST_STEPS:
        needed = LEAST_STEPS * seconds_a_step
        return Training(0, f"needs about {needed:.0f} s, {max(seconds, 0):.0f} s were left (--calibration-budget)")
    return Training(steps)


def refine(source, converted, supply: Supply, training: Training, error: float, seconds: float, seed: int) -> int:
    """Train ``converted``, whose relative error is ``error``, in place; steps that were made."""
    keras.utils.set_random_seed(seed)
    samples = _samples(supply, training, seed)
    batches = max(1, samples.count // BATCH)
    epochs = max(1, round(training.steps / batches))
    x = keras.tree.pack_sequence_as(_inputs(converted), list(samples.arrays))
    clock = _Clock(seconds)
    with _frozen_statistics(converted):
        distill(
            source,
            converted,
            x,
            epochs,
            learning_rate=LEARNING_RATE * min(1.0, (error / USUAL_ERROR) ** 0.5),
            batch_size=BATCH,
            augment=flip_and_shift if supply.images and len(samples.arrays) == 1 else None,
            callbacks=[clock],
            verbose=0,
        )
    return clock.steps


@contextlib.contextmanager
def _frozen_statistics(model) -> Iterator[None]:
    """BatchNormalization as at inference: what was fitted stays as it is, and small batches bring no noise."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.trainable for layer in layers]
    try:
        for layer in layers:
            layer.trainable = False
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def _inputs(model):
    return model._inputs_struct


def _samples(supply: Supply, training: Training, seed: int) -> Samples:
    if supply.more is None:
        return supply.fit
    return supply.more(min(SYNTHETIC_SAMPLES, training.steps * BATCH), seed + 3)


class _Clock(keras.callbacks.Callback):
    """Stops when the time is over; a learning rate that has not come down by then is the price."""

    def __init__(self, seconds: float):
        super().__init__()
        self.steps, self._end = 0, time.monotonic() + seconds

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if time.monotonic() > self._end:
            self.model.stop_training = True
