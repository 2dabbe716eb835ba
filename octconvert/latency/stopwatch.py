"""Times of small models on a runtime: measured in turns, and kept for the next time."""

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
"""Turns of every model; what the runs of one take, where one run takes less, and how many they are at most."""
LEAST_SHARE = 0.05
"""Of the time of a call, for a model that does next to nothing."""
LOW = 0.25
"""The quantile that counts: what disturbs a run only makes it longer."""


class Stopwatch(AbstractContextManager):
    """Measures, in one process of its own; ends it on exit and keeps what was found.

    Args:
        runtime: its name.
        threads, batch: as the model will be run.
    """

    def __init__(self, runtime: str, threads: int, batch: int):
        self._runtime, self._threads, self._batch = runtime, threads, batch
        self._known = Times(" ".join((runtime, _versions(runtime), str(threads), str(batch), _machine())))
        self._stack = ExitStack()
        self._worker: Worker | None = None
        self._folder = Path()

    def __exit__(self, *_) -> None:
        self._stack.close()
        self._known.keep()

    def known(self, key: str) -> float | None:
        """Seconds, where they were measured before."""
        return self._known.get(key)

    def measure(self, models: Mapping[str, Any]) -> dict[str, float]:
        """Seconds of a run of each, without what any call takes. What can not be run is left out."""
        empty = {f"empty {ends}": _empty(*ends) for ends in set(map(_ends, models.values()))}
        missing = {key: model for key, model in empty.items() if self.known(key) is None}
        if missing:
            self._known.add(self._gross(missing))
        gross = self._gross(models)
        calls = {key: self.known(f"empty {_ends(models[key])}") or 0.0 for key in gross}
        found = {key: without_call(seconds, calls[key]) for key, seconds in gross.items()}
        self._known.add(found)
        return found

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

    def _open(self, worker: Worker, number: int, model) -> bool:
        write = lambda model: exported(  # noqa: E731
            model, self._runtime, self._folder / str(number), self._batch, self._threads
        )
        try:
            choice = first_taken(model, find(self._runtime), (False,), write)  # in a precision that the runtime has
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
    """What of a run is the model's own, where any call takes ``call`` seconds; never nothing, nor less than that."""
    return max(seconds - call, LEAST_SHARE * seconds)


def _ends(model) -> tuple[int, int]:
    return len(model.inputs), len(model.outputs)


def _empty(inputs: int, outputs: int):
    """A model with so many inputs and outputs that does next to nothing: the time of it is that of a call."""
    given = [keras.Input((1, 1, 1)) for _ in range(inputs)]
    return keras.Model(given, [keras.layers.ReLU()(given[number % inputs]) for number in range(outputs)])


class Times:
    """Seconds by key, in a file that all conversions on this machine share.

    Args:
        circumstances: what they depend on besides.
    """

    def __init__(self, circumstances: str):
        self._path = user_cache_path("octconvert", appauthor=False) / "latency.json"
        self._circumstances = circumstances
        self._times = self._read()
        self._new: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        return self._times.get(self._hashed(key))

    def add(self, found: Mapping[str, float]) -> None:
        found = {self._hashed(key): seconds for key, seconds in found.items()}
        self._times |= found
        self._new |= found

    def keep(self) -> None:
        """Write what is new; somebody else may have written in between. A cache that can not be written is none."""
        if not self._new:
            return
        with contextlib.suppress(OSError, UsageError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps({**self._read(), **self._new}))

    def _hashed(self, key: str) -> str:
        return hashlib.sha256(f"{self._circumstances} {key}".encode()).hexdigest()[:32]

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
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
    """The processor by name, and how many of them."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return f"{platform.machine()} {found[1] if found else platform.processor()} {os.cpu_count()}"
