"""Starts the process that does the task, and reports how it ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from octconvert.cli.outcome import FAILED, fail, say
from octconvert.cli.supervision.deaths import Death, activity, death_message, retry_of
from octconvert.cli.supervision.signals import ECHO, IMMEDIATE, STOPPING, exit_code, handled
from octconvert.cli.task import Task
from octconvert.system import temporaries

PATIENCE, PATIENCE_KEPT = 5.0, 60.0
"""Seconds that the worker has after a signal to end by itself, and after an interrupt to say that it keeps its work;
inside a library it does not react."""

BOOT = """
import sys
try:
    import pickle
    orders = open(int(sys.argv[1]), "rb")
    sys.path[:], sys.argv[:] = pickle.load(orders)
    from octconvert.cli.supervision.worker import main
except BaseException as error:
    import os
    folder = os.environ.get("TMPDIR", "")
    if os.path.basename(folder).startswith("octconvert-") and not os.listdir(folder):
        os.rmdir(folder)  # the parent was killed before it sent anything
    message = f"{type(error).__name__}: {error}"
    sys.exit(f"octconvert: the process that does the work can not be started: {message}")
main(orders)
"""
"""What the worker runs. Not -m: it must import the same modules as this process."""


def supervise(task: Task) -> int:
    """Do the task in another process; return the exit code.

    Where that process dies in a step that the result can do without, the task is repeated once without the step.
    """
    if os.name != "posix" or not sys.executable:  # descriptors can not be inherited, or no Python is known
        from octconvert.cli.commands import perform

        perform(task)
        return 0
    before = _states(task.targets)
    with _SignalForwarder() as signals, _private_folder() as folder:
        end = _attempt(task, folder, signals)
        retry = retry_of(task, end) if isinstance(end, Death) and end.signal not in STOPPING else None
        if retry is not None:
            say(retry.message)
            task = retry.task
            end = _attempt(task, folder, signals)
    if isinstance(end, int):
        return end
    written = [target for target, state in _states(task.targets).items() if state != before[target]]
    outcome = f"{', '.join(written)} is written" if written else "nothing was written"
    if end.signal in STOPPING:
        return fail(f"{STOPPING[end.signal]} while {activity(end.stage)}; {outcome}", exit_code(end.signal))
    return fail(death_message(task, end, outcome), FAILED)


def _attempt(task: Task, folder: Path | None, signals: _SignalForwarder) -> int | Death:
    """The worker's exit code, or how it died; its temporary files are removed, its renames finished."""
    messages = _Messages(on_kept=signals.forget, on_keeps=signals.keeps)
    try:
        code = _run(task, folder, messages, signals)
    except (OSError, RuntimeError) as error:
        return fail(f"the process that does the work can not be started: {error}", FAILED)
    finally:
        temporaries.finish(messages.moves)
        for path in messages.files:
            temporaries.remove(path)
    if messages.code is not None:  # how Python and the libraries end afterwards does not matter
        return messages.code
    if code > 0 and not messages.stages and not signals.received:
        return code  # it has printed why it can not begin
    stopped = (number for number in STOPPING if code in (exit_code(number), -number))
    number = next(iter(signals.received), None) or next(stopped, None) or max(-code, 0)
    return Death(number, tuple(messages.stages))


def _run(task: Task, folder: Path | None, messages: _Messages, signals: _SignalForwarder) -> int:
    """Start the worker, read its messages and wait for its end."""
    _occupy_standard_descriptors()
    with _Pipe() as orders, _Pipe() as reports:
        with signals.blocked():
            process = subprocess.Popen(
                # -P: a file in the working directory may have the name of a module of Python.
                [sys.executable, *_interpreter_flags(), "-P", "-c", BOOT, str(orders.out)],
                pass_fds=(orders.out, reports.into),
                env=None if folder is None else {**os.environ, "TMPDIR": str(folder)},
            )
            signals.forward_to(process)
        inherited = reports.into
        try:
            orders.close(orders.out)
            reports.close(reports.into)
            reader = threading.Thread(target=messages.read, args=(os.dup(reports.out),), daemon=True)
            reader.start()
            orders.send((sys.path, sys.argv), (task, inherited, folder))
            process.wait()
        finally:
            process.kill()
            process.wait()
            if process.returncode < 0:
                _restore_terminal()
        # With a timeout: a process that the worker has forked may keep its end of the pipe open.
        reader.join(timeout=PATIENCE)
    return process.returncode


