"""Progress: one bar on a terminal and in a notebook, lines in a pipe."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from octconvert.system.notebooks import in_notebook, quiet_work
from octconvert.system.progress import Progress, notice_of, silent

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

Result = TypeVar("Result")

INTERVAL, REFRESH = 10.0, 0.25
"""Seconds between two lines in a pipe, where shorter work prints none; between two states of a notebook's bar."""
STARTING = "starting"
_CODE = "<pre style=\"font-family:Menlo,'DejaVu Sans Mono',consolas,'Courier New',monospace;margin:0\">{code}</pre>"


@contextlib.contextmanager
def progress_bar(stage: str, stream: TextIO) -> Iterator[Progress]:
    """One line with the current stage, how long it has taken, and about how long it takes yet; notices above it."""
    from rich.console import Console as Screen

    screen = Screen(file=stream)
    with _bar(stage, console=screen, transient=True) as bar:

        def show(stage: str, done: int, total: int) -> None:
            notice = notice_of(stage)
            if notice is not None:
                screen.print(notice, markup=False, highlight=False)
            else:
                _advance(bar, stage, done, total)

        yield show


@contextlib.contextmanager
def notebook_bar(stage: str) -> Iterator[Progress]:
    """The same below a cell of a notebook: one output that is replaced, and gone at the end; notices above it.

    It is shown by IPython itself, because widgets are not installed everywhere, and are lost in saved notebooks.
    """
    from IPython.display import display

    bar, shown_at = _bar(stage, auto_refresh=False), time.monotonic()
    handle = display(_bundle(bar), raw=True, display_id=True)

    def show(stage: str, done: int, total: int) -> None:
        nonlocal shown_at
        notice = notice_of(stage)
        if notice is not None:
            print(notice)
            return
        begins, now = _advance(bar, stage, done, total), time.monotonic()
        if begins or now - shown_at >= REFRESH:
            shown_at = now
            handle.update(_bundle(bar), raw=True)

    try:
        yield show
    finally:
        handle.update({"text/plain": "", "text/html": ""}, raw=True)


def _bar(stage: str, **settings: Any) -> ProgressBar:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    # Stages have names of many lengths; padded, they do not push the bar about.
    name = TextColumn("{task.description:<26}", markup=False)
    left = TextColumn("left")
    columns = (name, BarColumn(20), TextColumn("{task.fields[count]:>9}"), TimeElapsedColumn(), TimeRemainingColumn())
    bar = ProgressBar(*columns, left, **settings)
    bar.add_task(stage, total=None, count="")
    return bar


def _advance(bar: ProgressBar, stage: str, done: int, total: int) -> bool:
    """Put a bar to where the work is; whether a stage begins."""
    begins = stage != bar.tasks[0].description
    if begins:
        # A new task: an old one keeps its total and its start.
        bar.remove_task(bar.tasks[0].id)
        bar.add_task(stage, total=None, count="")
    count = f"{done}/{total}" if total else ""
    bar.update(bar.tasks[0].id, completed=done, total=total or None, count=count, refresh=begins)
    return begins


def _bundle(bar: ProgressBar) -> dict[str, str]:
    """The bar as it is now, for a notebook."""
    from rich.console import Console as Screen

    screen = Screen(file=io.StringIO(), width=90, record=True, force_jupyter=False, color_system="truecolor")
    screen.print(bar.get_renderable())
    html = screen.export_html(inline_styles=True, code_format=_CODE, clear=False)
    return {"text/html": html, "text/plain": screen.export_text().rstrip()}


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


def with_progress(stage: Callable[[Mapping[str, Any]], Result]) -> Callable[[Mapping[str, Any]], Result]:
    """A stage of the pipeline whose argument ``progress`` may also be True, False or missing, see `progress_for`."""

    def run(arguments: Mapping[str, Any]) -> Result:
        with quiet_work(), progress_for(arguments.get("progress")) as progress:
            return stage({**arguments, "progress": progress})

    return run


def progress_for(requested: Progress | bool | None) -> AbstractContextManager[Progress]:
    """A function as it is; True: a bar, or lines where stderr is no terminal; None: a bar in a notebook alone."""
    if requested is None:
        requested = in_notebook()
    if not isinstance(requested, bool):
        return nullcontext(requested)
    if not requested or sys.stderr is None:
        return nullcontext(silent)
    if in_notebook():
        return notebook_bar(STARTING)
    if sys.stderr.isatty():
        return progress_bar(STARTING, sys.stderr)
    return nullcontext(plain_lines(lambda line: print(f"octconvert: {line}", file=sys.stderr, flush=True)))
