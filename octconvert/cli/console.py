"""Where results, progress and JSON of the command line go."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from octconvert.cli.spelling import shell_command, spell
from octconvert.errors import OctconvertError, UsageError
from octconvert.results.report import Report
from octconvert.results.shown import Shown, View, as_page, renderable
from octconvert.system import environment
from octconvert.system.progress import Progress, notice_of
from octconvert.system.progress_bars import plain_lines, progress_bar
from octconvert.system.streams import discarded_stderr
from octconvert.system.targets import write_atomically
from octconvert.text import printable

STDOUT = "-"
STARTING = "starting TensorFlow"
"""The first stage of every command."""

OnStage: TypeAlias = Callable[[str], None]
"""Called with the name of a stage when it begins."""


class StartError(OctconvertError):
    """TensorFlow can not be started."""

    exit_code = 1


@dataclass(frozen=True)
class Console:
    """How one command prints its result and its progress.

    Attributes:
        json: a file, `STDOUT`, or None for no JSON.
        quiet, verbose, debug: the flags of these names.
        html: a file for the page, or None.

    Raises:
        UsageError: on creation, where they contradict each other.
    """

    json: str | None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    html: str | None = None

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other")

    @contextlib.contextmanager
    def session(self, on_stage: OnStage | None = None) -> Iterator[Progress | None]:
        """Start TensorFlow, silence libraries, keep stdout clean, and show progress on a terminal."""
        if on_stage is not None:
            on_stage(STARTING)
        # Whatever a library prints belongs to stderr: stdout may be read by a program.
        with contextlib.redirect_stdout(sys.stderr), self._progress() as progress:
            if not self.debug:
                start_quietly()
            yield progress if on_stage is None else _reporting_stages(progress, on_stage)

    def exporting(self, exports: bool = True) -> contextlib.AbstractContextManager[None]:
        """Silence the converters of other runtimes, which write to stderr in spite of their options."""
        audible = not exports or self.debug or os.environ.get(environment.LOG_LEVEL) == "0"
        return contextlib.nullcontext() if audible else discarded_stderr()

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Progress | None]:
        if self.quiet or self.debug or sys.stderr is None:
            yield None
            return
        if not sys.stderr.isatty():
            yield plain_lines(lambda line: print(f"octconvert: {line}", file=sys.stderr, flush=True))
            return
        # Its own descriptor, so that it can be seen while stderr is silenced.
        stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding)
        with stream, progress_bar(STARTING, stream) as progress:
            yield progress

    def show_report(self, report: Report) -> None:
        """A report, for people and as JSON."""
        import json

        from octconvert.display.serialized import to_dict

        self.show(report, lambda: json.dumps(to_dict(report), indent=2))

    def show(self, result: Shown, json: Callable[[], str], written: Sequence[str] = ()) -> None:
        """A result for people, as a page, and as JSON, where these are requested.

        Args:
            written: files besides the page and the JSON that the report names at its end.
        """
        if self.html is not None:
            write_atomically(Path(self.html), as_page(result, View(spell=spell, command=shell_command)))
        if self.json == STDOUT:
            print(json())
            return
        if self.json is not None:
            write_atomically(Path(self.json), json() + "\n")
        if not self.quiet:
            from rich.console import Console as Screen

            from octconvert.display.printing import Printable

            screen = Screen()
            with screen.capture() as captured:
                screen.print(Printable(renderable(result, View(self.verbose, spell, shell_command, " \\"))), crop=False)
            files = [file for file in (*written, self.html, self.json) if file is not None]
            lines = [f"written: {printable.line(file)}\n" for file in files]
            # Written here because rich would end the process by itself where the reader has gone.
            sys.stdout.write("".join([captured.get(), *(["\n"] if lines else []), *lines]))


def _reporting_stages(progress: Progress | None, on_stage: OnStage) -> Progress:
    """``progress``, and ``on_stage`` once for each stage."""
    current = STARTING

    def both(stage: str, done: int, total: int) -> None:
        nonlocal current
        if stage != current and notice_of(stage) is None:
            current = stage
            on_stage(stage)
        if progress is not None:
            progress(stage, done, total)

    return both


def start_quietly() -> None:
    """Import TensorFlow without its log lines, unless the environment requests all of them.

    Raises:
        StartError: it can not be imported.
        UsageError: Keras is set to run on a backend that is not there.
    """
    environment.set_defaults()
    environment.check_backend()
    if os.environ[environment.LOG_LEVEL] == "0":
        return
    warnings.simplefilter("ignore")
    try:
        with discarded_stderr():
            import tensorflow  # noqa: F401
        from absl import logging
    except (ImportError, MemoryError, OSError) as error:
        raise StartError(f"TensorFlow can not be started: {_root(error)}") from error
    logging.set_verbosity(logging.ERROR)


def _root(error: BaseException) -> str:
    """The first error of a chain: TensorFlow wraps a whole traceback around the error of the system's loader."""
    while error.__context__ is not None:
        error = error.__context__
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {message[:300]}' if message else ''}"
