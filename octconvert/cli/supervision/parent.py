"""Starts the process that does the task, and is there when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octconvert.cli.outcome import FAILED, fail, say
from octconvert.cli.supervision.deaths import Death, doing, last_words, second_try
from octconvert.cli.supervision.signals import AT_ONCE, STOPPING, exit_code, heeded
from octconvert.cli.task import Task
from octconvert.system import temporaries

PATIENCE = 5.0
"""Seconds that the worker has after a signal to end by itself; it may be deaf inside of a library."""

BOOT = """
import sys
try:
    import pickle
    orders = open(int(sys.argv[1]), "rb")
    sys.path[:], sys.argv[:] = pickle.load(orders)
    from octconvert.cli.supervision.worker import main
except BaseException as error:
    said = f"{type(error).__name__}: {error}"
    sys.exit(f"octconvert: the process that does the work can not be started: {said}")
main(orders)
"""
"""What the worker runs. Not -m: it has to find the same modules as this process, however that has come by them."""


def supervise(task: Task) -> int:
    """Have the task done by another process; return the exit code.

    Where that process dies in a step that the result can do without, it is started once more without the step.
    """
    if os.name != "posix" or not sys.executable:  # no descriptors can be handed on, or no Python is known
        from octconvert.cli.commands import perform

        perform(task)
        return 0
    before = _states(task.targets)
    with _Stopping() as stopping, _private_folder() as folder:
        ended = _attempt(task, folder, stopping)
        again = second_try(task, ended) if isinstance(ended, Death) and ended.signal not in STOPPING else None
        if again is not None:
            say(again.message)
            task = again.task
            ended = _attempt(task, folder, stopping)
    if isinstance(ended, int):
        return ended
    written = [target for target, state in _states(task.targets).items() if state != before[target]]
    outcome = f"{', '.join(written)} is written" if written else "nothing was written"
    if ended.signal in STOPPING:
        return fail(f"{STOPPING[ended.signal]} while {doing(ended.stage)}; {outcome}", exit_code(ended.signal))
    return fail(last_words(task, ended, outcome), FAILED)


def _attempt(task: Task, folder: Path | None, stopping: _Stopping) -> int | Death:
    """The worker's exit code, or how it ended without one. What it leaves is in order."""
    heard = _Heard()
    try:
        code = _run(task, folder, heard, stopping)
    except (OSError, RuntimeError) as error:
        return fail(f"the process that does the work can not be started: {error}", FAILED)
    finally:
        temporaries.finish(heard.moves)
        for path in heard.left:
            temporaries.remove(path)
    if heard.code is not None:  # how Python and the libraries come to their end afterwards is all the same
        return heard.code
    if code > 0 and not heard.stages and not stopping.caught:
        return code  # it has said why it can not begin
    stopped = (number for number in STOPPING if code in (exit_code(number), -number))
    number = next(iter(stopping.caught), None) or next(stopped, None) or max(-code, 0)
    return Death(number, tuple(heard.stages))


def _run(task: Task, folder: Path | None, heard: _Heard, stopping: _Stopping) -> int:
    """Start the worker, listen to it and wait for its end."""
    _occupy_standard_descriptors()
    with _Pipe() as orders, _Pipe() as reports:
        handed = (orders.out, reports.into)
        with stopping.held_back():
            process = subprocess.Popen(
                # -P: a file in the working directory may be named like a module of Python.
                [sys.executable, *_interpreter_flags(), "-P", "-c", BOOT, str(orders.out)],
                pass_fds=handed,
                env=None if folder is None else {**os.environ, "TMPDIR": str(folder)},
            )
            stopping.attend(process)
        try:
            orders.close(orders.out)
            reports.close(reports.into)
            listening = threading.Thread(target=heard.listen, args=(os.dup(reports.out),), daemon=True)
            listening.start()
            orders.send((sys.path, sys.argv), (task, handed[1], folder))
            process.wait()
        finally:
            process.kill()
            process.wait()
            if process.returncode < 0:
                _restore_terminal()
        # Not for ever: a process that the worker has forked may still hold its end of the pipe.
        listening.join(timeout=PATIENCE)
    return process.returncode


class _Pipe:
    """Descriptors ``into`` and ``out``; those that are still open are closed at the end."""

    def __enter__(self) -> _Pipe:
        self.out, self.into = os.pipe()
        self._open = {self.out, self.into}
        return self

    def __exit__(self, *_) -> None:
        for descriptor in list(self._open):
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def send(self, *values: Any) -> None:
        """Pickled; a reader that has gone is no error."""
        data = memoryview(b"".join(map(pickle.dumps, values)))
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.into, data) :]


@dataclass
class _Heard:
    """What the worker has said.

    Attributes:
        stages: that it has begun, in order.
        left: what is temporary, and may be there.
        moves: renames it is about.
        code: its exit code, once all is done.
    """

    stages: list[str] = field(default_factory=list)
    left: dict[Path, None] = field(default_factory=dict)
    moves: list[temporaries.Move] = field(default_factory=list)
    code: int | None = None

    def listen(self, descriptor: int) -> None:
        with open(descriptor, encoding="ascii") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # it died while writing
                    self._take(*json.loads(line))

    def _take(self, kind: str, value: Any) -> None:
        match kind:
            case "stage":
                self.stages.append(value)
            case "temporary":
                self.left |= dict.fromkeys(map(Path, value))
            case "removed":
                for path in map(Path, value):
                    self.left.pop(path, None)
            case "moving":
                names = [Path(name) for name in value]
                self.moves = list(zip(names[::2], names[1::2], strict=True))
            case "moved":
                self.moves = []
            case "done":
                self.code = value


class _Stopping(contextlib.AbstractContextManager):
    """Passes signals on to the worker, which gets those of a terminal twice and heeds the first.

    Attributes:
        caught: the signals, in order.
    """

    def __init__(self) -> None:
        self.caught: list[int] = []
        self._process: subprocess.Popen | None = None
        self._timers: list[threading.Timer] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stopping:
        for number in heeded():
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for timer in self._timers:
            timer.cancel()

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """No signal comes through, nor to a process that is started inside until it unblocks them itself."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def attend(self, process: subprocess.Popen) -> None:
        """From now on it gets the signals."""
        self._process = process
        if self.caught:
            process.kill()

    def _catch(self, number: int, frame: Any) -> None:
        self.caught.append(number)
        if self._process is None:
            return
        if len(self.caught) > 1 or number == AT_ONCE:
            self._process.kill()
            return
        self._process.send_signal(number)
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


@contextlib.contextmanager
def _private_folder() -> Iterator[Path | None]:
    """Where the worker has its temporary files, those of libraries too; None where none can be made."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="octconvert-"))
    except OSError:
        yield None
        return
    with temporaries.temporary(folder):
        yield folder


def _states(targets: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
    """What shows whether a file or directory has been replaced."""
    return {target: _state(target) for target in targets}


def _state(target: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(target)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _interpreter_flags() -> list[str]:
    """Options that this Python was started with, as multiprocessing has them."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]


def _occupy_standard_descriptors() -> None:
    """Where stdin, stdout or stderr is closed, a pipe must not get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _restore_terminal() -> None:
    """The progress bar of a process that was killed stays, and the cursor hidden."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("\r\x1b[2K\x1b[?25h", end="", file=sys.stderr, flush=True)
