"""Parameters that several commands share, and the groups in which ``--help`` lists them.

The flags of a dataclass are those of its fields, so a command takes few values. Fields are as typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from octconvert.cli.console import STDOUT, Console
from octconvert.errors import UsageError
from octconvert.options import limits

WHAT = Group("What is converted", sort_key=0)
HOW = Group("How it is converted", sort_key=1)
RUN = Group("How it is run", sort_key=1)
ACCURACY = Group("Keeping the accuracy", sort_key=2)
OUTPUT = Group("Output", sort_key=3)
LOADING = Group("Loading and checking", sort_key=4)


def option(help: str, *names: str, group: Group, metavar: str | None = None, **more: Any) -> Parameter:
    """A flag; without ``names`` it is called as its field, with hyphens."""
    return Parameter(name=names or None, help=help, group=group, metavar=metavar, **more)


@dataclass(frozen=True, kw_only=True)
class ResultParameters:
    """Where the result goes, and how much is printed."""

    force: Annotated[bool, option("Overwrite existing files.", group=OUTPUT)] = False
    json: Annotated[
        str | None,
        option(
            "Write the result as JSON: alone or with '-' to stdout, which then carries nothing else; or to a file PATH "
            "that ends in .json (--json=PATH for any other name).",
            group=OUTPUT,
            metavar="[PATH|-]",
        ),
    ] = None
    quiet: Annotated[bool, option("Print only errors.", "--quiet", "-q", group=OUTPUT)] = False
    debug: Annotated[bool, option("Show tracebacks and TensorFlow's own messages.", group=OUTPUT)] = False

    def console(self) -> Console:
        """Raises `UsageError` where the flags contradict each other."""
        return Console(self.json, self.quiet, debug=self.debug)

    @property
    def files(self) -> tuple[str, ...]:
        """What is written for --json."""
        return () if self.json in (None, STDOUT) else (str(self.json),)


@dataclass(frozen=True, kw_only=True)
class ListingParameters(ResultParameters):
    """The same for results that list layers."""

    verbose: Annotated[bool, option("Show every layer, chain and name.", "--verbose", "-v", group=OUTPUT)] = False

    def console(self) -> Console:
        return Console(self.json, self.quiet, self.verbose, self.debug)


@dataclass(frozen=True, kw_only=True)
class LoadingParameters:
    """What a model file may do, and the objects that it needs."""

    unsafe: Annotated[
        bool, option("Run code stored in the model's file (Lambda layers); only for files you trust.", group=LOADING)
    ] = False
    custom_objects: Annotated[
        list[str] | None,
        option("A class or function that the model needs; repeatable.", group=LOADING, metavar="MODULE.PY:NAME"),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """By the names that the functions of `octconvert.api` have for them."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class RunParameters:
    """At which size a model is run."""

    batch: Annotated[
        str | None, option("Batch size. Default: what the model fixes, else 1.", group=RUN, metavar="N")
    ] = None
    input_shape: Annotated[
        str | None, option("For models that leave the size of their input open.", group=RUN, metavar="H,W,C")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """By the names that the functions of `octconvert.api` have for them.

        Raises:
            UsageError: a value makes no sense.
        """
        return {"batch": whole_number("batch", self.batch), "input_shape": sizes(self.input_shape)}


ANY_RESULT, ANY_LISTING, ANY_MODEL, ANY_SIZE = (
    ResultParameters(),
    ListingParameters(),
    LoadingParameters(),
    RunParameters(),
)
"""The defaults."""


def flag(name: str) -> str:
    """``calibration_steps`` -> ``--calibration-steps``."""
    return f"--{name.replace('_', '-')}"


def whole_number(name: str, text: str | None) -> int | None:
    """The value of an option as it was typed; cyclopts would make 2 of 2.5."""
    if text is None:
        return None
    try:
        value: Any = int(text)
    except ValueError:
        value = text
    return limits.whole(name, value, flag(name))


def sizes(text: str | None) -> tuple[int, ...] | None:
    """'224,224,3' or '224x224x3'."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input-shape takes rows, columns and channels, for example 224,224,3; received '{text}'")
    return tuple(int(part) for part in parts)
