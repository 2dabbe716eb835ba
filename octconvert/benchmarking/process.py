"""`Worker`: a process with exported models, seen from this one; `octconvert.benchmarking.worker` runs in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import octconvert
from octconvert.runtimes import find
from octconvert.runtimes.settings import ExportSettings, Quantization
from octconvert.runtimes.signature import example_inputs
from octconvert.system import environment

if TYPE_CHECKING:
    import keras

_CHATTER = ("INFO", "WARNING", "I0", "W0")


def exported(
    model: keras.Model,
    runtime: str,
    stem: Path,
    batch: int,
    threads: int,
    precision: str | None = None,
    ranges: Sequence[np.ndarray] = (),
) -> dict[str, Any]:
    """Export a model for a runtime, with random inputs beside it, and return the task that `Worker.open` takes.

    Args:
        precision: to which its numbers are rounded.
        ranges: samples that the ranges of its numbers are measured on; none: the random inputs, which serve for a part
            of a model. In a whole one a map that is 0 for all of them has no range, and XNNPACK refuses it.

    Raises:
        UsageError, InputError: as `octconvert.runtimes.Runtime.export`.
    """
    path, inputs = stem.with_suffix(find(runtime).suffix), stem.with_suffix(".npz")
    values = example_inputs(model, batch)
    quantization = None if precision is None else Quantization(precision, tuple(ranges or values.values()))
    find(runtime).export(model, path, ExportSettings(batch, quantization))
    np.savez(inputs, *values.values())
    return {"runtime": runtime, "path": str(path), "threads": threads, "inputs": str(inputs), "names": list(values)}


class WorkerError(Exception):
    """The worker failed; the message is one line."""


class Worker:
    """A process with exported models; a context manager that ends it.

    Args:
        task: of the first model that the worker opens, as `exported` returns it; without one, call `open`.
    """

    def __init__(self, **task: Any):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        root = str(Path(octconvert.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), root)))
        self._process = subprocess.Popen(
            # -P: a file in the working directory may be named like a package.
            [sys.executable, "-P", "-m", "octconvert.benchmarking.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**environment.users_environment(), "PYTHONPATH": path, environment.LOG_LEVEL: "3"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        if task:
            self.open(0, **task)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, model: int, **task: Any) -> None:
        """Open a model, in place of the one that had this number."""
        self._send({"model": model, **task})

    def run(self, untimed: int, timed: int, model: int = 0, whole: bool = True) -> tuple[list[float], float | None]:
        """Run a model; returns (seconds of every timed run, peak memory in MB or None).

        Args:
            untimed, timed: numbers of runs.
            model: its number.
            whole: whether the time includes setting inputs and fetching outputs.

        Raises:
            WorkerError: the model can not be opened or run, or the process has ended.
        """
        self._send({"model": model, "untimed": untimed, "timed": timed, "whole": whole})
        answer = self._answers.readline()
        if not answer:
            raise WorkerError(self._last_words())
        result = json.loads(answer)
        if "error" in result:
            raise WorkerError(result["error"])
        return result["seconds"], result["memory"]

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError), self._process:  # which closes the pipes and waits
            self._process.kill()
        self._errors.close()

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the process has ended: reading its answer will say so
            print(json.dumps(message), file=self._orders, flush=True)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines()]
        useful = [line for line in lines if line and not line.startswith(_CHATTER)]
        end = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"its process {end}{f': {useful[-1]}' if useful else ''}"
