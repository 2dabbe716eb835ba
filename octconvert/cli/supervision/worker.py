"""The process that does the task: says what it is about, and ends when its parent has gone."""

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
from typing import Any, BinaryIO, NoReturn

from octconvert.cli.outcome import FAILED, explain
from octconvert.cli.supervision.signals import AT_ONCE, STOPPING, exit_code, heeded
from octconvert.cli.task import Task
from octconvert.system import temporaries


def main(orders: BinaryIO) -> NoReturn:
    """Do the task that comes out of ``orders``, a pipe whose other end nothing but the parent holds."""
    task, descriptor, folder = pickle.load(orders)
    for handed in (descriptor, orders.fileno()):
        os.set_inheritable(handed, False)
    reports = _Reports(descriptor)
    temporaries.listen(reports.say)
    _end_with_parent(orders.fileno())
    stopping, about = _Stopping(), (task.models, task.files)
    with temporaries.temporary(folder) if folder is not None else contextlib.nullcontext():
        try:
            stopping.listen()
            code = _perform(task, reports)
        except BaseException as error:
            number = stopping.end()
            code = explain(error, *about, task.console.debug) if number is None else exit_code(number)
        number = stopping.end()
    if number is None:
        reports.say("done", code)
        sys.exit(code)
    # The end of Python would run into what was interrupted.
    temporaries.remove_all()
    os._exit(code)


def _perform(task: Task, reports: _Reports) -> int:
    if task.console.debug:
        faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    from octconvert.cli.commands import perform

    perform(task, lambda stage: reports.say("stage", stage))
    sys.stdout.flush()
    return 0


class _Reports:
    """Lines of JSON for the parent, ['kind', value] each."""

    def __init__(self, descriptor: int):
        self._descriptor, self._process = descriptor, os.getpid()
        self._lock = threading.RLock()

    def say(self, kind: str, value: Any) -> None:
        if os.getpid() != self._process:
            return
        line = memoryview(f"{json.dumps([kind, value])}\n".encode())
        with self._lock, contextlib.suppress(OSError):  # a parent that has gone is the business of another thread
            while line:
                line = line[os.write(self._descriptor, line) :]


class _Stopping:
    """Turns the first signal that asks for the end into an exception; the parent sees to it that the end comes."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._ended = False

    def listen(self) -> None:
        for number in heeded():
            if number != AT_ONCE:
                signal.signal(number, self._catch)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def end(self) -> int | None:
        """Heed no more signals; returns the one that came."""
        self._ended = True
        return self._number

    def _catch(self, number: int, frame: Any) -> None:
        if self._ended or self._number is not None:
            return
        self._number = number
        # What is thrown away half done may complain on its way; it is no news.
        sys.unraisablehook = lambda unraisable: None
        raise KeyboardInterrupt


def _end_with_parent(orders: int) -> None:
    """Remove what is temporary and end this process once nobody holds the other end of the pipe any more."""

    def wait() -> None:
        while os.read(orders, 1):
            pass
        temporaries.remove_all()
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()
