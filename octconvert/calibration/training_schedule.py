"""The learning rate of a training by its steps and its time, and whether the training diverges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from octconvert.calibration.effort import Pace
from octconvert.training.schedule import set_learning_rate, warm_up_cosine

LEAST_STEPS = 150
"""A training that would reach fewer is not worth its time."""
PROBED = 6
"""Steps after which it is known how long they take."""
FIRST, LAST, GROWN = 12, 24, 1.5
"""A training diverges where the mean loss of the last steps is so many times that of the first ones."""


class Schedule(keras.callbacks.Callback):
    """Follows a learning rate schedule by the steps; where there is no time for all of them, the rest is shortened.

    So the rate has decayed when the time is over, and the clock changes nothing of a training that is fast enough. One
    that would reach fewer than `LEAST_STEPS` is stopped.

    Args:
        peak: of the learning rate.
        steps: of the training.
        pace: the time of the training.
        progress: called with (steps done, steps in all).

    Attributes:
        steps: that were done.
        diverges: whether the loss has grown.
    """

    def __init__(self, peak: float, steps: int, pace: Pace, progress: Callable[[int, int], None]):
        super().__init__()
        self.steps, self._most, self._pace, self._progress = 0, steps, pace, progress
        self._rate = warm_up_cosine(peak, steps)
        self._place = 0.0
        """Steps of the schedule that are behind."""
        self._warm = pace.clock()
        self._losses: list[float] = []
        self._total = 0.0
        """Of the losses of this epoch."""

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        set_learning_rate(self.model, self._rate(self._place))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps += 1
        self._add(batch, logs or {})
        self._progress(self.steps, self._most)
        if self.steps == 1:  # the first step builds the graph
            self._warm = self._pace.clock()
        left = self._steps_left()
        self._place += max(1.0, (self._most - self._place) / max(left, 1.0))
        too_slow = self.steps == PROBED and self.steps + left < min(LEAST_STEPS, self._most)
        if self._place >= self._most or too_slow or self.diverges:
            self.model.stop_training = True

    def _add(self, batch: int, logs: dict[str, Any]) -> None:
        """The loss of this step, from the mean of the epoch's."""
        before, self._total = self._total if batch else 0.0, (batch + 1) * float(logs["loss"])
        self._losses.append(self._total - before)

    @property
    def diverges(self) -> bool:
        if len(self._losses) < FIRST + LAST:
            return False
        return not np.mean(self._losses[-LAST:]) <= GROWN * np.mean(self._losses[:FIRST])

    def _steps_left(self) -> float:
        """That there is time for; all of them, until it is known how long they take."""
        every = self._most - self._place
        a_step = (self._pace.clock() - self._warm) / (self.steps - 1) if self.steps >= PROBED else 0.0
        return max(self._pace.left, 0.0) / max(a_step, 1e-9) if self._pace.lacks(every * a_step) else every
