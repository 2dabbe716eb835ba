"""The command line: arguments -> a checked `Task` -> exit code, one of `octconvert.cli.exit_codes`.

TensorFlow takes seconds to start, so nothing here imports it, nor NumPy. A process of its own does the task, and this
one supervises it (`octconvert.cli.supervision`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from inspect import BoundArguments
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from octconvert.cli.bench import bench
from octconvert.cli.completion import completion_command
from octconvert.cli.config import OptionsFile
from octconvert.cli.console import STDOUT
from octconvert.cli.convert import convert
from octconvert.cli.diff import diff
from octconvert.cli.exit_codes import REFUSED
from octconvert.cli.export import export
from octconvert.cli.help import PAGES, first_page, page_of
from octconvert.cli.outcome import explain, fail
from octconvert.cli.show import show
from octconvert.cli.spelling import spell
from octconvert.cli.task import Task
from octconvert.cli.usage import explanation, unknown_command
from octconvert.errors import InputError, UsageError
from octconvert.system.environment import version
from octconvert.text.nearest import did_you_mean


def _version() -> str:
    return version() or "unknown (not installed)"


OPTIONS_FILE = OptionsFile()
app = App(
    name="octconvert",
    version=_version,
    config=(OPTIONS_FILE,),
    default_parameter=Parameter(negative=(), show_default=False),
    **first_page(),
)


def show_help(
    command: Annotated[str | None, Parameter(help="A command. Default: the overview.", show_default=False)] = None, /
) -> None:
    """Show the help page of COMMAND, or the overview.

    Raises:
        UsageError: there is no such command.
    """
    if command is not None and command not in PAGES:
        raise UsageError(f"there is no command '{command}'{did_you_mean(command, PAGES)} (see octconvert help)")
    app.help_print([] if command is None else [command])


app.default(convert)
for name, function in (
    ("convert", convert),
    ("diff", diff),
    ("bench", bench),
    ("export", export),
    ("show", show),
    ("completion", completion_command(app)),
    ("help", show_help),
):
    app.command(function, name=name, **page_of(name))


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
    if unknown := unknown_command(tokens):
        return fail(unknown, REFUSED)
    try:
        command, arguments, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return fail(explanation(error, app, tokens), REFUSED)
    except InputError as error:  # of the file of options
        return fail(str(error), REFUSED)
    values = dict(_flat(arguments.kwargs))
    files = tuple(value for value in values.values() if isinstance(value, str))
    try:
        task = _checked(command, arguments)
        code = work(replace(task, files=files)) if isinstance(task, Task) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        models = [str(value) for value in arguments.args]
        return explain(error, models, files, values.get("debug", False))
    return code


def _checked(command: Callable[..., Task | None], arguments: BoundArguments) -> Task | None:
    try:
        return command(*arguments.args, **arguments.kwargs)
    except (InputError, UsageError) as error:
        raise type(error)(f"{error}{OPTIONS_FILE.remark(spell(str(error)))}") from error


def _flat(arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each parameter by name: those of a dataclass one by one."""
    for name, value in arguments.items():
        if dataclasses.is_dataclass(value):
            yield from vars(value).items()
        else:
            yield name, value


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
