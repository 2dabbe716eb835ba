"""Call graph -> `ModelInput`: what each input of the model takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octconvert.errors import InputError
from octconvert.model.functional import functional_of
from octconvert.model.graph import BOUNDARY, CallGraph, Shape
from octconvert.text.words import plural

_SCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Lambda"}


@dataclass(frozen=True)
class ModelInput:
    """One input of the model.

    Attributes:
        names: under which a dict or file may hold its samples.
        shape: of one sample.
        dtype: of its arrays.
        channels: axis of the channels in a sample; None where it is no image.
    """

    names: tuple[str, ...]
    shape: Shape
    dtype: np.dtype
    channels: int | None

    @property
    def grey_shape(self) -> Shape | None:
        """Shape of a sample without its channel axis, where it has one channel; else None."""
        if self.channels is None or self.shape[self.channels] != 1:
            return None
        return self.shape[: self.channels] + self.shape[self.channels + 1 :]

    def fits(self, shape: Shape) -> bool:
        """Whether a sample may have this shape."""
        return fits(self.shape, shape)


def fits(expected: Shape, shape: Shape) -> bool:
    """Whether a known shape is one of those that ``expected`` allows."""
    return len(expected) == len(shape) and all(b and a in (None, b) for a, b in zip(expected, shape, strict=True))


def misfit_message(spec: ModelInput, array: np.ndarray) -> str:
    """The reason why an array does not fit an input."""
    shape, axis, name = array.shape[1:], spec.channels, spec.names[0]
    reason = f"input '{name}' takes samples of shape {spec.shape}, received {shape}"
    if len(shape) == len(spec.shape) - 1:
        return f"{reason}; the first axis of an array is the sample"
    if axis is None or len(shape) != 3:
        return reason
    any_channels = (*spec.shape[:axis], None, *spec.shape[axis + 1 :])
    if fits(any_channels, shape):
        return f"input '{name}' takes {spec.shape[axis]} channels, received {shape[axis]} (samples of shape {shape})"
    if spec.fits((shape[2], *shape[:2]) if axis == 0 else (*shape[1:], shape[0])):
        return f"{reason}; the model is channels_{'first' if axis == 0 else 'last'}"
    return reason


def miscount_message(inputs: list[ModelInput], received: int) -> str:
    """The reason why a number of arrays does not fit the model."""
    names = ", ".join(spec.names[0] for spec in inputs)
    return f"the model takes {plural(len(inputs), 'input')} ({names}), received {received}"


def inputs_of(graph: CallGraph) -> list[ModelInput]:
    """The inputs of a model, in the flat order of ``model.inputs``.

    Raises:
        InputError: one takes strings.
    """
    functional = functional_of(graph.model)
    assert functional is not None
    struct = functional._inputs_struct
    keys = {id(tensor): key for key, tensor in struct.items()} if isinstance(struct, dict) else {}
    inputs = []
    for tensor in functional.inputs:
        name, dtype, shape = tensor.name, str(tensor.dtype), tuple(tensor.shape[1:])
        if dtype == "string":
            raise InputError(f"model '{graph.model.name}': input '{name}' takes strings, which are not read")
        own = np.dtype(dtype if "int" in dtype or dtype == "bool" else "float32")
        channels = graph.axis_of_channels((None, *shape)) - 1 if len(shape) == 3 else None
        inputs.append(ModelInput((name, keys.get(id(tensor), name)), shape, own, channels))
    return inputs


def scales_itself(graph: CallGraph) -> bool:
    """Whether the model scales its input itself, before the first layer with weights."""
    left, seen = list(graph.inputs), set(graph.inputs)
    while left:
        for call in graph.consumers.get(left.pop(), ()):
            if call.class_name in _SCALING:
                return True
            if call.kind == BOUNDARY or not getattr(call.operation, "weights", None):
                left += [number for number in call.outputs if number not in seen]
                seen.update(call.outputs)
    return False
