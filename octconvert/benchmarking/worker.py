"""The process that keeps exported models open and runs them: one JSON object a line in, one JSON object a line out.

The order to open a model has no answer: {"model": a number, "runtime", "path", "threads", "inputs": an .npz file,
"names": of these inputs}; a later model replaces one of the same number. The order to run it is {"model", "untimed",
"timed", "whole"}: numbers of runs, and whether the time includes setting inputs and fetching outputs. Its answer is
{"seconds": of every timed run, "memory": megabytes or null}, or {"error"}. The process ends when its stdin is closed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

import numpy as np

from octconvert.runtimes import Session, find

STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # as /proc/self/clear_refs takes it


def main() -> None:
    answers = _own_stdout()
    models: dict[int, _ExportedModel] = {}
    for line in _orders():
        order = json.loads(line)
        number = order.pop("model")
        if "runtime" in order:
            models.pop(number, None)
            models[number] = _ExportedModel(**order)
        else:
            _send(answers, **models[number].run(**order))


class _ExportedModel:
    """One exported model, opened at its first run.

    ``_before``: the memory of the process when it was opened, without the peak of the imports.
    """

    def __init__(self, runtime: str, path: str, threads: int, inputs: str, names: list[str]):
        self._runtime, self._path, self._threads = find(runtime), Path(path), threads
        self._inputs, self._names = inputs, names
        self._session: Session | None = None
        self._before: float | None = None
        self._values: dict[str, np.ndarray] = {}

    def run(self, untimed: int, timed: int, whole: bool) -> dict[str, object]:
        try:
            session = self._session or self._open()
            seconds = _timed(session, self._values, untimed, timed, whole)
        except Exception as error:  # runtimes raise errors of every kind
            return {"error": self._runtime.reason(error)}
        peak = _resident("VmHWM")
        memory = None if self._before is None or peak is None else max(0.0, peak - self._before)
        return {"seconds": seconds, "memory": memory}

    def _open(self) -> Session:
        for module in self._runtime.runs_with:
            importlib.import_module(module)
        _reset_peak()
        self._before = _resident("VmRSS")
        self._session = self._runtime.open(self._path, self._threads)
        with np.load(self._inputs) as stored:
            self._values = dict(zip(self._names, stored.values(), strict=True))
        self._session.feed(self._values)
        return self._session


def _orders() -> Iterator[bytes]:
    """Lines of stdin; when it is closed the process ends at once, even within a run."""
    lines: SimpleQueue[bytes] = SimpleQueue()
    stdin = io.FileIO(0, closefd=False)  # sys.stdin would be locked at exit

    def read() -> None:
        while line := stdin.readline():
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def _own_stdout() -> TextIO:
    """Output of libraries goes to stderr; only the answers go to stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _send(answers: TextIO, **answer: object) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _timed(session: Session, values: dict[str, np.ndarray], untimed: int, timed: int, whole: bool) -> list[float]:
    run = partial(session, values) if whole else session.invoke
    for _ in range(untimed):
        run()
    seconds = []
    for _ in range(timed):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _resident(field: str) -> float | None:
    """Resident memory (VmRSS) or its peak so far (VmHWM), in megabytes; None where the system does not say."""
    try:
        match = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 / 1e6 if match else None


def _reset_peak() -> None:
    """Forget the peak of the imports, where the system can do that."""
    with contextlib.suppress(OSError):
        STATUS.with_name("clear_refs").write_text(RESET_PEAK)


if __name__ == "__main__":
    main()
