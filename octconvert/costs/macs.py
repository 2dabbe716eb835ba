"""Multiply-accumulates of the calls of a model.

They count convolutions, Dense layers and layers with a count of their own (``layer.macs(input_shape)``), those inside
`TimeDistributed` once for each time step; additions, pooling and normalisation count nothing, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from octconvert.model.functional import functional_of
from octconvert.model.graph import OPERATION, CallGraph, Shape
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import with_input_shapes
from octconvert.rules import traits_of
from octconvert.rules.traits import DENSE, TRANSPOSED, ConvolutionStage


def call_macs(graph: CallGraph) -> dict[int, int]:
    """Call index -> MACs for one sample, for the calls that have any; all sizes must be known."""
    counts = {}
    for call in graph.calls:
        if call.kind == OPERATION:
            shapes = ([graph.tensors[number].shape for number in numbers] for numbers in (call.inputs, call.outputs))
            counts[call.index] = layer_macs(call.operation, *shapes) * graph.runs(call)
    return {index: count for index, count in counts.items() if count}


def uses_a_sample(graph: CallGraph) -> float:
    """How often a sample runs through the layers, in the mean over their MACs; all sizes must be known.

    1 where each is called once, 2 for a pair of images that go through the same layers, the number of time steps within
    a `TimeDistributed`.
    """
    macs, once = call_macs(graph), dict[Any, float]()
    for index, count in macs.items():
        call = graph.calls[index]
        once[call.key] = max(once.get(call.key, 0.0), count / graph.runs(call))
    return sum(macs.values()) / sum(once.values()) if macs else 1.0


def layer_macs(layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """MACs of one call of a layer or raw operation, and of what a wrapper or nested model holds.

    Args:
        inputs, outputs: shapes of its tensors, batch axis included; all other sizes known.
    """
    own = getattr(layer, "macs", None)
    if callable(own):
        return int(own(inputs if len(inputs) > 1 else inputs[0]))
    traits = traits_of(layer, changed_call=True)
    if traits.stages:
        return sum(_stage_macs(layer, stage, traits.data_format, inputs[0], outputs[0]) for stage in traits.stages)
    if traits.inner is not None and traits.inner.each_step:
        steps, rank = inputs[0][1] or 1, len(inputs[0])
        step = ([(x[0], *x[2:]) if len(x) == rank else x for x in shapes] for shapes in (inputs, outputs))
        return steps * layer_macs(traits.inner.layer, *step)
    if traits.inner is not None:
        return layer_macs(traits.inner.layer, inputs, outputs)
    if functional_of(layer) is not None:
        return sum(call_macs(with_input_shapes(build_graph(layer), inputs)).values())
    return 0


def _stage_macs(layer: Any, stage: ConvolutionStage, data_format: str | None, source: Shape, output: Shape) -> int:
    """The size of the kernel for each position: of the input where that is spread, else of the output."""
    shape = source if stage.kind == TRANSPOSED else output
    channels_first = stage.kind != DENSE and data_format == "channels_first"
    positions = shape[2:] if channels_first else shape[1:-1]
    return math.prod(size or 1 for size in positions) * math.prod(getattr(layer, stage.kernel).shape)