class _Pipe:
    """Descriptors ``into`` and ``out``; those that are still open at the end are closed."""

    def __enter__(self) -> _Pipe:
        self.out, self.into = os.pipe()
        self._open = {self.out, self.into}
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in list(self._open):
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def send(self, *values: Any) -> None:
        """Write them, pickled; a reader that has gone is no error."""
        data = memoryview(b"".join(map(pickle.dumps, values)))
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.into, data) :]


@dataclass
class _Messages:
    """What the worker has reported.

    Attributes:
        stages: those it has begun, in order.
        files: temporary files and directories that may still exist.
        moves: renames that it has begun.
        code: its exit code, once the task is done.
        on_kept: called where an interrupt has only ended a part of the work, and the task goes on.
        on_keeps: called where such a part begins (True) and ends (False).
    """

    stages: list[str] = field(default_factory=list)
    files: dict[Path, None] = field(default_factory=dict)
    moves: list[temporaries.Move] = field(default_factory=list)
    code: int | None = None
    on_kept: Callable[[], None] = lambda: None
    on_keeps: Callable[[bool], None] = lambda keeps: None

    def read(self, descriptor: int) -> None:
        """Lines of JSON until the worker closes its end."""
        with open(descriptor, encoding="ascii") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # it died while writing
                    self._take(*json.loads(line))

    def _take(self, kind: str, value: Any) -> None:
        match kind:
            case "stage":
                self.stages.append(value)
            case "temporary":
                self.files |= dict.fromkeys(map(Path, value))
            case "removed":
                for path in map(Path, value):
                    self.files.pop(path, None)
            case "moving":
                names = [Path(name) for name in value]
                self.moves = list(zip(names[::2], names[1::2], strict=True))
            case "moved":
                self.moves = []
            case "kept":
                self.on_kept()
            case "keeps":
                self.on_keeps(value)
            case "done":
                self.code = value


class _SignalForwarder(contextlib.AbstractContextManager["_SignalForwarder"]):
    """Forwards signals to the worker, which receives those of a terminal twice and reacts to the first.

    Attributes:
        received: the signals, in order.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._timers: list[threading.Timer] = []
        self._before: dict[int, Any] = {}
        self._forgotten_at = -math.inf
        self._patience = PATIENCE

    def keeps(self, begins: bool) -> None:
        """The worker begins, or ends, work that it keeps when it is interrupted."""
        self._patience = PATIENCE_KEPT if begins else PATIENCE

    def forget(self) -> None:
        """The worker goes on: the interrupts so far do not end it, nor does one that is still on its way."""
        self._forgotten_at = time.monotonic()
        self.received.clear()
        for timer in self._timers:
            timer.cancel()
        say("interrupted: what the calibration has done is kept; interrupt again to end without a result")

    def __enter__(self) -> _SignalForwarder:
        for number in handled():
            self._before[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for timer in self._timers:
            timer.cancel()

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Block the signals, also for a process that is started inside, until it unblocks them itself."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def forward_to(self, process: subprocess.Popen[bytes]) -> None:
        """From now on the process receives the signals."""
        self._process = process
        if self.received:
            process.kill()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and time.monotonic() - self._forgotten_at < ECHO:
            return
        self.received.append(number)
        if self._process is None:
            return
        if len(self.received) > 1 or number == IMMEDIATE:
            self._process.kill()
            return
        timer = threading.Timer(self._patience if number == signal.SIGINT else PATIENCE, self._process.kill)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()
        self._process.send_signal(number)


@contextlib.contextmanager
def _private_folder() -> Iterator[Path | None]:
    """The worker's directory for temporary files, those of libraries too; None where none can be created."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="octconvert-"))
    except OSError:
        yield None
        return
    with temporaries.temporary(folder):
        yield folder


def _states(targets: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
    """The state of each file or directory, by which a replaced one is recognised."""
    return {target: _state(target) for target in targets}


def _state(target: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(target)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _interpreter_flags() -> list[str]:
    """Options that this Python was started with; multiprocessing passes them on as well."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]


def _occupy_standard_descriptors() -> None:
    """Where stdin, stdout or stderr is closed, no pipe may get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _restore_terminal() -> None:
    """A process that was killed leaves its progress bar, and the cursor hidden."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("\r\x1b[2K\x1b[?25h", end="", file=sys.stderr, flush=True)
