"""``octconvert completion``: the script by which a shell completes commands, options, their values and file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.completion.detect import ShellDetectionError, detect_shell

from octconvert.cli.parameters import flag
from octconvert.errors import UsageError

Shell = Literal["bash", "zsh", "fish"]


def completion_command(app: App) -> Callable[..., None]:
    """The command for this program."""

    def completion(
        shell: Annotated[
            Shell | None, Parameter(help="Default: the one that runs this command.", name="SHELL", show_default=False)
        ] = None,
        /,
        *,
        install: Annotated[bool, flag("Write the script to where the shell reads it, and say where.")] = False,
    ) -> None:
        """Print the script that completes the command line in SHELL, or install it.

        Raises:
            UsageError: the shell is not known, or the script can not be written.
        """
        chosen = shell or _running_shell()
        if not install:
            print(app.generate_completion(shell=chosen))
            return
        try:
            path = app.install_completion(shell=chosen)
        except OSError as error:
            raise UsageError(f"{error.filename or Path.home()}: can not be written ({error.strerror})") from error
        begins = {"bash": "~/.bashrc reads it", "zsh": "~/.zshrc names its directory", "fish": "fish finds it there"}
        print(f"{path} is written, and {begins[chosen]}: it works in the next shell that you start")

    return completion


def _running_shell() -> Shell:
    try:
        shell = detect_shell()
    except ShellDetectionError:
        shell = "powershell"
    if shell == "powershell":
        raise UsageError("completion: name the shell, for example: octconvert completion bash")
    return shell
