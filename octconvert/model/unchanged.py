"""A layer as it was before its ``call`` ran, whatever that wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np


@contextmanager
def unchanged(layer: keras.layers.Layer) -> Iterator[Callable[[], bool]]:
    """Take back what is written to a layer and the layers in it: attributes, the content of their lists and
    dictionaries (losses, nodes and weights among them), and the values of weights.

    Yields:
        A function that says whether weights differ from before.
    """
    owners = [each for part in layer._flatten_layers() for each in (part, part._tracker)]
    attributes = [(vars(owner), dict(vars(owner))) for owner in owners]
    contents = _contents([before for _, before in attributes])
    values = [(weight, _value(weight)) for weight in layer.variables]
    try:
        yield lambda: any(_differs(*each) for each in values)
    finally:
        for own, before in attributes:
            own.clear()
            own.update(before)
        for container, content in contents:
            _fill(container, content)
        for weight, value in values:
            if _differs(weight, value):
                weight.assign(value)


def _contents(attributes: list[dict[str, Any]]) -> list[tuple[Any, list[Any]]]:
    """Every list, dictionary and set among attributes, those in others too, with what it holds."""
    found: dict[int, tuple[Any, list[Any]]] = {}
    rest: list[Any] = [value for own in attributes for value in own.values()]
    while rest:
        value = rest.pop()
        if id(value) in found:
            continue
        if isinstance(value, (list, dict, set)):
            found[id(value)] = value, _content(value)
        if isinstance(value, (list, dict, tuple)):
            rest.extend(value.values() if isinstance(value, dict) else value)
    return list(found.values())


def _content(container: Any) -> list[Any]:
    return list(container.items() if isinstance(container, dict) else container)


def _fill(container: Any, content: list[Any]) -> None:
    """By the methods of the built-in types: those of Keras and TensorFlow tell a layer of what is new in them."""
    now = _content(container)
    if len(now) == len(content) and all(map(_is_same, now, content)):
        return
    if isinstance(container, list):
        for own in (container, getattr(container, "_storage", None)):  # where TensorFlow's lists keep theirs
            if own is not None:
                list.__setitem__(own, slice(None), content)
        return
    kind, own = dict if isinstance(container, dict) else set, getattr(container, "__wrapped__", container)
    kind.clear(own)
    kind.update(own, content)


def _is_same(first: Any, second: Any) -> bool:
    """Entries of a dictionary are new pairs each time."""
    return first is second or (
        type(first) is type(second) is tuple
        and len(first) == len(second)
        and all(a is b for a, b in zip(first, second, strict=True))
    )


def _value(weight: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(weight))


def _differs(weight: keras.Variable, value: np.ndarray) -> bool:
    return _value(weight).tobytes() != value.tobytes()
