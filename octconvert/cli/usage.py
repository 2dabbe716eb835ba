"""A command line that can not be understood -> one line that says why, and what may have been meant."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, CycloptsError
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from octconvert.cli.help import PAGES
from octconvert.cli.spelling import DEFAULT_COMMAND
from octconvert.errors import InputError
from octconvert.options.data import IMAGE_ENDINGS
from octconvert.options.delivery import MODEL_SUFFIXES
from octconvert.options.timing import EXPORT_SUFFIXES
from octconvert.text.nearest import did_you_mean, listed, nearest
from octconvert.text.numerals import parse_number

_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("quantize", "deploy", "litert", "tflite", "onnx", "openvino", "save"), "export"),
    **dict.fromkeys(("benchmark", "time", "latency", "speed"), "bench"),
    **dict.fromkeys(("compare", "cost", "costs"), "diff"),
    **dict.fromkeys(("rewrite", "run", "octave"), "convert"),
    **dict.fromkeys(("maps", "draw", "plot", "view"), "show"),
    "plan": "MODEL --dry-run",
    "calibrate": "MODEL --calibrate DATA",
    "evaluate": "MODEL --evaluate DATA",
}
"""Words that are no commands -> the command line that does it."""
_ARRAYS = (".npz", ".npy")


@dataclass(frozen=True)
class Typed:
    """The words of a command line that belong to no option, and its command.

    Attributes:
        tokens: all of the command line, behind the command.
        models: the first words, as many as the command takes.
    """

    command: str
    tokens: tuple[str, ...]
    models: tuple[str, ...]

    @classmethod
    def of(cls, app: App, tokens: Sequence[str]) -> Typed:
        """Understood as far as that goes."""
        commands, _, rest = app.parse_commands(list(tokens))
        try:
            _, bound, _, _ = app.parse_known_args(list(tokens))
            models = tuple(str(each) for each in bound.args)
        except (CycloptsError, InputError, ValueError):
            models = tuple(each for each in rest if not each.startswith("-"))[:1]
        return cls(commands[0] if commands else DEFAULT_COMMAND, tuple(rest), models)


def explanation(error: CycloptsError, app: App, tokens: Sequence[str]) -> str:
    """One line about the error, without a full stop."""
    typed = Typed.of(app, tokens)
    return f"{_reason(error, app, typed)} (see octconvert help {typed.command})"


def unknown_command(tokens: Sequence[str]) -> str:
    """What to say where the first word seems to be a command, and there is none of that name; else empty."""
    word = tokens[0] if tokens else ""
    if not word.isalpha() or word in PAGES or os.path.lexists(word):
        return ""
    meant = _OTHER_NAMES.get(word.lower()) or nearest(word, PAGES)
    if meant is None:
        return ""
    return f"unknown command '{word}'; did you mean 'octconvert {meant}'? (see octconvert help)"


def _reason(error: CycloptsError, app: App, typed: Typed) -> str:
    match error:
        case UnknownOptionError():
            word = (error.token.keyword or error.token.value).split("=", 1)[0]
            return f"unknown option {word}{_meant_option(word, error.argument_collection, app, typed)}"
        case CoercionError() if error.argument is not None and error.token is not None:
            return _wrong_value(error.argument, error.token.keyword or error.argument.name, error.token.value)
        case UnusedCliTokensError():
            return _extra(error.unused_tokens or ["?"], app, typed)
        case RepeatArgumentError():
            return f"{error.token.keyword} can be given only once"
        case MissingArgumentError() if error.argument is not None:
            return _missing(error.argument, error.keyword, typed)
    return " ".join(str(error).split()).rstrip(".")


# --- options and their values ---------------------------------------------------------------------------------------


def options_of(app: App, command: str) -> ArgumentCollection:
    """The arguments of a command."""
    return app[command].assemble_argument_collection()


def _meant_option(word: str, options: ArgumentCollection, app: App, typed: Typed) -> str:
    for other in PAGES:
        if other not in (typed.command, "help") and any(word in each.names for each in options_of(app, other)):
            return f", which is one of octconvert {other}"
    choice = word.lstrip("-").lower()
    by_choice = next((each.name for each in options if choice in choices_of(each)), "")
    if by_choice:
        return f"; did you mean {by_choice} {choice}?"
    return did_you_mean(word, (name for each in options for name in each.names if name.startswith("-")), quote="")


def choices_of(argument: Argument) -> tuple[str, ...]:
    """The values that an argument takes; empty where they are not a few."""
    return tuple(_literals(argument.hint))


def takes_a_number(argument: Argument) -> bool:
    """Whether its value is a float."""
    return float in (argument.hint, *get_args(argument.hint))


def _literals(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for each in get_args(hint):
            yield from _literals(each)


def _wrong_value(argument: Argument, name: str, value: str) -> str:
    choices = choices_of(argument)
    if choices:
        return f"{name} takes {listed(choices)}; received '{value}'{did_you_mean(value, choices)}"
    if takes_a_number(argument):
        return f"{name} takes a number; received '{value}'"
    return f"{name} takes no value, or true or false; received '{value}'"


def _missing(argument: Argument, keyword: str | None, typed: Typed) -> str:
    page = PAGES[typed.command]
    if keyword is not None:
        choices = choices_of(argument)
        return f"{keyword} needs a value{f': {listed(choices)}' if choices else ''}"
    if argument.name == "--image":
        image = next((each for each in typed.tokens if Path(each).suffix.lower() in (*IMAGE_ENDINGS, *_ARRAYS)), None)
        if image is not None:
            return f"unexpected argument '{image}'; did you mean --image {shlex.quote(image)}?"
        return f"{typed.command}: --image is missing, for example: octconvert {page.examples[0]}"
    if argument.name.startswith("-"):  # the only other one that is required
        typed_target = next((each for each in typed.tokens if Path(each).suffix.lower() in EXPORT_SUFFIXES), None)
        if typed_target is not None:
            return f"unexpected argument '{typed_target}'; did you mean -o {shlex.quote(typed_target)}?"
        target = f"{_stem(typed.models[0])}.tflite" if typed.models else "model.tflite"
        return f"{typed.command}: name what to write with -o, for example -o {shlex.quote(target)}"
    name = "MODEL" if typed.command == DEFAULT_COMMAND else argument.name.upper()
    return f"{typed.command}: {name} is missing, for example: octconvert {page.examples[0]}"


# --- words too many -------------------------------------------------------------------------------------------------


def _extra(words: Sequence[str], app: App, typed: Typed) -> str:
    """About words that belong to no option and are more than the command takes."""
    word = words[0]
    meant = _meant_by(word, app, typed)
    if meant:
        return f"unexpected argument '{word}'; {meant}"
    if typed.command in ("convert", "export") and all(map(_is_model, words)):
        return f"{typed.command} takes one model at a time{_loop(words, typed)}"
    if typed.command == "diff" and _is_model(word):
        return f"unexpected argument '{word}': diff compares two models; octconvert bench takes several"
    return f"unexpected argument '{word}'"


def _meant_by(word: str, app: App, typed: Typed) -> str:
    options = options_of(app, typed.command)
    names = {name for each in options for name in each.names}
    quoted, suffix, exists = shlex.quote(word), Path(word).suffix.lower(), os.path.lexists(word)
    if word in PAGES and not exists:
        rest = [each for each in typed.tokens if each != word]
        return f"the command comes first: octconvert {shlex.join([word, *rest])}"
    by_choice = next((each.name for each in options if word in choices_of(each)), "")
    guesses = (
        ("--alpha", parse_number(word) is not None),
        (by_choice, bool(by_choice)),
        ("--calibrate", suffix in _ARRAYS or os.path.isdir(word)),
        ("--plan", suffix == ".json" and exists),
        ("--json", suffix == ".json"),
        ("--config", suffix == ".toml"),
        ("-o", suffix in EXPORT_SUFFIXES or (suffix in MODEL_SUFFIXES and not exists)),
    )
    name = next((name for name, holds in guesses if holds and name in names), "")
    return f"did you mean {name} {quoted}?" if name else ""


def _is_model(word: str) -> bool:
    return Path(word).suffix.lower() in MODEL_SUFFIXES


def _loop(words: Sequence[str], typed: Typed) -> str:
    if typed.command != DEFAULT_COMMAND:  # each needs another name for its file
        return ""
    models = [*typed.models, *words]
    rest = [shlex.quote(each) for each in typed.tokens if each not in models]
    command = " ".join(["octconvert", '"$model"', *rest])
    return f"; for all of them: for model in {shlex.join(models)}; do {command}; done"


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]
