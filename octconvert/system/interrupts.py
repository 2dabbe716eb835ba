"""Interrupts (Ctrl-C, SIGINT) that end work early and keep what it has done.

The first interrupt within `kept` is a request: work that can be ended at any point (`breakable`) is left by `Ended`,
whatever else runs goes on to its end. The second one is an interrupt like any other.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Ended(BaseException):
    """The user has ended this work. No Exception: libraries must not handle it as an error of theirs."""


@dataclass
class _State:
    """Of this process.

    Attributes:
        is_kept: whether an interrupt is a request.
        is_breakable: whether a request ends the work at once.
        is_requested: whether there was one.
    """

    is_kept: bool = False
    is_breakable: bool = False
    is_requested: bool = False


_state = _State()
_listeners: list[Callable[[bool], None]] = []


def listen(listener: Callable[[bool], None]) -> None:
    """Call it whenever work that is `kept` begins (True) and ends (False)."""
    _listeners.append(listener)


@contextmanager
def kept() -> Iterator[None]:
    """Work that keeps what it has done when it is interrupted.

    Nothing changes outside the main thread, which signals never reach. A program with a handler of its own for SIGINT
    keeps it, and calls `request`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.is_kept, _state.is_requested = True, False
    _announce(True)
    try:
        with _handled():
            yield
    finally:
        _state.is_kept = _state.is_requested = False
        _announce(False)


def _announce(is_kept: bool) -> None:
    for listener in _listeners:
        listener(is_kept)


@contextmanager
def _handled() -> Iterator[None]:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if not may_request():
        raise KeyboardInterrupt
    request()


@contextmanager
def breakable() -> Iterator[None]:
    """Work within `kept` that can be ended at any point: it is left by `Ended`.

    Raises:
        Ended: an interrupt is requested.
    """
    try:
        _state.is_breakable = True
        check()
        yield
    finally:
        _state.is_breakable = False


def may_request() -> bool:
    """Whether an interrupt is a request now: it is the first one within `kept`."""
    return _state.is_kept and not _state.is_requested


def is_requested() -> bool:
    """Whether the user has ended the work that is `kept`."""
    return _state.is_requested


def request() -> None:
    """
    Raises:
        Ended: the work under way is `breakable`.
    """
    _state.is_requested = True
    check()


def check() -> None:
    """To be called now and then in `breakable` work: libraries swallow exceptions in some places.

    Raises:
        Ended: an interrupt is requested.
    """
    if _state.is_requested and _state.is_breakable:
        raise Ended
