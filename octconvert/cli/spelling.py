"""Options as the command line spells them: the library names them as Python does, `input_shape` in backquotes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from octconvert.results.next_step import OBJECTS, NextStep

COMMANDS = ("convert", "bench", "export", "diff", "completion", "help")
"""The first words of a command line that are no files."""
DEFAULT_COMMAND = COMMANDS[0]

_SAME = """
    alpha alpha_map batch benchmark calibration_budget calibration_samples calibration_steps custom_objects elementwise
    evaluate exclude for_inference format include input_range input_shape integer_io interior max_drop metric min_size
    objective octave opset plan portable preprocess preset quantize rounds runtime seed stride_mode target_macs
    target_time threads unsafe verify weights
"""
FLAGS = {name: f"--{name.replace('_', '-')}" for name in _SAME.split()} | {
    "calibration": "--calibrate",
    "output": "-o",
    "overwrite": "--force",
    "runtimes": "--runtime",
}
"""Option of the functions of `octconvert.api` -> flag."""
_REPEATED = ("alpha_map", "include", "exclude", "elementwise", OBJECTS)
_SWITCHED_OFF = {"calibration": "--no-calibration", "for_inference": "--no-for-inference"}
_OPTION = re.compile(r"`(\w+)(?:=([^`]+))?`")
_PUNCTUATION = re.compile(r"[\s()\[\]{}'\"]")
"""What Python writes around a value, and a shell does not."""


def spell(text: str) -> str:
    """The text with each option in backquotes as its flag; other words in backquotes stay as they are.

    `input_shape` becomes --input-shape, `objective='latency'` --objective latency, `input_shape=(8, 8, 3)`
    --input-shape 8,8,3, `overwrite=True` --force and `calibration=False` --no-calibration.
    """
    return _OPTION.sub(_spelled, text)


def shell_command(step: NextStep) -> tuple[str, ...]:
    """A next step as a command of a shell, each option with its value in one part."""
    command = () if step.function == DEFAULT_COMMAND else (step.function,)
    models = [_file(model, is_first=not command) for model in step.models]
    options = [part for name, value in step.options for part in _option(name, value)]
    return ("octconvert", *command, *models, *options)


def _file(path: str, is_first: bool) -> str:
    """Quoted; one that looks like an option, or like a command where one may stand, with its directory."""
    return shlex.quote(f"./{path}" if path.startswith("-") or (is_first and path in COMMANDS) else path)


def _option(name: str, value: object) -> Iterator[str]:
    flag = FLAGS[name]
    if value is True:
        yield flag
    elif isinstance(value, tuple) and name in _REPEATED:
        texts = ("=".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)
        yield from (f"{flag} {shlex.quote(text)}" for text in texts)
    else:
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        yield f"{flag}={shlex.quote(text)}" if text.startswith("-") else f"{flag} {shlex.quote(text)}"


def _spelled(match: re.Match[str]) -> str:
    name, value = match.groups()
    if name not in FLAGS:
        return match[0]
    if value is None or value == "True":
        return FLAGS[name]
    if value == "False":
        return _SWITCHED_OFF.get(name, f"no {FLAGS[name]}")
    return f"{FLAGS[name]} {_PUNCTUATION.sub('', value)}"
