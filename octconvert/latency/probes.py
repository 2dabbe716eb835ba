"""A unit alone, in its form for inference, with pairs or plain tensors at its ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
from keras import layers

from octconvert.inference.forms import for_inference
from octconvert.latency.units import UNIT
from octconvert.model.graph import OPERATION
from octconvert.model.graph_reader import build_graph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Decisions
from octconvert.planning.ledger import GroupChoice, TiedProducers
from octconvert.planning.planned import Planned
from octconvert.planning.solve import solve
from octconvert.rewriting import rewrite

LEAST_SIZE = 8
"""Rows and columns of a map that is only made to be pooled to a vector."""


@dataclass(frozen=True)
class State:
    """What is a pair: alpha of each input, and of what the unit decides itself; 0: plain.

    ``frozen``: the unit reads no pair as it is.
    """

    inputs: tuple[float, ...]
    output: float
    frozen: bool = False


def probe(model, state: State, options: RewritingOptions, runtime: str, data_format: str):
    """What becomes of a unit's model between others that write and read pairs as ``state`` tells.

    The unit is a nested model of one that is converted, and taken out again: its inputs and outputs are then two
    tensors where they are pairs.
    """
    options = replace(options, alpha_map=(), include=(), exclude=(), preset=None, portable=False)
    outer = _between_convolutions(model, options.min_size, data_format)
    graph = build_graph(outer)

    def choose(group: TiedProducers) -> GroupChoice:
        names = [producer.call.layer_name for producer in group.producers]
        return GroupChoice(max(_alpha(name, state) for name in names))

    frozen = {call.key: "" for call in graph.calls if state.frozen and call.path and call.kind == OPERATION}
    built = rewrite(Planned.of(solve(graph, options, Decisions(frozen), choose), options)).model
    return for_inference(built.get_layer(UNIT), runtime)


def _between_convolutions(model, min_size: int, data_format: str):
    sources = [_source(tensor, number, min_size, data_format) for number, tensor in enumerate(model.inputs)]
    made = model([value for _, value in sources])
    made = made if isinstance(made, list) else [made]
    # The inputs are read by others as well: what the unit itself does with a pair must not decide whether it is one.
    ends = [*made, *(value for _, value in sources)]
    read = [_reader(value, number, data_format) for number, value in enumerate(ends)]
    return keras.Model([given for given, _ in sources], read)


def _source(tensor, number: int, min_size: int, data_format: str):
    """(input, tensor of the shape of ``tensor`` that may be a pair)."""
    shape, name = tensor.shape[1:], f"writer{number}"
    if len(shape) not in (1, 3):
        given = keras.Input(shape, dtype=tensor.dtype)
        return given, given
    channels_last = data_format == "channels_last" or len(shape) == 1
    channels, extent = (shape[-1], shape[:-1]) if channels_last else (shape[0], shape[1:])
    is_vector = extent in ((), (1, 1))
    size = (max(min_size, LEAST_SIZE),) * 2 if is_vector else extent
    given = keras.Input((*size, channels) if channels_last else (channels, *size))
    value = layers.Conv2D(channels, 1, data_format=data_format, use_bias=False, name=name)(given)
    if is_vector:
        value = layers.GlobalAveragePooling2D(data_format=data_format, keepdims=bool(extent))(value)
    return given, value


def _reader(value, number: int, data_format: str):
    name, rank = f"reader{number}", len(value.shape)
    if rank == 4:
        return layers.Conv2D(1, 1, data_format=data_format, name=name)(value)
    return layers.Dense(1, name=name)(value) if rank == 2 else value


def _alpha(name: str, state: State) -> float:
    if name.startswith("writer"):
        return state.inputs[int(name.removeprefix("writer"))]
    return state.output if name.startswith(f"{UNIT}/") else 0.0
