"""Progress on a terminal, one bar, and in a pipe, lines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from octconvert.system.progress import Progress, notice_of

INTERVAL = 10.0
"""Seconds between two lines in a pipe; shorter work prints none."""


@contextlib.contextmanager
def progress_bar(stage: str, stream: TextIO) -> Iterator[Progress]:
    """One line with the current stage, how long it has taken, and about how long it takes yet; notices above it."""
    from rich.console import Console as Screen
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    # Stages have names of many lengths; padded, they do not push the bar about.
    name = TextColumn("{task.description:<26}", markup=False)
    left = TextColumn("left")
    columns = (name, BarColumn(20), TextColumn("{task.fields[count]:>9}"), TimeElapsedColumn(), TimeRemainingColumn())
    screen = Screen(file=stream)
    with ProgressBar(*columns, left, console=screen, transient=True) as progress:
        progress.add_task(stage, total=None, count="")

        def show(stage: str, done: int, total: int) -> None:
            notice = notice_of(stage)
            if notice is not None:
                screen.print(notice, markup=False, highlight=False)
                return
            begins = stage != progress.tasks[0].description
            if begins:
                # A new task: an old one keeps its total and its start.
                progress.remove_task(progress.tasks[0].id)
                progress.add_task(stage, total=None, count="")
            count = f"{done}/{total}" if total else ""
            progress.update(progress.tasks[0].id, completed=done, total=total or None, count=count, refresh=begins)

        yield show


def plain_lines(write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Progress:
    """A line every `INTERVAL` seconds: the stage, how far it is, and the seconds since the start; notices before it.

    Args:
        write: takes one line; a reader that has gone is no error.
    """
    started = clock()
    last = started
    notices: list[str] = []

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now, notice = clock(), notice_of(stage)
        if notice is not None:
            notices.append(notice)
        elif now - last >= INTERVAL:
            last = now
            line = f"{stage}{f', {done} of {total}' if total else ''} ({now - started:.0f} s)"
            with contextlib.suppress(OSError):
                for each in (*notices, line):
                    write(each)
            notices.clear()

    return show
