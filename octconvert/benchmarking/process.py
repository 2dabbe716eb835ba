"""The other end of `octconvert.benchmarking.worker`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import octconvert
from octconvert.runtimes import find
from octconvert.runtimes.signature import example_inputs
from octconvert.system import environment

_CHATTER = ("INFO", "WARNING", "I0", "W0")


def exported(model, runtime: str, stem: Path, batch: int, threads: int) -> dict[str, Any]:
    """Write a model for a runtime, with random inputs beside it: what `Worker` is to open.

    Raises:
        UsageError, InputError: as `octconvert.runtimes.Runtime.export`.
    """
    path, inputs = stem.with_suffix(find(runtime).suffix), stem.with_suffix(".npz")
    find(runtime).export(model, path, batch)
    values = example_inputs(model, batch)
    np.savez(inputs, *values.values())
    return {"runtime": runtime, "path": str(path), "threads": threads, "inputs": str(inputs), "names": list(values)}


class WorkerError(Exception):
    """The worker could not do what it was asked; says why in one line."""


class Worker:
    """A process with exported models; a context manager that ends it.

    Args:
        task: the first model that the worker is to open, as it takes it; none: see `open`.
    """

    def __init__(self, **task: Any):
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        root = str(Path(octconvert.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))
        self._process = subprocess.Popen(
            # -P: a file in the working directory may be named like a package.
            [sys.executable, "-P", "-m", "octconvert.benchmarking.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**environment.of_the_user(), "PYTHONPATH": path, environment.LOG_LEVEL: "3"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        if task:
            self.open(0, **task)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def open(self, model: int, **task: Any) -> None:
        """Give the worker another model, in the place of the one that had this number."""
        self._tell({"model": model, **task})

    def run(self, untimed: int, timed: int, model: int = 0, whole: bool = True) -> tuple[list[float], float | None]:
        """(seconds of every timed run, peak memory in MB or None).

        Args:
            untimed, timed: how many runs.
            model: its number.
            whole: whether handing over inputs and outputs counts.

        Raises:
            WorkerError: the model can not be opened or run, or the process has ended.
        """
        self._tell({"model": model, "untimed": untimed, "timed": timed, "whole": whole})
        answer = self._answers.readline()
        if not answer:
            raise WorkerError(self._last_words())
        found = json.loads(answer)
        if "error" in found:
            raise WorkerError(found["error"])
        return found["seconds"], found["memory"]

    def close(self) -> None:
        """End the process; it holds nothing worth keeping."""
        with contextlib.suppress(OSError), self._process:  # which closes the pipes and waits
            self._process.kill()
        self._said.close()

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has ended: what follows finds out why
            print(json.dumps(message), file=self._orders, flush=True)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines()]
        useful = [line for line in lines if line and not line.startswith(_CHATTER)]
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"its process {how}{f': {useful[-1]}' if useful else ''}"
