"""Runs a call graph on real tensors, call by call, with results dropped after their last use."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree
from keras.src import backend

from octconvert.errors import InputError, OctconvertError, one_line
from octconvert.model.graph import BOUNDARY, OPERATION, SOURCE_INPUT, Call, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.system.environment import ONEDNN


def run_call(call: Call, values: dict[int, object]) -> None:
    """Put a call's outputs into ``values`` (tensor number -> tensor); its inputs are there."""
    if call.kind == BOUNDARY:
        values[call.outputs[0]] = values[call.inputs[0]]
    elif call.kind == OPERATION:
        tensors = {id(t): values[n] for t, n in zip(call.node.arguments.keras_tensors, call.inputs, strict=True)}
        args, kwargs = call.node.arguments.fill_in(tensors)
        if isinstance(call.operation, keras.layers.Layer):  # as `predict` does, whatever is written down in the model
            kwargs = {**kwargs, "training": False}
        values.update(zip(call.outputs, tree.flatten(_called(call, args, kwargs)), strict=True))


def _called(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation's result.

    Raises:
        InputError: TensorFlow does not have it for this processor, as convolutions with the channels first; or it
            fails.
    """
    try:
        with _nothing_is_kept():
            return call.operation(*args, **kwargs)
    except (OctconvertError, MemoryError):
        raise
    except Exception as error:  # of a layer that a file describes, or of the user's own
        lacking = _LACKING.search(str(error)) if isinstance(error, tf.errors.OpError) else None
        if lacking is None:
            raise InputError(f"layer '{call.name}' can not be run ({one_line(error)})") from error
        hint = "" if os.environ.get(ONEDNN) == "1" else f"; {ONEDNN}=1 in the environment brings more operations"
        raise InputError(f"TensorFlow can not run layer '{call.name}' here ({lacking[0]}){hint}") from error


def _nothing_is_kept() -> AbstractContextManager[Any]:
    """For layers that change their weights, or add a loss, at inference too; in a scope of Keras that holds anyway."""
    return nullcontext() if backend.in_stateless_scope() else keras.StatelessScope()


_LACKING = re.compile(r"The \w+ op currently only supports [^.\[]*|Current CPU implementations do not [^.\[]*")


class Uses:
    """How often each tensor is still read: values that nobody reads any more can be dropped."""

    def __init__(self, calls: Iterable[Call], kept: Iterable[int] = ()):
        self._left = Counter(number for call in calls for number in call.inputs)
        self._left.update(kept)

    def drop(self, call: Call, values: dict[int, object]) -> None:
        """Forget what nobody reads any more once ``call`` has run."""
        self._left.subtract(call.inputs)
        for number in (*call.inputs, *call.outputs):
            if self._left[number] <= 0:
                values.pop(number, None)


def observe(
    graph: CallGraph,
    samples: Sequence[Any],
    requested: Iterable[int],
    change: Callable[[int, Any], Any] = lambda number, tensor: tensor,
) -> Iterator[tuple[int, Any]]:
    """Run the graph and yield (tensor number, tensor) of every requested tensor as soon as it is there.

    ``model(x)`` would hold every activation to the end; here only what is still to be read is alive.

    Args:
        change: (tensor number, tensor) -> what the requested tensor is replaced by, for all that is computed from it.
    """
    requested = frozenset(requested)
    values: dict[int, object] = {}
    uses = Uses(graph.calls)
    for number, sample in zip(graph.inputs, samples, strict=True):
        values[number] = keras.ops.convert_to_tensor(sample)
    for call in graph.calls:
        if call.kind != SOURCE_INPUT:
            run_call(call, values)
        for number in call.outputs:
            if number in requested:
                values[number] = change(number, values[number])
                yield number, values[number]
        uses.drop(call, values)


def tensors_of(graph: CallGraph, samples: Sequence[Any], requested: Iterable[int]) -> dict[int, Any]:
    """Tensor number -> tensor, of every requested tensor."""
    return dict(observe(graph, samples, requested))


def run(model: keras.Model | CallGraph, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The model's outputs as float64 arrays, flat; ``samples``: one array for each input, flat."""
    graph = model if isinstance(model, CallGraph) else build_graph(model)
    outputs = tensors_of(graph, samples, graph.outputs)
    return [np.asarray(keras.ops.convert_to_numpy(outputs[n]), dtype="float64") for n in graph.outputs]
