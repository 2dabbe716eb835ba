"""The times of several models: round after round every one has its turn, so that a busy machine slows down all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from octconvert.benchmarking.process import Worker, WorkerError

TURN_SECONDS, MOST_RUNS = 0.2, 5
"""What the timed runs of a turn take, where one run takes less, and how many they are at most."""
SLOW_SECONDS = 1.0
"""A model whose run takes longer has no untimed run in its turns."""
MOST_SECONDS, LEAST_TURNS = 60.0, 3
"""A model that has run for so long has no more turns than these."""
REST_SECONDS = 0.01
"""Between turns: the threads of the model before come to rest."""


@dataclass
class Timed:
    """What was measured of one model.

    Attributes:
        seconds: of every timed run.
        memory: the most that its process needed above what it had before the model was opened, in MB; None: unknown.
        error: why there is nothing, or no more; empty where all went well.
    """

    seconds: list[float] = field(default_factory=list)
    memory: float | None = None
    error: str = ""


@dataclass
class _Turns:
    """One model, its process, and how often it runs in a turn."""

    worker: Worker
    found: Timed = field(default_factory=Timed)
    untimed: int = 1
    timed: int = 1
    taken: int = 0

    def warm_up(self) -> None:
        """The first run may compile; the second tells how long one takes."""
        for seconds in self._run():
            self.untimed = 0 if seconds > SLOW_SECONDS else 1
            self.timed = max(1, min(MOST_RUNS, int(TURN_SECONDS / max(seconds, 1e-9))))

    def take(self) -> None:
        if self.taken < LEAST_TURNS or sum(self.found.seconds) < MOST_SECONDS:
            self.found.seconds += self._run()
            self.taken += 1

    def _run(self) -> list[float]:
        if self.found.error:
            return []
        try:
            seconds, self.found.memory = self.worker.run(self.untimed, self.timed)
        except WorkerError as error:
            self.found.error = str(error)
            return []
        return seconds


def measure(tasks: Sequence[dict[str, Any]], rounds: int, tell: Callable[[int, int], None]) -> list[Timed]:
    """Open every task (see `octconvert.benchmarking.worker`) in a process of its own, warm up, and time them in turn.

    Args:
        tell: called with (rounds that are done, all rounds).
    """
    tell(0, rounds)
    with ExitStack() as stack:
        models = []
        for task in tasks:
            models.append(_Turns(stack.enter_context(Worker(**task))))
            models[-1].warm_up()
        for number in range(rounds):
            tell(number, rounds)
            for model in models if number % 2 == 0 else reversed(models):
                time.sleep(REST_SECONDS)
                model.take()
    return [model.found for model in models]
