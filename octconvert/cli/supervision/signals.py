"""Signals that ask a program to end."""

from __future__ import annotations

import signal

INTERRUPT = signal.SIGINT
STOPPING: dict[int, str] = {
    number: word
    for name, word in (("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "hung up"), ("SIGQUIT", "quit"))
    if (number := getattr(signal, name, None)) is not None
}
"""The signals, and what they do to a program in one word."""
AT_ONCE = getattr(signal, "SIGQUIT", None)
"""Nobody waits for the end of what is being done."""


def exit_code(number: int) -> int:
    """As a shell has it."""
    return 128 + number


def heeded() -> list[int]:
    """Those of `STOPPING` that this process does not ignore: nohup ignores SIGHUP, a shell SIGINT in the background."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
