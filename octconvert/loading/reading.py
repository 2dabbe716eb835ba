"""Reads a model of any Keras since 1.2: its steps in order. The file itself is never changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras.src.saving import serialization_lib

from octconvert.errors import InputError, OctconvertError, UsageError, one_line
from octconvert.loading import building, configuration, inspection, repairing, size_limits
from octconvert.loading.context import LoadingContext, ReadOptions
from octconvert.system.quiet import quiet


@dataclass(frozen=True)
class Loaded:
    """A model that was read from a file.

    Attributes:
        model: The Keras model, compiled if the file has training settings that Keras can restore.
        path: The file.
        kind: ``"keras"`` or ``"h5"``, by content.
        repairs: One plain sentence for each kind of change that the configuration needed.
    """

    model: keras.Model
    path: Path
    kind: str
    repairs: tuple[str, ...]


def load(
    path: str | os.PathLike[str],
    *,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> keras.Model:
    """The model of :func:`read`; see there for arguments and errors."""
    return read(path, unsafe=unsafe, custom_objects=custom_objects, input_shape=input_shape).model


def read(
    path: str | os.PathLike[str],
    *,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Loaded:
    """Loads a complete Keras model, of Keras 1.2 to Keras 3; the file itself is never changed.

    Args:
        path: A .keras or HDF5 file, whatever its name.
        unsafe: Allow Lambda layers, whose Python code is in the file.
        custom_objects: The user's own classes and functions by name.
        input_shape: (rows, columns, channels) for a Sequential that was saved without an input shape.

    Raises:
        InputError: The file is not a complete Keras model or can not be loaded; one line says why and what to do.
        UsageError: ``input_shape`` is not a shape.
    """
    options = ReadOptions(unsafe, dict(custom_objects or {}), input_shape)
    _check_shape(input_shape)
    file = inspection.inspect(Path(path))
    try:
        model, context = _built(file, options)
        _check_expected_shapes(model, context)
    except OctconvertError:
        raise
    except Exception as error:  # a configuration that is broken in an unforeseen way
        raise InputError(
            f"{file.path}: has an architecture that can not be read ({one_line(error)}); save the model again"
        ) from error
    return Loaded(model, file.path, file.kind, context.notes.sentences())


def _built(file: inspection.InspectedFile, options: ReadOptions) -> tuple[keras.Model, LoadingContext]:
    # Safe mode holds for everything that is created from the file.
    with quiet(), serialization_lib.SafeModeScope(not options.unsafe):
        source = configuration.decode(file, options)
        with size_limits.bounded_variables(file.elements, source.context):
            return building.build(repairing.repair(source)), source.context


def _check_shape(shape: tuple[int | None, ...] | None) -> None:
    if shape is not None and not all(n is None or (isinstance(n, int) and n > 0) for n in shape):
        raise UsageError(f"`input_shape` must be positive integers (rows, columns, channels); received {tuple(shape)}")


def _check_expected_shapes(model: keras.Model, context: LoadingContext) -> None:
    """Compares output shapes that the file states with those of the built model."""
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name, expected in context.expected_shapes.items():
        shape = tuple(layers[context.renamed.get(name, name)].output.shape)
        if shape[1:] != tuple(expected)[1:]:
            context.refuse(f"has the output shape {tuple(expected)} in Keras 1 and {shape} in Keras 3", name)
