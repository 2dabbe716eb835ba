"""A part of a model alone, in its form for inference, with pairs or plain tensors at its ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
from keras import layers

from octconvert.inference.forms import for_inference
from octconvert.latency.fusing import PART
from octconvert.model.graph import OPERATION
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Decisions
from octconvert.planning.ledger import GroupChoice, TiedProducers
from octconvert.planning.planned import Planned
from octconvert.planning.solve import solve
from octconvert.rewriting import rewrite

LEAST_SIZE = 8
"""Rows and columns of a map that is pooled to a vector at once."""


@dataclass(frozen=True)
class ProbeState:
    """Which tensors of a part are pairs.

    Attributes:
        inputs: alpha of each; 0: plain.
        output: alpha of the outputs that the part decides.
        frozen: whether the part merges the pairs that it reads.
    """

    inputs: tuple[float, ...]
    output: float
    frozen: bool = False


def probe(
    model: keras.Model,
    state: ProbeState,
    options: RewritingOptions,
    runtime: str,
    data_format: str,
    precision: str | None = None,
) -> keras.Model:
    """The converted model of a part, between others that write and read pairs as ``state`` says.

    The part is nested in a model that is converted, and taken out again: its inputs and outputs are then two tensors
    where they are pairs.
    """
    options = replace(options, alpha_map=(), include=(), exclude=(), preset=None, portable=False)
    outer = _between_convolutions(model, options.min_size, data_format)
    graph = build_graph(outer)

    def choose(group: TiedProducers) -> GroupChoice:
        names = [producer.call.layer_name for producer in group.producers]
        return GroupChoice(max(_alpha(name, state) for name in names))

    frozen = {call.key: "" for call in graph.calls if state.frozen and call.path and call.kind == OPERATION}
    converted = rewrite(Planned.of(solve(graph, options, Decisions(frozen), choose), options)).model
    return for_inference(converted.get_layer(PART), runtime, quantize=precision)


def _between_convolutions(model: keras.Model, min_size: int, data_format: str) -> keras.Model:
    sources = [_source(tensor, number, min_size, data_format) for number, tensor in enumerate(model.inputs)]
    outputs = model([value for _, value in sources])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    # The inputs have other readers as well: how the part itself reads a pair must not decide whether it is one.
    ends = [*outputs, *(value for _, value in sources)]
    read = [_reader(value, number, data_format) for number, value in enumerate(ends)]
    return keras.Model([source for source, _ in sources], read)


def _source(
    tensor: keras.KerasTensor, number: int, min_size: int, data_format: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """(input, tensor of the shape of ``tensor`` that may be a pair)."""
    shape, name = tensor.shape[1:], f"writer{number}"
    if len(shape) not in (1, 3):
        source = keras.Input(shape, dtype=tensor.dtype)
        return source, source
    channels_last = data_format == "channels_last" or len(shape) == 1
    channels, extent = (shape[-1], shape[:-1]) if channels_last else (shape[0], shape[1:])
    is_vector = extent in ((), (1, 1))
    size = (max(min_size, LEAST_SIZE),) * 2 if is_vector else extent
    source = keras.Input((*size, channels) if channels_last else (channels, *size))
    value = layers.Conv2D(channels, 1, data_format=data_format, use_bias=False, name=name)(source)
    if is_vector:
        value = layers.GlobalAveragePooling2D(data_format=data_format, keepdims=bool(extent))(value)
    return source, value


def _reader(value: keras.KerasTensor, number: int, data_format: str) -> keras.KerasTensor:
    name, rank = f"reader{number}", len(value.shape)
    if rank == 4:
        return layers.Conv2D(1, 1, data_format=data_format, name=name)(value)
    return layers.Dense(1, name=name)(value) if rank == 2 else value


def _alpha(name: str, state: ProbeState) -> float:
    if name.startswith("writer"):
        return state.inputs[int(name.removeprefix("writer"))]
    return state.output if name.startswith(f"{PART}/") else 0.0
