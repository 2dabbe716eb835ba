"""The records of a saved Keras configuration: layers, their names, and the references between them.

A *record* is the dict ``{"class_name": ..., "config": {...}}`` of one layer; a model's record contains others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Record = dict[str, Any]

FUNCTIONAL = {"Functional", "Model", "Container"}
_WRAPPED = ("layer", "forward_layer", "backward_layer")


def name_of(record: Record) -> str:
    """The layer's name; a bare list (Keras 1's Sequential) has none."""
    config = record.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return record.get("name") or inner or "?"


def children(record: Record) -> list[Record]:
    """The records directly inside the record of a model or a wrapper."""
    config = record.get("config")
    if isinstance(config, list):
        candidates = config
    elif isinstance(config, dict):
        layers = config.get("layers")
        candidates = list(layers) if isinstance(layers, list) else []
        candidates += [config[key] for key in _WRAPPED if key in config]
    else:
        candidates = []
    return [child for child in candidates if isinstance(child, dict) and "class_name" in child]


def walk(record: Record) -> Iterator[Record]:
    """The record and all records inside it, outermost first."""
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


def references(data: Any, names: set[str]) -> Iterator[list[Any]]:
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


def all_references(model: Record) -> Iterator[list[Any]]:
    """The references of a functional model: in its nodes, its inputs and its outputs."""
    config = model["config"]
    names = {name_of(layer) for layer in config["layers"]}
    for layer in config["layers"]:
        yield from references(layer.get("inbound_nodes", []), names)
    yield from references(config["input_layers"], names)
    yield from references(config["output_layers"], names)
