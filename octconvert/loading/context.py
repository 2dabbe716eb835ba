"""What all steps of reading know about the file, and the notes that they collect for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from octconvert.errors import InputError
from octconvert.text.printable import line


class Notes:
    """Collects what was changed as sentences, one for each kind of change with all its layers."""

    def __init__(self) -> None:
        self._layers: dict[str, list[str]] = {}

    def add(self, change: str, layer: str | None = None) -> None:
        names = self._layers.setdefault(change, [])
        if layer is not None and layer not in names:
            names.append(layer)

    def sentences(self) -> tuple[str, ...]:
        return tuple(
            line(f"{listed(names)}: {change}." if names else f"{change}.") for change, names in self._layers.items()
        )


def listed(names: list[str], most: int = 3) -> str:
    """``layers 'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"layer{'s' if len(names) > 1 else ''} {shown}{more}"


@dataclass(frozen=True)
class ReadOptions:
    """What the user allows and adds when a file is read.

    Attributes:
        unsafe: Whether Python code in the file may be run.
        custom_objects: The user's own classes and functions by name.
        input_shape: (rows, columns, channels) for a Sequential that was saved without an input shape.
    """

    unsafe: bool = False
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    input_shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class LoadingContext:
    """The facts about one file that the steps need, and what they note for later steps and for the report.

    Attributes:
        path: The file.
        version: Major version of the Keras that wrote it; tf.keras counts as 2.
        minor: Minor version.
        options: What the user allows and adds.
        theano: Whether Keras ran on Theano.
        weight_shapes: Shapes of the weights in an .h5 file, by the layer's name in the file.
        notes: What was changed.
        renamed: Layer name in the file -> layer name in the model.
        expected_shapes: Output shapes that the file states, by layer; compared with the built model.
    """

    path: Path
    version: int
    minor: int = 0
    options: ReadOptions = ReadOptions()
    theano: bool = False
    weight_shapes: Mapping[str, list[tuple[int, ...]]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    renamed: dict[str, str] = field(default_factory=dict)
    expected_shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)

    @property
    def unsafe(self) -> bool:
        return self.options.unsafe

    @property
    def custom_objects(self) -> Mapping[str, Any]:
        return self.options.custom_objects

    def refuse(self, reason: str, layer: str | None = None) -> NoReturn:
        """Raises: InputError: with the file, the layer and the reason."""
        raise InputError(f"{self.path}: layer '{layer}' {reason}" if layer else f"{self.path}: {reason}")
