"""Help pages: the overview, and for each command its examples, its options by purpose, and its exit codes."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from octconvert.cli.exit_codes import EXIT_CODES, INTERRUPTED, NOTHING_TO_CONVERT

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

WHAT = "Turn a trained Keras CNN into an Octave-Convolution CNN: the same parameters, about half the multiplications."
DOCUMENTATION = "https://octconvert.github.io/octconvert/"
_NAMES, _LEAST = 28, 20
"""Columns for the names of options, where the terminal has so many, and the least for what they mean."""


@dataclass(frozen=True)
class Page:
    """What the help page of a command says besides its options.

    Attributes:
        arguments: the usage behind the name of the command.
        examples: command lines without "octconvert", the first one for the overview.
        summary: one line for the overview.
    """

    arguments: str
    summary: str
    examples: tuple[str, ...]


PAGES: Mapping[str, Page] = {
    "convert": Page(
        "MODEL",
        "convert MODEL; the word convert can be left out",
        (
            "model.h5",
            "model.h5 --calibrate photos/ --preprocess resnet50",
            "convert model.h5 --target-macs 0.6 -o smaller.keras",
            "convert model.h5 --alpha 0 --interior 1 --benchmark --runtime litert",
            "convert model.h5 --dry-run --json plan.json",
        ),
    ),
    "bench": Page(
        "A [B ...]",
        "time models side by side",
        (
            "bench model.h5 model-octave.keras",
            "bench model.h5 model-octave.keras --runtime litert,onnx --threads 4",
            "bench model.keras --quantize int8 --runtime litert --json",
        ),
    ),
    "export": Page(
        "MODEL -o PATH",
        "write MODEL for LiteRT, ONNX, OpenVINO or TensorFlow",
        (
            "export model-octave.keras -o model.tflite",
            "export model-octave.keras -o model.tflite --quantize int8",
            "export model.keras -o model.tflite --quantize int8 --calibrate photos/",
            "export model-octave.keras -o model.onnx --batch dynamic",
            "export model-octave.keras -o saved_model --format tf",
        ),
    ),
    "show": Page(
        "MODEL --image FILE",
        "draw feature maps of MODEL, beside those of its source",
        (
            "show model-octave.keras --image photo.jpg",
            "show model-octave.keras --image photo.jpg --source model.h5 --preprocess resnet50",
            "show model-octave.keras --image signal.npy --layers relu -o maps.png",
        ),
    ),
    "diff": Page(
        "A B",
        "compare the costs of two models, layer by layer",
        ("diff model.h5 model-octave.keras", "diff model.h5 model-octave.keras --verbose --json costs.json"),
    ),
    "completion": Page(
        "[SHELL]",
        "the completion of the command line in bash, zsh or fish",
        ("completion --install", "completion bash"),
    ),
    "help": Page("[COMMAND]", "show the page of a command, as COMMAND --help does", ("help", "help bench")),
}
"""By command, in the order of the overview."""


def overview() -> str:
    """The beginning of the first page."""
    commands = [(f"{name} {page.arguments}", page.summary) for name, page in PAGES.items()]
    examples = [*PAGES["convert"].examples[:2], PAGES["export"].examples[1]]
    return "\n".join(
        [
            WHAT,
            "",
            "Commands:",
            *_columns(commands),
            "",
            "Examples:",
            *(f"  octconvert {each}" for each in examples),
            "",
            f"Documentation: {DOCUMENTATION}",
            "octconvert --version shows the version. What follows are the options of a conversion.",
        ]
    )


def first_page() -> dict[str, Any]:
    """Of the program, as arguments of `cyclopts.App`."""
    usage = "Usage: octconvert MODEL [OPTIONS]\n       octconvert COMMAND ... [OPTIONS]"
    return {
        "help": WHAT,
        "help_formatter": HelpFormatter(overview()),
        "usage": usage,
        "help_epilogue": exit_codes(EXIT_CODES),
        "help_format": "plaintext",
    }


def page_of(command: str) -> dict[str, Any]:
    """Of a command, as arguments of `cyclopts.App.command`."""
    page = PAGES[command]
    optional = " [OPTIONS]" if command != "help" else ""
    codes = [code for code in EXIT_CODES if code < INTERRUPTED and code <= NOTHING_TO_CONVERT]
    if command != "convert":
        codes.remove(NOTHING_TO_CONVERT)
    examples = "\n".join(f"  octconvert {each}" for each in page.examples)
    return {
        "usage": f"Usage: octconvert {command} {page.arguments}{optional}",
        "help_formatter": HelpFormatter(),
        "help_epilogue": f"Examples:\n{examples}\n\n{exit_codes(codes)}",
    }


def exit_codes(codes: Iterable[int]) -> str:
    """A line for each code."""
    return "\n".join(["Exit codes:", *_columns((str(code), EXIT_CODES[code]) for code in codes)])


def _columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    return (f"  {name:<{width}}  {text}" for name, text in pairs)


class HelpFormatter:
    """Options as two columns without frames, which a pipe and a narrow terminal show as well.

    Attributes:
        beginning: in place of the description of the command.
    """

    def __init__(self, beginning: str = "") -> None:
        self.beginning = beginning

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group of options."""
        if panel.format == "command" or not panel.entries:  # the overview has listed the commands
            return
        names = [_name(entry) for entry in panel.entries]
        longest = max(len(word) for name in names for word in name.split())
        width = max(longest, min(_NAMES, console.width // 2))
        _print(console, "", f"{panel.title}:")
        for name, entry in zip(names, panel.entries, strict=True):
            texts = _wrapped(_description(entry), max(console.width - width - 4, _LEAST))
            for left, right in itertools.zip_longest(_wrapped(name, width), texts, fillvalue=""):
                _print(console, f"  {left:<{width}}  {right}".rstrip())

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage and an empty line."""
        _print(console, str(usage).rstrip(), "")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        lines = (self.beginning or _plain(description)).splitlines()
        for line in lines:
            _print(console, *(_wrapped(line, console.width, " " * _hanging(line, console.width)) or [""]))


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _hanging(line: str, width: int) -> int:
    """Where the rest of a line that is too long begins: below its second column, where it has two and there is room."""
    first = len(line) - len(line.lstrip())
    second = re.match(r" +\S.*?  +(?=\S)", line)
    return second.end() if second and second.end() <= width // 2 else first


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _plain(text: Any) -> str:
    inner = getattr(text, "primary_renderable", text)
    return str(getattr(inner, "plain", inner) or "").strip()


def _name(entry: HelpEntry) -> str:
    if entry.positional_label:
        return entry.positional_label
    names = ", ".join((*entry.positive_shorts, *entry.positive_names))
    return f"{names} {entry.metavar}" if entry.metavar else names


def _description(entry: HelpEntry) -> str:
    sentences = [_plain(entry.description)]
    if entry.choices:
        sentences.append(f"One of {', '.join(entry.choices)}.")
    if entry.required:
        sentences.append("Required.")
    return " ".join(sentences)
