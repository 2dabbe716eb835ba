"""Timing several models: in every round each has its turn, so that a busy machine slows down all of them.

Every few rounds are in new processes: one process can run a model a quarter slower than another, for as long as it
lives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from octconvert.benchmarking.process import Worker, WorkerError

TURN_SECONDS, MOST_RUNS = 0.2, 5
"""Duration of the timed runs of a turn, where one run takes less, and their largest number."""
SLOW_SECONDS = 1.0
"""A model whose run takes longer has no untimed run in its turns."""
MOST_SECONDS, LEAST_TURNS = 60.0, 3
"""A model that has run for so long has no further turns, once it has had so many."""
REST_SECONDS = 0.01
"""Between turns, so that the threads of the previous model come to rest."""
ROUNDS_OF_A_START, MOST_STARTS = 5, 3
"""Least number of rounds in the same processes, and how often new ones are started at most."""
OPENING_SECONDS = 30.0
"""Where opening all models and running them once takes longer, they stay open for all rounds."""


@dataclass
class Timed:
    """The times of one model.

    Attributes:
        seconds: of every timed run.
        memory: peak of its process above its memory before the model was opened, in MB; None: unknown.
        error: why there are no times, or no more; empty where there was none.
    """

    seconds: list[float] = field(default_factory=list)
    memory: float | None = None
    error: str = ""


@dataclass
class _Turns:
    """One model, its process while there is one, and how often it runs in a turn."""

    task: dict[str, Any]
    worker: Worker | None = None
    result: Timed = field(default_factory=Timed)
    untimed: int = 1
    timed: int = 1
    taken: int = 0

    @property
    def is_over(self) -> bool:
        return bool(self.result.error) or (self.taken >= LEAST_TURNS and sum(self.result.seconds) >= MOST_SECONDS)

    def start(self, stack: ExitStack) -> None:
        """A new process, warmed up: the first run may compile; the duration of the second sets the number of runs."""
        if self.is_over:
            return
        self.worker = stack.enter_context(Worker(**self.task))
        self.untimed = self.timed = 1
        for seconds in self._run():
            self.untimed = 0 if seconds > SLOW_SECONDS else 1
            self.timed = max(1, min(MOST_RUNS, int(TURN_SECONDS / max(seconds, 1e-9))))

    def take(self) -> None:
        if not self.is_over:
            self.result.seconds += self._run()
            self.taken += 1

    def _run(self) -> list[float]:
        assert self.worker is not None  # it has been started
        try:
            seconds, memory = self.worker.run(self.untimed, self.timed)
        except WorkerError as error:
            self.result.error = str(error)
            return []
        if memory is not None:
            self.result.memory = max(memory, self.result.memory or 0.0)
        return seconds


def measure(tasks: Sequence[dict[str, Any]], rounds: int, progress: Callable[[int, int], None]) -> list[Timed]:
    """Open every task (see `octconvert.benchmarking.worker`) in a process of its own, warm up, and time them in turn.

    Args:
        progress: called with (rounds that are complete, all rounds).
    """
    models = [_Turns(task) for task in tasks]
    starts = max(1, min(MOST_STARTS, rounds // ROUNDS_OF_A_START))
    done = 0
    while done < rounds:
        progress(done, rounds)
        with ExitStack() as stack:
            started = time.monotonic()
            for model in models:
                model.start(stack)
            is_quick = time.monotonic() - started <= OPENING_SECONDS
            end = min(rounds, done + math.ceil(rounds / starts)) if is_quick else rounds
            for number in range(done, end):
                progress(number, rounds)
                _round(models if number % 2 == 0 else models[::-1])
            done = end
    return [model.result for model in models]


def _round(models: Sequence[_Turns]) -> None:
    for model in models:
        time.sleep(REST_SECONDS)
        model.take()
