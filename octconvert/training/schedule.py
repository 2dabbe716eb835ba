"""The default learning rate schedule: linear warm-up, then cosine decay."""

from __future__ import annotations

import math

import keras
from keras import backend, ops

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises: Adam's first steps are large, and the start is a good one."""


def warm_up_cosine(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up to ``peak`` over the first `WARM_UP` of the steps, then down to 0 along a cosine."""
    rising = math.ceil(WARM_UP * steps)
    falling = max(1, steps - rising)
    return keras.optimizers.schedules.CosineDecay(0.0, falling, warmup_target=peak, warmup_steps=rising)


def set_learning_rate(model: keras.Model, rate: float) -> None:
    """Of a model that is being trained."""
    if backend.backend() == "jax":  # which holds the state of a training elsewhere meanwhile
        model.jax_state_sync()
    model.optimizer.learning_rate = rate


def restart(model: keras.Model) -> None:
    """Nothing is left in the optimizer of the training before; the weights stay."""
    for variable in model.optimizer.variables:
        variable.assign(ops.zeros(variable.shape, variable.dtype))
