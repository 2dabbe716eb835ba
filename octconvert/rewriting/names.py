"""Names of the new layers: unique within each model; those of outputs are kept, because losses are keyed by them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
from keras import KerasTensor
from keras.src.models.functional import Functional

from octconvert.octave.names import OCTAVE_SUFFIX, PORTABLE
from octconvert.planning.layout import Layout
from octconvert.rewriting.record import Path


def layer_name(tensor: KerasTensor) -> str:
    """The name of the layer that computes a Keras tensor."""
    return tensor._keras_history.operation.name


class Names:
    """The names in use in the model that is built, and in those around it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._used: list[set[str]] = []
        self._reserved: list[set[str]] = []

    @contextlib.contextmanager
    def scope(self, functional: Functional, path: Path) -> Iterator[None]:
        """The names within one model; those of the source's layers are in use from the start."""
        self._used.append({operation.name for operation in functional.operations})
        self._reserved.append(set() if path else self._names_of_later_layers(functional))
        yield
        self._used.pop()
        self._reserved.pop()

    def _names_of_later_layers(self, functional: Functional) -> set[str]:
        """Names of output layers that a later layer, a merge or an activation, has to carry."""
        return {layer_name(tensor) for tensor in functional.outputs if self._has_more_behind(tensor)}

    def _has_more_behind(self, tensor: KerasTensor) -> bool:
        graph, splits = self._layout.graph, self._layout.splits
        number = graph.values[(), id(tensor)]
        call = graph.producer(number)
        activation = getattr(call.operation, "activation", None)
        apart = isinstance(activation, keras.layers.Layer) and not call.path and self._layout.reads(call)
        return number in splits or (apart and any(part in splits for part in call.inputs))

    def name(self, preferred: str) -> str:
        """See `octconvert.rules.Build.name`."""
        number, name = 1, preferred
        while name in self._used[-1]:
            number += 1
            name = f"{preferred}-{number}"
        self._used[-1].add(name)
        return name

    def own_name(self, name: str) -> str:
        """See `octconvert.rules.Build.own_name`."""
        return self.name(name + OCTAVE_SUFFIX) if name in self._reserved[-1] else name

    def base_name(self, preferred: str) -> str:
        """See `octconvert.rules.Build.base_name`."""
        number, name = 1, preferred
        while any(used.startswith(name + ending) for used in self._used[-1] for ending in PORTABLE):
            number += 1
            name = f"{preferred}-{number}"
        return name

    def merge_name(self, base: str, output: str | None) -> str:
        """The name of a merge: that of the model's output, if it is one and the name is still to be carried.

        Args:
            base: name of the layer that wrote the pair.
            output: name of the model's output that is merged; None for any other tensor.
        """
        if output is None or output not in self._reserved[-1]:
            return self.name(f"{base}-merge")
        self._reserved[-1].discard(output)
        return output
