"""The arguments of a Keras call, apart from the tensors in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import KerasTensor, tree
from keras.ops import convert_to_numpy
from keras.src.ops.node import Node as KerasNode

from octconvert.octave.geometry import Shape, common_shape


@dataclass(frozen=True)
class Spec:
    """Shape (batch axis included; None where a size is open) and dtype of a tensor."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class _Slot:
    """The place of a tensor among arguments."""

    number: int


@dataclass(frozen=True, eq=False)
class CallArguments:
    """Arguments of a call.

    Attributes:
        args, kwargs: with a `_Slot` in the place of each tensor.
        specs: of the different tensors among them, in order.
    """

    args: Any
    kwargs: Any
    specs: tuple[Spec, ...]

    @classmethod
    def of(cls, args: Any, kwargs: Any) -> CallArguments:
        """Of a call with Keras tensors."""
        slots: dict[int, _Slot] = {}
        specs: list[Spec] = []

        def slot(value: Any) -> Any:
            if not isinstance(value, KerasTensor):
                return value
            if id(value) not in slots:
                slots[id(value)] = _Slot(len(specs))
                specs.append(Spec(tuple(value.shape), str(value.dtype)))
            return slots[id(value)]

        args, kwargs = tree.map_structure(slot, (args, kwargs))
        return cls(args, kwargs, tuple(specs))

    @property
    def signature(self) -> tuple[str, tuple[Spec, ...]]:
        """Equal for calls with equal arguments and tensors of the same shapes and dtypes."""
        return repr(tree.map_structure(_signature, (self.args, self.kwargs))), self.specs

    def filled(self, tensors: Sequence[Any]) -> tuple[Any, Any]:
        """args and kwargs with these tensors."""
        fill: Callable[[Any], Any] = lambda value: tensors[value.number] if isinstance(value, _Slot) else value  # noqa: E731
        args, kwargs = tree.map_structure(fill, (self.args, self.kwargs))
        return args, kwargs


def _signature(value: Any) -> Any:
    """An array by all of its numbers, most of which its text leaves out."""
    if not hasattr(value, "__array__"):
        return value
    array = np.asarray(convert_to_numpy(value))
    return array.dtype, array.shape, hashlib.sha256(array.tobytes()).hexdigest()


def common_arguments(calls: Sequence[CallArguments]) -> CallArguments | None:
    """The arguments of all calls of a layer, with the sizes in which they agree; None where they differ in more."""
    first, *others = calls
    specs = first.specs
    for call in others:
        same = call.signature[0] == first.signature[0] and all(map(_alike, specs, call.specs))
        if not same or len(call.specs) != len(specs):
            return None
        specs = tuple(Spec(common_shape(a.shape, b.shape), a.dtype) for a, b in zip(specs, call.specs, strict=True))
    return replace(first, specs=specs)


def _alike(first: Spec, second: Spec) -> bool:
    return first.dtype == second.dtype and len(first.shape) == len(second.shape)


def tensors_read(node: KerasNode) -> list[KerasTensor]:
    """The different tensors that a node reads, in the order of `CallArguments.specs`."""
    return list({id(tensor): tensor for tensor in node.arguments.keras_tensors}.values())
