"""Parameters that several commands share, and the groups in which ``--help`` lists them.

The flags of a dataclass are those of its fields, so a command takes few values. Fields are as typed. Meanings and
defaults of the library's options come from `octconvert.options`, which also checks their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from cyclopts import Group, Parameter, Token, convert

from octconvert.cli.console import STDOUT, Console
from octconvert.cli.spelling import spell
from octconvert.errors import UsageError
from octconvert.options.calibration import CalibrationOptions
from octconvert.options.delivery import DeliveryOptions
from octconvert.options.deployment import DeploymentOptions
from octconvert.options.fields import defaults, meanings
from octconvert.options.loading import LoadingOptions
from octconvert.options.references import check_reference
from octconvert.options.request import DEFAULTS
from octconvert.options.rewriting import RewritingOptions

if TYPE_CHECKING:
    FileName: TypeAlias = str
else:
    FileName = str | Path  # the first one is taken; by the second one a shell knows what to complete

WHAT = Group("What is converted", sort_key=0)
HOW = Group("How it is converted", sort_key=1)
RUN = Group("How it is run", sort_key=1)
ACCURACY = Group("Keeping the accuracy", sort_key=2)
OUTPUT = Group("Output", sort_key=3)
LOADING = Group("Loading and checking", sort_key=4)

_CLASSES = (LoadingOptions, RewritingOptions, CalibrationOptions, DeploymentOptions, DeliveryOptions)
_MEANINGS = {name: meaning for options in _CLASSES for name, meaning in meanings(options).items()}


def flag(help: str, *names: str, group: Group | None = None, metavar: str | None = None, **more: Any) -> Parameter:
    """A parameter; without ``names`` its flag is its field's name with hyphens."""
    return Parameter(name=names or None, help=help, group=group, metavar=metavar, **more)


def option(
    name: str,
    more: str = "",
    /,
    *names: str,
    group: Group,
    metavar: str | None = None,
    options: type | None = None,
    unset: str = "",
    **rest: Any,
) -> Parameter:
    """A parameter for an option of the library: its meaning, ``more`` about the command line, and its default.

    ``options``: the class of a command's own options; else those of a conversion. ``unset``: what holds where the
    option is not set and its default is None.
    """
    meaning = spell((_MEANINGS if options is None else meanings(options))[name])
    default = (DEFAULTS if options is None else defaults(options))[name]
    sentences = [f"{meaning[0].upper()}{meaning[1:]}."]
    if more:
        sentences.append(more)
    if isinstance(default, (int, float, str)) and not isinstance(default, bool):
        sentences.append(f"Default: {default}.")
    elif unset:
        sentences.append(f"Default: {unset}.")
    return flag(" ".join(sentences), *names, group=group, metavar=metavar, **rest)


def typed(values: dict[str, Any]) -> dict[str, Any]:
    """Those that were typed: None stands for a flag that was not."""
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ResultParameters:
    """Where the result goes, and how much is printed."""

    force: Annotated[bool, flag("Overwrite existing files.", group=OUTPUT)] = False
    json: Annotated[
        FileName | None,
        flag(
            "Write the result as JSON: alone or with '-' to stdout, which then carries nothing else; or to a file PATH "
            "that ends in .json (--json=PATH for any other name). Default: no JSON.",
            group=OUTPUT,
            metavar="[PATH|-]",
        ),
    ] = None
    html: Annotated[
        FileName | None,
        flag(
            "Write the result as a page for a browser: one file, no network. Default: none is written.",
            group=OUTPUT,
            metavar="PATH",
        ),
    ] = None
    config: Annotated[
        FileName | None,
        flag(
            "Take options from the table of a TOML file that has the name of the command, as [convert]; what is typed "
            "counts before them. Default: no file is read.",
            group=OUTPUT,
            metavar="PATH",
        ),
    ] = None
    quiet: Annotated[bool, flag("Print only errors.", "--quiet", "-q", group=OUTPUT)] = False
    debug: Annotated[bool, flag("Show tracebacks and TensorFlow's own messages.", group=OUTPUT)] = False

    def console(self) -> Console:
        """Raises `UsageError` where the flags contradict each other."""
        return Console(self.json, self.quiet, debug=self.debug, html=self.html)

    @property
    def files(self) -> tuple[str, ...]:
        """What is written for --json and --html."""
        json = None if self.json == STDOUT else self.json
        return tuple(str(file) for file in (json, self.html) if file is not None)


@dataclass(frozen=True, kw_only=True)
class ListingParameters(ResultParameters):
    """The same for results that list layers."""

    verbose: Annotated[bool, flag("Show every layer, chain and name.", "--verbose", "-v", group=OUTPUT)] = False

    def console(self) -> Console:
        return Console(self.json, self.quiet, self.verbose, self.debug, self.html)


@dataclass(frozen=True, kw_only=True)
class LoadingParameters:
    """What a model file may do, and the objects that it needs."""

    unsafe: Annotated[bool, option("unsafe", group=LOADING)] = False
    custom_objects: Annotated[
        list[str] | None, option("custom_objects", "Repeatable.", unset="none", group=LOADING, metavar="MODULE.PY:NAME")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """By the names that the functions of `octconvert.api` have for them.

        Raises:
            UsageError: a custom object is not of its form, or there is no such module.
        """
        for each in self.custom_objects or ():
            check_reference(each, "custom_objects")
        return {"unsafe": self.unsafe, "custom_objects": self.custom_objects}


@dataclass(frozen=True, kw_only=True)
class RunParameters:
    """At which size a model is run."""

    batch: Annotated[
        str | None,
        flag(
            "Batch size; dynamic only for an export. Default: what the model fixes, or 1.",
            group=RUN,
            metavar="INT|dynamic",
        ),
    ] = None
    input_shape: Annotated[str | None, option("input_shape", unset="that of the model", group=RUN, metavar="H,W,C")] = (
        None
    )

    def arguments(self) -> dict[str, Any]:
        """By the names that the functions of `octconvert.api` have for them.

        Raises:
            UsageError: the shape makes no sense.
        """
        return {"batch": whole_number(self.batch), "input_shape": sizes(self.input_shape)}


DEFAULT_RESULT, DEFAULT_LISTING, DEFAULT_LOADING, DEFAULT_RUN = (
    ResultParameters(),
    ListingParameters(),
    LoadingParameters(),
    RunParameters(),
)
"""The groups of flags with none of them typed."""


def whole_number(text: str | None) -> Any:
    """An int, where the text is one; other text is refused by the library. cyclopts would make 2 of 2.5."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


def octave_of(text: str | None) -> Any:
    """2, or (1, 2, 2) for '1,2,2'."""
    if text is None or "," not in text:
        return whole_number(text)
    numbers = tuple(map(whole_number, text.split(",")))
    return numbers if all(isinstance(number, int) for number in numbers) else text


def sizes(text: str | None) -> tuple[int, ...] | None:
    """'224,224,3' or '224x224x3'."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input-shape takes rows, columns and channels, for example 224,224,3; received '{text}'")
    return tuple(int(part) for part in parts)


def choices_with_commas(hint: Any, tokens: Sequence[Token]) -> list[str]:
    """Values of a few, typed with commas between them or one by one.

    Raises:
        CoercionError: one of them is none of the few.
    """
    values: list[str] = []
    for token in tokens:
        for value in token.value.split(","):
            values.append(convert(Literal[tuple(get_args(get_args(hint)[0]))], [token.evolve(value=value.strip())]))
    return values
