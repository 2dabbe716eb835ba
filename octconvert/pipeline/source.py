"""Stage 1: a model or file -> `Source`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
from keras import tree
from keras.src.models.functional import Functional

from octconvert import loading
from octconvert.costs.feasibility import runnable_graph
from octconvert.errors import InputError, UsageError, first_line
from octconvert.model import finite
from octconvert.model.copying import finalize, renamed
from octconvert.model.examples import Example, example
from octconvert.model.functional import functional_of
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import model_inside
from octconvert.model.opening import NOTHING_CLOSED, Closed, opened_model
from octconvert.options.arguments import path_of
from octconvert.options.limits import shown
from octconvert.options.loading import LoadingOptions
from octconvert.rewriting.compilation import carry_compilation


@dataclass(frozen=True, eq=False)
class Source:
    """A model as the user has it, read and ready to be planned.

    Attributes:
        model: the Keras model; it is never changed.
        graph: its calls.
        label: how messages call it: the path of its file, or its name.
        repairs: one sentence for each change that an old file needed.
    """

    model: Any
    graph: CallGraph
    label: str
    repairs: tuple[str, ...]

    def example(self) -> tuple[Example, list[str]]:
        """Inputs and outputs that a conversion is compared with, and notes on them.

        Raises:
            InputError: the outputs are not finite: there is nothing to compare with.
        """
        inputs_and_outputs = example(self.graph)
        return inputs_and_outputs, finite.check_source(self.graph, inputs_and_outputs, self.label)


def read_source(model_or_path: Any, options: LoadingOptions, closed: Closed = NOTHING_CLOSED) -> Source:
    """Read a model and its calls; ``closed``: see `octconvert.model.graph_reader.build_graph`.

    Raises:
        InputError: it can not be read, or one run of it does not fit into the memory.
        UsageError: ``input_shape`` does not fit the model.
    """
    loaded = read_model(model_or_path, options)
    graph, label = runnable_graph(loaded.model, closed), label_of(model_or_path, loaded.model)
    return Source(loaded.model, graph, label, loaded.repairs)


def read_model(model_or_path: Any, options: LoadingOptions) -> loading.Loaded:
    """Read a model, with the input shape that the options fix.

    Raises:
        InputError: it can not be read.
        UsageError: ``input_shape`` does not fit the model.
    """
    if isinstance(model_or_path, loading.Loaded):
        return model_or_path
    loaded = _opened(_loaded(model_or_path, options), options.input_shape)
    if options.input_shape is None:
        return loaded
    return replace(loaded, model=with_input_shape(loaded.model, options.input_shape))


def _loaded(model_or_path: Any, options: LoadingOptions) -> loading.Loaded:
    if isinstance(model_or_path, (str, os.PathLike)):
        path = path_of("a model", model_or_path)
        return loading.read(
            path, unsafe=options.unsafe, custom_objects=options.custom_objects, input_shape=options.input_shape
        )
    if loading.is_keras2(model_or_path):
        return loading.from_keras2(model_or_path, custom_objects=options.custom_objects)
    if not isinstance(model_or_path, keras.Model):
        received = f"{shown(model_or_path)}{model_inside(model_or_path)}"
        raise InputError(f"expected a Keras model or the path of one, received {received}")
    return loading.Loaded(model=model_or_path, path=Path(), kind="memory", repairs=())


def _opened(loaded: loading.Loaded, input_shape: tuple[int, ...] | None) -> loading.Loaded:
    """A subclassed model as the functional one of the layers that it calls, compiled as it is.

    Raises:
        InputError: its input shape is not known, or its ``call`` can not be traced.
    """
    model = loaded.model
    if functional_of(model) is not None or type(model).call is keras.Sequential.call:
        return loaded
    label = f"model '{model.name}' is subclassed ({type(model).__name__})"
    inputs = _inputs_of(model) if input_shape is None else keras.Input(input_shape)
    if inputs is None:
        raise InputError(f"{label}, and its input shape is not known: give `input_shape` (rows, columns, channels)")
    block = opened_model(model, inputs)
    if block.model is None:
        raise InputError(f"{label}: its calls can not be read ({block.reason}); rebuild it with the functional API")
    notes = carry_compilation(model, block.model, {})
    lost = [] if block.model.compiled else notes
    class_note = f"the subclassed model ({type(model).__name__}) was read as the layers that it calls at inference"
    return replace(loaded, model=block.model, repairs=(*loaded.repairs, class_note, *lost))


def _inputs_of(model: Any) -> Any:
    """The structure of Keras tensors that a model takes; None where it was not called, or in several ways."""
    functional = model._functional if isinstance(model, keras.Sequential) else model
    if isinstance(functional, Functional):  # with a ``call`` of its own
        like = lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)  # noqa: E731
        return tree.map_structure(like, functional._inputs_struct)
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if len(shapes) != 1:
        return None
    return tree.map_shape_structure(lambda shape: keras.Input(shape[1:]), next(iter(shapes.values())))


def label_of(model_or_path: Any, model: Any) -> str:
    """How messages call a model: the path of its file, or its name."""
    if isinstance(model_or_path, loading.Loaded):
        return str(model_or_path.path)
    return str(model_or_path) if isinstance(model_or_path, (str, os.PathLike)) else model.name


def with_input_shape(model: Any, shape: tuple[int, ...]) -> Any:
    """The model with another input shape, weights and all; the same object where it has that shape already.

    Raises:
        UsageError: the model has several inputs, or fixes another shape.
        InputError: its layers do not work on this shape.
    """
    functional = functional_of(model)
    if functional is None:
        return model
    if len(functional.inputs) != 1:
        raise UsageError(f"input_shape: model '{model.name}' has {len(functional.inputs)} inputs, expected one")
    tensor = functional.inputs[0]
    own = tuple(tensor.shape[1:])
    if own == shape:
        return model
    if len(own) != len(shape) or any(have not in (None, want) for have, want in zip(own, shape, strict=True)):
        raise UsageError(f"input_shape: {shape} does not fit the model's own {own}")
    try:
        return copied_at(functional, shape)
    except Exception as error:  # whatever a layer raises about a shape it can not work on
        raise InputError(f"model '{model.name}' does not work at input_shape {shape}: {first_line(error)}") from error


def copied_at(model: Any, shape: tuple[int, ...]) -> Any:
    """A copy of a functional model of one input, for inputs of this shape; with its weights.

    Raises:
        Exception: whatever Keras or a layer raises where layers do not work on the shape, or have other weights then.
    """
    tensor = model.inputs[0]
    name = tensor._keras_history.operation.name
    fixed = keras.Input(batch_shape=(tensor.shape[0], *shape), dtype=tensor.dtype, name=name)
    fresh = lambda operation: renamed(operation, operation.name)  # noqa: E731
    copy = keras.models.clone_model(model, input_tensors=fixed, clone_function=fresh)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        finalize(layer)
    return copy
