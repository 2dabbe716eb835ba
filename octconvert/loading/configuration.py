"""Walking a saved Keras configuration: layer records, their names and the references between them.

A *record* is the dict ``{"class_name": ..., "config": {...}}`` of one layer; a record of a model holds more records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from octconvert.errors import InputError
from octconvert.text.printable import line

Record = dict[str, Any]

FUNCTIONAL = {"Functional", "Model", "Container"}
_WRAPPED = ("layer", "forward_layer", "backward_layer")


class Notes:
    """Collects what was changed and tells it as sentences, one for each kind of change."""

    def __init__(self) -> None:
        self._layers: dict[str, list[str]] = {}

    def add(self, what: str, layer: str | None = None) -> None:
        names = self._layers.setdefault(what, [])
        if layer is not None and layer not in names:
            names.append(layer)

    def sentences(self) -> tuple[str, ...]:
        return tuple(line(f"{named(names)}: {what}." if names else f"{what}.") for what, names in self._layers.items())


def named(names: list[str], most: int = 3) -> str:
    """``layers 'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"layer{'s' if len(names) > 1 else ''} {shown}{more}"


@dataclass
class Job:
    """One file's configuration under repair."""

    path: Path
    version: int  # Keras' major version that wrote the file; tf.keras counts as 2
    unsafe: bool = False
    custom_objects: dict[str, Any] = field(default_factory=dict)
    input_shape: tuple | None = None
    theano: bool = False  # Theano wrote the file
    stored: dict[str, list[tuple]] = field(default_factory=dict)  # layer name -> shapes of its weights in the file
    notes: Notes = field(default_factory=Notes)
    renamed: dict[str, str] = field(default_factory=dict)  # layer name in the file -> layer name in the model
    minor: int = 0  # Keras' minor version
    shapes: dict[str, tuple] = field(default_factory=dict)  # output shapes the file promises, checked at the end

    def refuse(self, why: str, layer: str | None = None) -> NoReturn:
        raise InputError(f"{self.path}: layer '{layer}' {why}" if layer else f"{self.path}: {why}")


def name_of(record: Record) -> str:
    """The layer's name; a bare list (Keras 1's Sequential) has none."""
    config = record.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return record.get("name") or inner or "?"


def children(record: Record) -> list[Record]:
    """The records directly inside a model's or a wrapper's record."""
    config = record.get("config")
    if isinstance(config, list):
        found = config
    elif isinstance(config, dict):
        layers = config.get("layers")
        found = list(layers) if isinstance(layers, list) else []
        found += [config[key] for key in _WRAPPED if key in config]
    else:
        found = []
    return [child for child in found if isinstance(child, dict) and "class_name" in child]


def walk(record: Record) -> Iterator[Record]:
    """The record and all below it, outermost first."""
    waiting = [record]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += reversed(children(current))


def is_functional(record: Record) -> bool:
    config = record.get("config")
    return isinstance(config, dict) and "input_layers" in config and isinstance(config.get("layers"), list)


def is_sequential(record: Record) -> bool:
    config = record.get("config")
    return record.get("class_name") == "Sequential" and isinstance(config, dict | list)


def is_model(record: Record) -> bool:
    return is_functional(record) or is_sequential(record)


def references(data: Any, names: set[str]) -> Iterator[list]:
    """Every ``[layer name, node index, tensor index, ...]`` inside inbound nodes, of the old and the new format."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "keras_history" and isinstance(value, list):
                yield value
            else:
                yield from references(value, names)
    elif isinstance(data, list | tuple):
        if is_reference(data, names):
            yield data  # type: ignore[misc]
            data = data[3:]
        for item in data:
            yield from references(item, names)


def is_reference(data: Any, names: set[str]) -> bool:
    return isinstance(data, list) and len(data) >= 3 and isinstance(data[0], str) and data[0] in names


def all_references(model: Record) -> Iterator[list]:
    """The references of a functional model: of its nodes, its inputs and its outputs."""
    config = model["config"]
    names = {name_of(layer) for layer in config["layers"]}
    for layer in config["layers"]:
        yield from references(layer.get("inbound_nodes", []), names)
    yield from references(config["input_layers"], names)
    yield from references(config["output_layers"], names)
