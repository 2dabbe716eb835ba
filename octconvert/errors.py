"""The errors octconvert raises on purpose, each with the command line's exit code.

Every message is one line that names the file or layer and the reason; the command line prints it as it is and
shows no traceback unless the user wants to debug.
"""

from __future__ import annotations

import re
from typing import Any

from octconvert.text.printable import line


class OctconvertError(Exception):
    """Base of every error a user can meet; ``exit_code`` is what the command line ends with.

    Names in a message may come from a file of a stranger: it is one line of bounded length, without control characters.
    """

    exit_code = 2

    def __init__(self, message: object = ""):
        super().__init__(line(str(message)))


class InputError(OctconvertError):
    """The file or model that was handed in can not be read or can not be converted at all."""


class RewriteError(OctconvertError):
    """A call could not be rewritten; ``key`` and ``reason`` say which and why, so that it can be left plain."""

    def __init__(self, message: str, key: object, reason: str):
        super().__init__(message)
        self.key, self.reason = key, reason


class UsageError(OctconvertError):
    """An option has a value that makes no sense, alone or for this model."""


class CheckError(OctconvertError):
    """The rewritten model failed a check; nothing was written.

    ``report``: the whole `octconvert.results.report.Report`, where the conversion came far enough to have one.
    """

    exit_code = 1

    def __init__(self, message: str, report: Any = None):
        super().__init__(message)
        self.report = report


class NothingToConvert(OctconvertError):
    """No convolution of the model can be converted with these options; nothing was written."""

    exit_code = 3


_PLACES = re.compile(r"(Exception encountered when calling .*|Exception from \S+:\d+:|Check .* failed at \S+:\d+:)")
"""First lines of Keras and OpenVINO that only say where something went wrong; the reason follows."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BEFORE = re.compile(
    r"Exception encountered: |Exception encountered when calling [^\n]*\n|Example error message for object [^\n]*:\n"
)
"""What Keras writes in front of the error that it caught."""
_BEHIND = re.compile(
    r"\s*(?:Arguments received by |List of objects that could not be loaded:|Full object config: |(?:using )?config=\{)"
)
"""What Keras writes behind it."""


_INSTEAD = re.compile(r"We could not automatically infer the shape of the Lambda's output")
"""What Keras says in the place of an error that it caught."""


def cause(error: BaseException) -> str:
    """What went wrong in the first place: Keras wraps an error into others, with configurations of any length."""
    text = _text(_root(error))
    inner = _BEHIND.split(_BEFORE.split(text)[-1])[0].strip()
    return inner or text


def kind(error: BaseException) -> str:
    """The class of the error that went wrong in the first place."""
    return type(_root(error)).__name__


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    lines = [text.strip() for text in cause(error).splitlines() if text.strip()]
    if lines and lines[0] == "in user code:":  # TensorFlow puts the whole way to the error in front of it
        lines = lines[-1:]
    reasons = [text for text in lines if not _PLACES.fullmatch(text)]
    return (reasons or lines or [type(error).__name__])[0]


def one_line(error: BaseException, most: int = 240) -> str:
    """``ValueError: its message`` on one line of at most ``most`` characters; of a wrapped error the innermost one."""
    message = " ".join(cause(error).split())
    whole = f"{kind(error)}: {message}" if message else kind(error)
    return whole if len(whole) <= most else whole[: most - 3] + "..."


def _root(error: BaseException) -> BaseException:
    """The innermost of the errors that repeat, one in the other, the same message."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        text = _text(inner)
        if not (text and text in _text(error)) and not _INSTEAD.search(_text(error)):
            break
        seen.add(id(inner))
        error = inner
    return error


def _text(error: BaseException) -> str:
    return _COLOURS.sub("", str(error)).strip()
