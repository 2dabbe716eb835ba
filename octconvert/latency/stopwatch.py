"""Times of small models on a runtime: measured in turns, and kept in a file for the next conversion."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
from platformdirs import user_cache_path

from octconvert.benchmarking.process import Worker, WorkerError, exported
from octconvert.errors import OctconvertError, UsageError
from octconvert.inference.fallback import first_taken
from octconvert.runtimes import find
from octconvert.system.targets import write_atomically
from octconvert.system.temporaries import new_folder

ROUNDS, TURN_SECONDS, MOST_RUNS = 6, 0.01, 50
"""Turns of every model; seconds of a turn where one run takes less, and runs of a turn at most."""
LEAST_SHARE = 0.05
"""Share of the time of a call that a model that computes next to nothing counts for."""
LOW = 0.25
"""The quantile that counts: disturbances only make a run longer."""


class Stopwatch(AbstractContextManager):
    """Measures in one worker process; ends it on exit and keeps the times.

    Args:
        runtime: its name.
        threads, batch: as the model will be run.
        precision: to which its numbers are rounded; None: not at all.
    """

    def __init__(self, runtime: str, threads: int, batch: int, precision: str | None = None):
        self.runtime, self.precision, self._threads, self._batch = runtime, precision, threads, batch
        how = (runtime, _versions(runtime), str(threads), str(batch), _machine(), *([precision] if precision else []))
        self._known = Times(" ".join(how))
        self._stack = ExitStack()
        self._worker: Worker | None = None
        self._folder = Path()

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._known.keep()

    def known(self, key: str) -> float | None:
        """Seconds, if they have been measured."""
        return self._known.get(key)

    def measure(self, models: Mapping[str, Any]) -> dict[str, float]:
        """Seconds of a run of each, without those that any call takes. Models that can not be run are left out."""
        empty = {f"empty {ends}": _empty(*ends) for ends in set(map(_ends, models.values()))}
        missing = {key: model for key, model in empty.items() if self.known(key) is None}
        if missing:
            self._known.add(self._gross(missing))
        gross = self._gross(models)
        calls = {key: self.known(f"empty {_ends(models[key])}") or 0.0 for key in gross}
        times = {key: without_call(seconds, calls[key]) for key, seconds in gross.items()}
        self._known.add(times)
        return times

    def _gross(self, models: Mapping[str, Any]) -> dict[str, float]:
        if self._worker is None:
            self._folder = self._stack.enter_context(new_folder())
            self._worker = self._stack.enter_context(Worker())
        opened = {key: n for n, (key, model) in enumerate(models.items()) if self._open(self._worker, n, model)}
        turns = {key: self._runs(self._worker, number) for key, number in opened.items()}
        times: dict[str, list[float]] = {key: [] for key in opened}
        for _ in range(ROUNDS):
            for key, number in opened.items():
                times[key] += self._run(self._worker, number, turns[key]) if turns[key] else []
        return {key: float(np.quantile(seconds, LOW)) for key, seconds in times.items() if seconds}

    def _open(self, worker: Worker, number: int, model: keras.Model) -> bool:
        """Export a model and open it in the worker; False where the runtime can not run it."""
        folder = self._folder / str(number)
        write = lambda model: exported(  # noqa: E731
            model, self.runtime, folder, self._batch, self._threads, self.precision
        )
        try:
            choice = first_taken(model, find(self.runtime), (False,), write)  # in a precision that the runtime has
        except OctconvertError:
            return False
        worker.open(number, **choice.result)
        return True

    def _runs(self, worker: Worker, number: int) -> int:
        """Runs in a turn; 0 where the model does not run."""
        seconds = self._run(worker, number, 1)
        return max(1, min(MOST_RUNS, int(TURN_SECONDS / max(*seconds, 1e-9)))) if seconds else 0

    def _run(self, worker: Worker, number: int, timed: int) -> Sequence[float]:
        try:
            return worker.run(1, timed, model=number, whole=False)[0]
        except WorkerError:
            return []


def without_call(seconds: float, call: float) -> float:
    """The seconds of a run without those of any call, but at least `LEAST_SHARE` of them."""
    return max(seconds - call, LEAST_SHARE * seconds)


def _ends(model: keras.Model) -> tuple[int, int]:
    """Numbers of inputs and outputs."""
    return len(model.inputs), len(model.outputs)


def _empty(inputs: int, outputs: int) -> keras.Model:
    """A model with so many inputs and outputs that computes next to nothing: its time is that of a call."""
    tensors = [keras.Input((1, 1, 1)) for _ in range(inputs)]
    return keras.Model(tensors, [keras.layers.ReLU()(tensors[number % inputs]) for number in range(outputs)])


class Times:
    """Seconds by key, in a file that all conversions on this machine share.

    Args:
        circumstances: everything else that the times depend on.
    """

    def __init__(self, circumstances: str):
        self._path = user_cache_path("octconvert", appauthor=False) / "latency.json"
        self._circumstances = circumstances
        self._times = self._read()
        self._new: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        return self._times.get(self._hashed(key))

    def add(self, times: Mapping[str, float]) -> None:
        hashed = {self._hashed(key): seconds for key, seconds in times.items()}
        self._times |= hashed
        self._new |= hashed

    def keep(self) -> None:
        """Add the new times to the file as it is now. If it can not be written, nothing is kept."""
        if not self._new:
            return
        with contextlib.suppress(OSError, UsageError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps({**self._read(), **self._new}))

    def _hashed(self, key: str) -> str:
        return hashlib.sha256(f"{self._circumstances} {key}".encode()).hexdigest()[:32]

    def _read(self) -> dict[str, float]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        items = content.items() if isinstance(content, dict) else ()
        return {key: value for key, value in items if isinstance(value, float)}


def _versions(runtime: str) -> str:
    names = dict.fromkeys(("octconvert", "tensorflow", "keras", *_packages(runtime)))
    return " ".join(f"{name}-{_version(name)}" for name in names)


def _packages(runtime: str) -> list[str]:
    return [
        module.split(".")[0].replace("_", "-") for module in (*find(runtime).runs_with, *find(runtime).exports_with)
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _machine() -> str:
    """Name and number of the processors."""
    try:
        match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return f"{platform.machine()} {match[1] if match else platform.processor()} {os.cpu_count()}"
