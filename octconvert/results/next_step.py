"""`NextStep`: what may follow a result, as a value; the display writes it as Python, the command line as a command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

OBJECTS = "custom_objects"
"""The option whose value is a tuple of names: classes and functions are no text."""


@dataclass(frozen=True)
class NextStep:
    """A call of a public function on files that exist; it writes none that does.

    Attributes:
        purpose: what it is for, a few words.
        function: its name in `octconvert`: 'convert', 'bench' or 'export'.
        models: the files that it reads.
        options: (name, value) of what else it takes, as Python names it.
    """

    purpose: str
    function: str
    models: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        options = dict(self.options)
        return {"purpose": self.purpose, "function": self.function, "models": list(self.models), "options": options}


def options_of(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Those of the options that are set; 0 is a value."""
    return tuple((name, value) for name, value in values.items() if not _is_unset(value))


def _is_unset(value: Any) -> bool:
    return value is None or value is False or value == ()


def python_call(step: NextStep) -> tuple[str, ...]:
    """The call in Python; it may be broken between lines behind each part."""
    models = [repr(model) for model in step.models]
    if step.function == "bench":
        models = [f"[{models[0]}", *models[1:-1], f"{models[-1]}]"] if len(models) > 1 else [f"[{models[0]}]"]
    parts = [*models, *(f"{name}={_value(name, value)}" for name, value in step.options)]
    parts[0] = f"octconvert.{step.function}({parts[0]}"
    return (*(f"{part}," for part in parts[:-1]), f"{parts[-1]})")


def _value(name: str, value: Any) -> str:
    if name == OBJECTS:
        return f"{{{', '.join(f'{each!r}: {each}' for each in value)}}}"
    return repr(value)


def dicts(steps: Iterable[NextStep]) -> list[dict[str, Any]]:
    """For JSON."""
    return [step.to_dict() for step in steps]
