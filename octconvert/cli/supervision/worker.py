"""The process that does the task: reports its stages, and ends when its parent has gone."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import pickle
import signal
import sys
import threading
from types import FrameType
from typing import Any, BinaryIO, NoReturn

from octconvert.cli.outcome import FAILED, explain
from octconvert.cli.supervision.signals import IMMEDIATE, STOPPING, exit_code, handled
from octconvert.cli.task import Task
from octconvert.system import temporaries


def main(orders: BinaryIO) -> NoReturn:
    """Do the task that is read from ``orders``, a pipe whose other end only the parent has open."""
    task, descriptor, folder = pickle.load(orders)
    for inherited in (descriptor, orders.fileno()):
        os.set_inheritable(inherited, False)
    reports = _Reports(descriptor)
    temporaries.listen(reports.send)
    _end_with_parent(orders.fileno())
    interrupts = _InterruptOnSignal()
    with temporaries.temporary(folder) if folder is not None else contextlib.nullcontext():
        try:
            interrupts.install()
            code = _perform(task, reports)
        except BaseException as error:
            number = interrupts.end()
            code = explain(error, task.models, task.files, task.console.debug) if number is None else exit_code(number)
        number = interrupts.end()
    if number is None:
        reports.send("done", code)
        sys.exit(code)
    # A normal exit of Python could hang in the code that was interrupted.
    temporaries.remove_all()
    os._exit(code)


def _perform(task: Task, reports: _Reports) -> int:
    if task.console.debug:
        faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from octconvert.cli.commands import perform

    perform(task, lambda stage: reports.send("stage", stage))
    sys.stdout.flush()
    return 0


class _Reports:
    """Lines of JSON for the parent, ['kind', value] each."""

    def __init__(self, descriptor: int):
        self._descriptor, self._process = descriptor, os.getpid()
        self._lock = threading.RLock()

    def send(self, kind: str, value: Any) -> None:
        if os.getpid() != self._process:
            return
        line = memoryview(f"{json.dumps([kind, value])}\n".encode())
        with self._lock, contextlib.suppress(OSError):  # another thread ends the process once the parent has gone
            while line:
                line = line[os.write(self._descriptor, line) :]


class _InterruptOnSignal:
    """Raises KeyboardInterrupt at the first signal that requests the end; the parent enforces the end."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._ended = False

    def install(self) -> None:
        for number in handled():
            if number != IMMEDIATE:
                signal.signal(number, self._interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def end(self) -> int | None:
        """Ignore further signals; return the one that was received."""
        self._ended = True
        return self._number

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._ended or self._number is not None:
            return
        self._number = number
        # Objects that are dropped half done may complain; that is expected.
        sys.unraisablehook = lambda unraisable: None
        raise KeyboardInterrupt


def _end_with_parent(orders: int) -> None:
    """Remove temporary files and end this process once the other end of the pipe is closed."""

    def wait() -> None:
        while os.read(orders, 1):
            pass
        temporaries.remove_all()
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()
