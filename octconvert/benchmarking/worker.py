"""The process that holds one exported model open and runs it: a JSON object a line in, a JSON object a line out.

First comes what to open: {"runtime", "path", "threads", "inputs": an .npz file, "names": of these inputs}; then, as
often as wanted, {"untimed", "timed"}: how many runs. The answers: {"seconds": of every timed run, "memory": megabytes
or null}, or {"error"}, after which it ends. It ends as well when nobody writes to it any more.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from octconvert.runtimes import Run, find

STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # as /proc/self/clear_refs takes it


def main() -> None:
    answers = _own_stdout()
    task = json.loads(sys.stdin.readline())
    runtime = find(task["runtime"])
    try:
        for module in runtime.runs_with:
            importlib.import_module(module)
        _reset_peak()
        before = _resident("VmRSS")
        run = runtime.open(Path(task["path"]), task["threads"])
        with np.load(task["inputs"]) as stored:
            inputs = dict(zip(task["names"], stored.values(), strict=True))
        for line in sys.stdin:
            seconds = _timed(run, inputs, **json.loads(line))
            peak = _resident("VmHWM")
            memory = None if before is None or peak is None else max(0.0, peak - before)
            _tell(answers, seconds=seconds, memory=memory)
    except Exception as error:  # runtimes raise of every kind
        _tell(answers, error=runtime.reason(error))


def _own_stdout() -> TextIO:
    """What libraries print goes to stderr; only the answers go to stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _tell(answers: TextIO, **found: object) -> None:
    print(json.dumps(found), file=answers, flush=True)


def _timed(run: Run, inputs: dict[str, np.ndarray], untimed: int, timed: int) -> list[float]:
    for _ in range(untimed):
        run(inputs)
    seconds = []
    for _ in range(timed):
        started = time.perf_counter()
        run(inputs)
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
