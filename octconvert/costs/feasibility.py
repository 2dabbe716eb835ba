"""Whether one run of a model fits into the memory of this machine, checked before anything is run."""

from __future__ import annotations

import math

import keras

from octconvert.costs.cost import cost_of
from octconvert.errors import InputError
from octconvert.model import opening
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.opening import NOTHING_CLOSED, Closed
from octconvert.model.shapes import sample_sizes, with_known_sizes
from octconvert.rules import traits_of
from octconvert.system import memory
from octconvert.text.words import extent

SHARE = 0.25
"""Of the memory for the activations of one run: a second copy of the outputs and the insides of kernels come on top."""
MACS = 10**16
"""Multiplications of one run; a fast processor does 10^12 in a second."""
STEPS = 10_000
"""Steps that a layer takes one by one, each with operations of its own."""


def runnable_graph(model: keras.Model, closed: Closed = NOTHING_CLOSED) -> CallGraph:
    """The model's call graph; ``closed``: see `octconvert.model.graph_reader.build_graph`.

    Raises:
        InputError: The model is subclassed; or one run on one sample needs more memory than there is, because a size in
            its architecture is far from any real one or ``input_shape`` is too large.
    """
    opening.forget()
    graph = build_graph(model, closed=closed)
    try:
        sized = with_known_sizes(graph, sample_sizes(graph))
    except InputError:  # it works at no usual size; the code that needs one raises
        return graph
    batch = max((sized.tensors[number].shape[0] or 1 for number in sized.inputs), default=1)
    cost = cost_of(sized)
    needed, available = batch * cost.peak_activation_bytes, memory.total_bytes()
    if needed > SHARE * available:
        largest = max(sized.tensors, key=lambda tensor: math.prod(size or 1 for size in tensor.shape[1:]))
        inputs = ", ".join(extent(sized.tensors[number].shape[1:]) for number in sized.inputs)
        raise InputError(
            f"model '{model.name}': one run on an input of {inputs} needs {_gigabytes(needed)} for activations "
            f"(layer '{sized.calls[largest.producer].name}': {extent(largest.shape[1:])}), too much for this machine's "
            f"{_gigabytes(available)} of memory; give a smaller `input_shape` or rebuild the model"
        )
    _check_work(sized, cost.macs)
    return graph


def _check_work(graph: CallGraph, macs: int) -> None:
    """Refuse a run that would not end within any reasonable time."""
    for call in graph.calls:
        layer, inner = call.operation, traits_of(call.operation, changed_call=True).inner
        counted = (inner is not None and inner.each_step) or getattr(layer, "unroll", False)
        steps = max((graph.tensors[number].shape[1] or 0 for number in call.inputs), default=0) if counted else 0
        if steps > STEPS:
            raise InputError(f"layer '{call.name}' runs {steps:,} steps one by one; the most is {STEPS:,}")
    if macs > MACS:
        counts = f"{min(macs, 10**30):.0e} multiplications, and the most is {MACS:.0e}"
        raise InputError(f"model '{graph.model.name}': one run needs {counts}; give a smaller `input_shape`")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size < 10**15 else f"{min(size, 10**30) / 1e9:.0e} GB"
