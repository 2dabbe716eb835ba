"""Signals that request the end of a program."""

from __future__ import annotations

import signal

STOPPING: dict[int, str] = {
    number: word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up"), ("SIGQUIT", "quit"))
    if (number := getattr(signal, name, None)) is not None
}
"""The signals, and the state of a program that received one."""
IMMEDIATE = getattr(signal, "SIGQUIT", None)
"""The signal that does not wait for any work to be finished."""

ECHO = 1.0
"""Seconds in which a second SIGINT is the first one again: a terminal sends it to every process, and so does the
parent."""


def exit_code(number: int) -> int:
    """The exit code that a shell reports for a signal."""
    return 128 + number


def handled() -> list[int]:
    """Those of `STOPPING` that this process does not ignore: nohup ignores SIGHUP, a shell SIGINT in the background."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
