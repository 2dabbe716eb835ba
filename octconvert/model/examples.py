"""Random inputs that a model is run on, and its outputs for them."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from octconvert.model.execution import run
from octconvert.model.graph import CallGraph, Tensor
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import sample_sizes, with_known_sizes

LARGE = (1.0, 255.0)
"""Least and largest value of inputs for a model whose outputs are not finite for 0..1."""


def example_inputs(model: keras.Model | CallGraph, seed: int = 0, batch: int = 1) -> list[np.ndarray]:
    """Random samples for each input of a model, uniform in 0..1 (integers: 0 or 1), in the model's flat order.

    ``batch``: how many, where the model does not fix that.
    """
    rng = np.random.default_rng(seed)
    graph = model if isinstance(model, CallGraph) else build_graph(model)
    graph = with_known_sizes(graph, sample_sizes(graph))
    return [_sample(rng, graph.tensors[number], batch) for number in graph.inputs]


def _sample(rng: np.random.Generator, tensor: Tensor, batch: int) -> np.ndarray:
    shape = (tensor.shape[0] or batch, *(size or 1 for size in tensor.shape[1:]))
    if tensor.dtype == "string":
        return np.full(shape, "a")
    values = rng.random(shape)
    if "int" in tensor.dtype or tensor.dtype == "bool":
        return (values > 0.5).astype(tensor.dtype)
    return values.astype("float32")


@dataclass(frozen=True, eq=False)
class Example:
    """Samples for a model, and its outputs for them; all flat."""

    samples: list[np.ndarray]
    outputs: list[np.ndarray]

    @property
    def is_finite(self) -> bool:
        return all(np.isfinite(output).all() for output in self.outputs)

    @property
    def is_comparable(self) -> bool:
        """Whether outputs can be compared with these: there are finite numbers among them, and no nan."""
        return all(np.isfinite(output).any() and not np.isnan(output).any() for output in self.outputs if output.size)


def example(model: keras.Model | CallGraph, batch: int = 1) -> Example:
    """`example_inputs`, or larger ones where the model's outputs are finite only for those (a logarithm, for one)."""
    small = _run_example(model, batch, 0.0, 1.0)
    if small.is_finite:
        return small
    large = _run_example(model, batch, *LARGE)
    return large if large.is_finite else small


def _run_example(model: keras.Model | CallGraph, batch: int, least: float, most: float) -> Example:
    samples = [least + (most - least) * x if x.dtype == "float32" else x for x in example_inputs(model, batch=batch)]
    return Example(samples, run(model, samples))
