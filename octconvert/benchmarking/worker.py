"""The process that holds exported models open and runs them: a JSON object a line in, a JSON object a line out.

What to open comes first, and is not answered: {"model": a number, "runtime", "path", "threads", "inputs": an .npz file,
"names": of these inputs}; another one of that number takes its place. Then, as often as wanted, {"model", "untimed",
"timed", "whole"}: how many runs, and whether handing over inputs and outputs counts. The answers: {"seconds": of every
timed run, "memory": megabytes or null}, or {"error"}. It ends when nobody writes to it any more.
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
    models: dict[int, _Model] = {}
    for line in _orders():
        order = json.loads(line)
        number = order.pop("model")
        if "runtime" in order:
            models.pop(number, None)
            models[number] = _Model(**order)
        else:
            _tell(answers, **models[number].run(**order))


class _Model:
    """One exported model, opened at its first run.

    ``before``: the process's memory when it was opened; what the imports needed for a moment does not count.
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
        except Exception as error:  # runtimes raise of every kind
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
    """Lines of stdin; when nobody writes to it any more the process ends at once, whatever it is running."""
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
    """What libraries print goes to stderr; only the answers go to stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _tell(answers: TextIO, **found: object) -> None:
    print(json.dumps(found), file=answers, flush=True)


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
    """Resident memory (VmRSS) or the most of it so far (VmHWM), in megabytes; None where the system does not tell."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None


def _reset_peak() -> None:
    """What the imports needed for a moment does not count; not every system lets a process forget it."""
    with contextlib.suppress(OSError):
        STATUS.with_name("clear_refs").write_text(RESET_PEAK)


if __name__ == "__main__":
    main()
