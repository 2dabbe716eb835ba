"""Options from a TOML file that --config names: a table for each command, its keys the options without their hyphens.

The file is text of the user's, but may be any file by mistake: it is read only where it is a small regular file.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from cyclopts import App
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.config import Dict

from octconvert.cli.files import check_input
from octconvert.cli.help import PAGES
from octconvert.cli.spelling import DEFAULT_COMMAND
from octconvert.cli.usage import choices_of, takes_a_number
from octconvert.errors import InputError
from octconvert.options import limits
from octconvert.text.nearest import did_you_mean, listed
from octconvert.text.words import size

CONFIG = "--config"
MOST_BYTES = 2**20
_TABLES = tuple(name for name in PAGES if name not in ("help", "completion"))


class OptionsFile:
    """A configuration of `cyclopts.App`: the options of the file, where the command line has not set them.

    Attributes:
        path: of the file of the last command line; empty where it named none.
        taken: the options that came from it, each in the forms that a command line has for it.
    """

    def __init__(self) -> None:
        self.path = ""
        self.taken: tuple[tuple[str, ...], ...] = ()

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """
        Raises:
            InputError: the file can not be read, or it has an unknown key or a value of the wrong type.
        """
        self.path, self.taken = "", ()
        option = next((each for each in arguments if CONFIG in each.names), None)
        if option is None or not option.tokens:
            return
        self.path = option.tokens[-1].value
        command = commands[0] if commands else DEFAULT_COMMAND
        settings = _settings(self.path, command, arguments)
        self.taken = tuple(each.names for name in settings for each in arguments if f"--{name}" in each.names)
        Dict(settings, source=self.path, use_commands_as_keys=False)(app, commands, arguments)

    def remark(self, message: str) -> str:
        """Which of the options in a message were not typed; empty where all were."""
        forms = (name for names in self.taken for name in names)
        named = [name for name in forms if re.search(rf"(?<![\w-]){name}(?![\w-])", message)]
        return f" ({listed(named, 'and')} of {self.path})" if named else ""


def _settings(path: str, command: str, arguments: ArgumentCollection) -> dict[str, Any]:
    """Option without its hyphens -> its value as it would be typed."""
    options = {name: each for each in arguments for name in each.names if name.startswith("--") and name != CONFIG}
    settings: dict[str, Any] = {}
    for key, value in _table(path, command).items():
        name = f"--{key.replace('_', '-')}"
        if name not in options:
            known = [each.removeprefix("--") for each in options]
            raise InputError(f"{path}: [{command}] has an unknown key '{key}'{did_you_mean(key, known)}")
        if name.removeprefix("--") in settings:
            raise InputError(f"{path}: [{command}] has the key '{key}' twice")
        typed = _as_typed(f"{path}: '{key}' in [{command}]", options[name], value)
        if typed is not None and not options[name].tokens:
            settings[name.removeprefix("--")] = typed
    return settings


# --- the file -------------------------------------------------------------------------------------------------------


def _table(path: str, command: str) -> dict[str, Any]:
    """The table of a command; empty where the file has none."""
    document = _document(path)
    for key, value in document.items():
        if key not in _TABLES and isinstance(value, dict):
            known = listed([f"[{name}]" for name in _TABLES])
            raise InputError(f"{path}: has an unknown table [{key}]; the tables are {known}")
        if not isinstance(value, dict):
            raise InputError(f"{path}: the key '{key}' is in no table; put it below [{command}]")
    return document.get(command, {})


def _document(path: str) -> dict[str, Any]:
    check_input(path, option=CONFIG)
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is no regular file ({CONFIG})")
        if status.st_size > MOST_BYTES:
            most = f"a file of options has at most {size(MOST_BYTES)}"
            raise InputError(f"{path}: has {size(status.st_size)}; {most} ({CONFIG})")
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: can not be read ({error.strerror})") from error
    except RecursionError:
        raise InputError(f"{path}: is no TOML that can be read: it is nested too deeply") from None
    except ValueError as error:  # of the TOML, of UTF-8, of a number with thousands of digits
        raise InputError(f"{path}: is no TOML that can be read: {error}") from None


# --- its values -----------------------------------------------------------------------------------------------------


def _as_typed(where: str, option: Argument, value: Any) -> Any:
    """The value as the command line has it: text, a list of texts, or True; None for an option that is switched off.

    Raises:
        InputError: it is of another type; ``where``: what the message begins with.
    """
    choices, several = choices_of(option), _is_list(option)
    if bool in (option.hint, *get_args(option.hint)):
        check: _Check = _switch
    elif "--json" in option.names:
        check = _json
    elif several:
        check = _texts
    elif takes_a_number(option):
        check = _number
    else:
        check = _BY_METAVAR.get(str(option.parameter.metavar), _text)
    typed, expected = check(value)
    if expected:
        raise InputError(f"{where} takes {expected}; received {limits.shown(value)}")
    for each in typed if several else [typed]:
        if choices and each is not None and each not in choices:
            raise InputError(f"{where} takes {listed(choices)}; received '{each}'{did_you_mean(each, choices)}")
    return typed


_Check = Callable[[Any], tuple[Any, str]]
"""A value of TOML -> the value as typed and '', or anything and what is expected."""


def _is_list(option: Argument) -> bool:
    return "list[" in str(option.hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _switch(value: Any) -> tuple[Any, str]:
    return (value or None, "") if isinstance(value, bool) else (None, "true or false")


def _json(value: Any) -> tuple[Any, str]:
    if isinstance(value, bool):
        return ("-" if value else None), ""
    return _text(value)[0], "" if isinstance(value, str) else "the path of a file, or true"


def _text(value: Any) -> tuple[Any, str]:
    return value, "" if isinstance(value, str) else "a text in quotes"


def _number(value: Any) -> tuple[Any, str]:
    return repr(value), "" if _is_number(value) else "a number"


def _whole(value: Any) -> tuple[Any, str]:
    return str(value), "" if _is_whole(value) else "a whole number"


def _batch(value: Any) -> tuple[Any, str]:
    return str(value), "" if _is_whole(value) or value == limits.DYNAMIC else f"a whole number or '{limits.DYNAMIC}'"


def _texts(value: Any) -> tuple[Any, str]:
    """One or several; a table is the other form of KEY=NUMBER."""
    if isinstance(value, Mapping) and all(map(_is_number, value.values())):
        return [f"{key}={number!r}" for key, number in value.items()], ""
    values = [value] if isinstance(value, str) else value
    is_texts = isinstance(values, list) and all(isinstance(each, str) for each in values)
    return (values or None if is_texts else None), "" if is_texts else "a text in quotes or a list of them"


def _joined(holds: Callable[[Any], bool], expected: str) -> _Check:
    """A list, which is typed with commas; or what is typed itself."""

    def check(value: Any) -> tuple[Any, str]:
        values: Iterable[Any] = value if isinstance(value, list) and value else [value]
        fits = isinstance(value, str) or all(map(holds, values))
        return ",".join(str(each) for each in values), "" if fits else expected

    return check


_BY_METAVAR: Mapping[str, _Check] = {
    "INT": _whole,
    "INT|dynamic": _batch,
    "INT[,INT...]": _joined(_is_whole, "a whole number or a list of them"),
    "H,W,C": _joined(_is_whole, "a list of three whole numbers"),
    "LO,HI": _joined(_is_number, "a list of two numbers"),
    "STEP,...": _joined(lambda each: isinstance(each, str), "a list of texts"),
}
