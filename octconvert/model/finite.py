"""Numbers that are not finite, in the weights of a source and so in its outputs, which then can not be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from octconvert.errors import InputError
from octconvert.model.examples import Example
from octconvert.model.execution import observe
from octconvert.model.graph import CallGraph
from octconvert.text.words import plural

NAMED = 3
"""Variables that a message names."""


@dataclass(frozen=True)
class Unusable:
    """Values of one variable that no layer can calculate with: ``count`` of ``size``; ``problem``: why."""

    layer: str
    variable: str
    count: int
    size: int
    problem: str

    def __str__(self) -> str:
        return f"'{self.layer}' {self.variable} ({self.count:,} of {self.size:,} {self.problem})"


def unusable_weights(model: keras.Model) -> list[Unusable]:
    """Variables that hold nan or infinity, or variances without a root, in the model's order."""
    return list(_unusable(model))


def check_source(graph: CallGraph, example: Example, label: str) -> list[str]:
    """Notes on a source that holds such weights, where its outputs are finite all the same.

    Raises:
        InputError: they are not, so nothing can be compared with them.
    """
    unusable = unusable_weights(graph.model)
    if unusable:
        message = f"the weights hold unusable values: {listed(unusable)}"
        if not example.is_finite:
            raise InputError(f"{label}: {message}; the outputs are not finite, and nothing can be checked against them")
        return [f"{message}; the outputs on a random input are finite all the same"]
    if not example.is_comparable:
        where = _first_place(graph, example.samples)
        raise InputError(
            f"{label}: the outputs on a random input are not finite{where}, and nothing can be checked against them"
        )
    return []


def _unusable(model: keras.Model) -> Iterator[Unusable]:
    seen: set[int] = set()
    for layer in model._flatten_layers():
        own = [*layer._trainable_variables, *layer._non_trainable_variables]
        for variable in own:
            if id(variable) in seen or "float" not in variable.dtype:
                continue
            seen.add(id(variable))
            values = np.asarray(keras.ops.convert_to_numpy(variable))
            broken = ~np.isfinite(values)
            if broken.any():
                yield Unusable(layer.name, variable.name, int(broken.sum()), values.size, "nan or infinity")
            elif variable.name.endswith("variance"):
                rootless = values + getattr(layer, "epsilon", 0.0) <= 0
                if rootless.any():
                    yield Unusable(layer.name, variable.name, int(rootless.sum()), values.size, "negative")


def listed(unusable: list[Unusable]) -> str:
    """The first few of them."""
    more = len(unusable) - NAMED
    return ", ".join(map(str, unusable[:NAMED])) + (f" and {plural(more, 'more variable')}" if more > 0 else "")


def _first_place(graph: CallGraph, samples: list[np.ndarray]) -> str:
    for number, value in observe(graph, samples, range(len(graph.tensors))):
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f" (first after layer '{graph.producer(number).layer_name}')"
    return ""
