"""The command line: arguments -> a checked `Task` -> exit code.

    0    converted
    1    a check failed, the process that did the work died, or something unexpected went wrong; nothing was written
    2    bad usage, or an input that can not be read
    3    nothing to convert; nothing was written
    129  hung up (SIGHUP)
    130  interrupted
    141  the reader of stdout has gone, as in "octconvert ... | head"
    143  terminated (SIGTERM)

TensorFlow takes seconds to start, so nothing here imports it, nor NumPy. A process of its own does the task, and this
one supervises it (`octconvert.cli.supervision`).
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

from octconvert.cli.bench import bench
from octconvert.cli.console import STDOUT
from octconvert.cli.convert import convert
from octconvert.cli.diff import diff
from octconvert.cli.export import export
from octconvert.cli.outcome import explain, fail
from octconvert.cli.task import Task
from octconvert.system.environment import version


def _version() -> str:
    return version() or "unknown (not installed)"


app = App(
    name="octconvert",
    help="Turn a trained Keras CNN into an Octave-Convolution CNN, weights and all.",
    help_epilogue="Exit codes: 0 converted, 1 a check failed, 2 bad usage or unreadable input, 3 nothing to convert.",
    help_format="plaintext",
    usage="Usage: octconvert MODEL [OPTIONS]\n       octconvert diff A B [OPTIONS]\n"
    "       octconvert bench A [B ...] [OPTIONS]\n       octconvert export MODEL -o OUT [OPTIONS]",
    version=_version,
    default_parameter=Parameter(negative=(), show_default=False),
)

app.default(convert)
for command in (diff, bench, export):
    app.command(command)


# --- from arguments to an exit code ---------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        argv: the arguments; this process then does the task. None: those of this process; a process of its own does
            the task, supervised by this one.
    """
    for stream in (sys.stdout, sys.stderr):
        # A layer's name must not break the report where the terminal can not encode it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if argv is None:
        from octconvert.cli.supervision import supervise

        sys.exit(_run(_with_json_values(sys.argv[1:]), supervise))
    sys.exit(_run(_with_json_values(argv), _here))


def _here(task: Task) -> int:
    from octconvert.cli.commands import perform

    perform(task)
    return 0


def _run(tokens: Sequence[str], work: Callable[[Task], int]) -> int:
    try:
        command, arguments, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return fail(f"{_usage(error)} (see octconvert --help)", 2)
    values = dict(_flat(arguments.kwargs))
    files = tuple(value for value in values.values() if isinstance(value, str))
    try:
        task = command(*arguments.args, **arguments.kwargs)
        code = work(replace(task, files=files)) if isinstance(task, Task) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        models = [str(value) for value in arguments.args]
        return explain(error, models, files, values.get("debug", False))
    return code


def _flat(arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each parameter by name: those of a dataclass one by one."""
    for name, value in arguments.items():
        if dataclasses.is_dataclass(value):
            yield from vars(value).items()
        else:
            yield name, value


def _usage(error: CycloptsError) -> str:
    """cyclopts' message in one sentence without its full stop."""
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument '{(error.unused_tokens or ['?'])[0]}'"
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, MissingArgumentError):
        text = re.sub(r'Command "(\w+)" parameter', r"\1:", text).replace("Parameter ", "")
    return text


def _with_json_values(tokens: Sequence[str]) -> list[str]:
    """The arguments with '-' as the value of a bare --json.

    Only '-' and names ending in .json count as its value, so that "octconvert --json model.h5" can never write over the
    model.
    """
    result: list[str] = []
    pending = list(tokens)
    while pending:
        token = pending.pop(0)
        if token == "--":
            return [*result, token, *pending]
        if token == "--json":
            follows = bool(pending) and (pending[0] == STDOUT or pending[0].lower().endswith(".json"))
            token = f"--json={pending.pop(0) if follows else STDOUT}"
        result.append(token)
    return result


if __name__ == "__main__":
    main()
