"""Random inputs that a model is run on, and its outputs for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octconvert.model.execution import run
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import SAMPLE_SIZES, with_known_sizes

LARGE = (1.0, 255.0)
"""Least and largest value of inputs for a model that gives no finite outputs for 0..1."""


def example_inputs(model, seed: int = 0, batch: int = 1) -> list[np.ndarray]:
    """Random samples for each input of a model, uniform in 0..1 (integers: 0 or 1), in the model's flat order.

    ``batch``: how many, where the model does not fix that.
    """
    rng = np.random.default_rng(seed)
    graph = with_known_sizes(model if isinstance(model, CallGraph) else build_graph(model), SAMPLE_SIZES)
    return [_sample(rng, graph.tensors[number], batch) for number in graph.inputs]


def _sample(rng, tensor, batch: int) -> np.ndarray:
    shape = (tensor.shape[0] or batch, *tensor.shape[1:])
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
        """Whether the outputs tell something: they have numbers, infinite ones among them, but no nan."""
        return all(np.isfinite(output).any() and not np.isnan(output).any() for output in self.outputs if output.size)


def example(model, batch: int = 1) -> Example:
    """`example_inputs`, or larger ones where the model's outputs are finite only for those (a logarithm, for one)."""
    found = [_run_example(model, batch, 0.0, 1.0)]
    if not found[0].is_finite:
        found.append(_run_example(model, batch, *LARGE))
    return next((each for each in found if each.is_finite), found[0])


def _run_example(model, batch: int, least: float, most: float) -> Example:
    samples = [least + (most - least) * x if x.dtype == "float32" else x for x in example_inputs(model, batch=batch)]
    return Example(samples, run(model, samples))
