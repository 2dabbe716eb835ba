"""The signature of an export: the shape (every size fixed), dtype and name of each input, the same in all formats."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

import keras
import numpy as np

from octconvert.errors import UsageError
from octconvert.model import examples
from octconvert.text import words


def batch_of(models: Iterable[keras.Model], batch: int | None = None) -> int:
    """The batch size: ``batch``, else the size that a model fixes, else 1.

    Raises:
        UsageError: it is no positive integer, or a model fixes another size.
    """
    if batch is not None and not (isinstance(batch, int) and batch >= 1):
        raise UsageError(f"`batch` must be a whole number, at least 1; received {batch!r}")
    fixed = {tensor.shape[0]: model.name for model in models for tensor in model.inputs if tensor.shape[0]}
    chosen = batch or next(iter(fixed), 1)
    for size, name in fixed.items():
        if size != chosen:
            raise UsageError(f"model '{name}' has a fixed batch size of {size}, which can not be {chosen}")
    return chosen


def check_open_batch(model: keras.Model) -> None:
    """
    Raises:
        UsageError: the model fixes its batch size, so that it can not be left open.
    """
    size = next((tensor.shape[0] for tensor in model.inputs if tensor.shape[0]), None)
    if size is not None:
        raise UsageError(f"model '{model.name}' has a fixed batch size of {size}, which can not be left open")


def signature_of(model: keras.Model, batch: int | None) -> list[keras.InputSpec]:
    """A shape, a dtype and a name for each input, in the model's flat order; no size is open but a ``batch`` of None.

    The names are those of the input layers: the model's file and its form for inference have them too. A tensor's own
    name can be another one.

    Raises:
        UsageError: the model leaves rows or columns open, or fixes another batch size.
    """
    if batch is None:
        check_open_batch(model)
    else:
        batch_of([model], batch)
    specs = []
    names = _names([tensor._keras_history.operation.name for tensor in model.inputs])
    for tensor, name in zip(model.inputs, names, strict=True):
        if None in tensor.shape[1:]:
            own = words.shape(tensor.shape[1:])
            raise UsageError(
                f"model '{model.name}' leaves its input {own} open; give `input_shape` (rows, columns, channels)"
            )
        specs.append(keras.InputSpec(shape=(batch, *tensor.shape[1:]), dtype=tensor.dtype, name=name))
    return specs


def example_inputs(model: keras.Model, batch: int | None) -> dict[str, np.ndarray]:
    """Random inputs by the names of `signature_of`, in its order; one sample where the batch is open."""
    samples = zip(signature_of(model, batch), examples.example(model, batch or 1).samples, strict=True)
    return {spec.name: sample.astype(spec.dtype) for spec, sample in samples}


def _names(names: list[str]) -> list[str]:
    """Identifiers without duplicates: TensorFlow changes all others, and SavedModels refuse them."""
    identifiers: list[str] = []
    for name in names:
        name = re.sub(r"\W+", "_", name, flags=re.ASCII)
        if not name[:1].isalpha() or name in (*keyword.kwlist, "self"):
            name = f"input_{name}"
        while name.lower() in {other.lower() for other in identifiers}:
            name += "_"
        identifiers.append(name)
    return identifiers
