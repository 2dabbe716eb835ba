"""The process that does the task: reports its stages, and ends when its parent has gone."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import math
import os
import pickle
import signal
import sys
import threading
import time
from functools import partial
from types import FrameType
from typing import Any, BinaryIO, NoReturn

from octconvert.cli.outcome import FAILED, explain
from octconvert.cli.supervision.signals import ECHO, IMMEDIATE, STOPPING, exit_code, handled
from octconvert.cli.task import Task
from octconvert.system import interrupts, temporaries


def main(orders: BinaryIO) -> NoReturn:
    """Do the task that is read from ``orders``, a pipe whose other end only the parent has open."""
    task, descriptor, folder = pickle.load(orders)
    for inherited in (descriptor, orders.fileno()):
        os.set_inheritable(inherited, False)
    reports = _Reports(descriptor)
    temporaries.listen(reports.send)
    interrupts.listen(partial(reports.send, "keeps"))
    signals = _InterruptOnSignal(reports)
    with temporaries.temporary(folder) if folder is not None else contextlib.nullcontext():
        _end_with_parent(orders.fileno())  # which may have gone by now: the folder is known first
        try:
            signals.install()
            code = _perform(task, reports)
        except BaseException as error:
            number = signals.end()
            code = explain(error, task.models, task.files, task.console.debug) if number is None else exit_code(number)
        number = signals.end()
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
    """Raises KeyboardInterrupt at the first signal that requests the end; the parent enforces the end.

    Work that keeps what it has done is ended by the first SIGINT, and the task goes on; the parent is informed.
    """

    def __init__(self, reports: _Reports) -> None:
        self._number: int | None = None
        self._ended = False
        self._kept_at = -math.inf
        self._reports = reports

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
        is_echo = number == signal.SIGINT and time.monotonic() - self._kept_at < ECHO
        if self._ended or self._number is not None or is_echo:
            return
        if number == signal.SIGINT and interrupts.may_request():
            self._kept_at = time.monotonic()
            self._reports.send("kept", None)
            interrupts.request()
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
        temporaries.remove_all_at_end()
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()
