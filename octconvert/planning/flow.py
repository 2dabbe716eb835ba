"""The flow that a rule is handed while a call is traced: the one implementation of `octconvert.rules.Flow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from octconvert.layers.base import has_misplaced_bias
from octconvert.model.graph import Call, CallGraph, Shape
from octconvert.options.rewriting import RewritingOptions
from octconvert.rules.causality import is_causal


class _Numbers(Protocol):
    """What a flow does with channel numbers; an `octconvert.planning.ledger.Ledger` records it."""

    def produce(self, call: Call, channels: int, blocks: int) -> np.ndarray: ...

    def high(self, call: Call, channels: int) -> np.ndarray: ...

    def tie(self, first: np.ndarray, second: np.ndarray) -> None: ...

    def balance(self, call: Call, channels: np.ndarray, blocks: int) -> None: ...


@dataclass(frozen=True, eq=False)
class TracedFlow:
    """See `octconvert.rules.Flow` for its methods.

    Attributes:
        graph: the source's calls.
        call: the call that is traced.
        options: what the user requested.
        numbers: tensor number -> channel numbers, for the tensors that may be pairs.
        ledger: records what the rule says about channel numbers.
        refused: why the call's output has to stay plain, whatever the rule says; empty where it need not.
    """

    graph: CallGraph
    call: Call
    options: RewritingOptions
    numbers: Mapping[int, np.ndarray]
    ledger: _Numbers
    refused: str = ""

    def channels(self, argument: int = 0) -> np.ndarray | None:
        return self.numbers.get(self.call.inputs[argument])

    def shape(self, argument: int = 0) -> Shape:
        return self.graph.tensors[self.call.inputs[argument]].shape

    def output_shape(self, output: int = 0) -> Shape:
        return self.graph.tensors[self.call.outputs[output]].shape

    def is_vector(self, argument: int = 0) -> bool:
        return self.graph.is_vector(self.shape(argument))

    def sizes_known(self) -> bool:
        return None not in self.graph.size_of(self.graph.tensors[self.call.inputs[0]].built_shape)

    def produce(self, channels: int, blocks: int = 1) -> tuple[np.ndarray | None, str]:
        reason = self.refused
        if channels == 1:
            reason = reason or "one channel, nothing to split"
        if reason:
            return None, reason
        return self.ledger.produce(self.call, channels, blocks), ""

    def high(self, channels: int) -> np.ndarray:
        return self.ledger.high(self.call, channels)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        self.ledger.tie(first, second)

    def balance(self, channels: np.ndarray, blocks: int) -> None:
        self.ledger.balance(self.call, channels, blocks)

    def portable_refusal(self) -> str:
        if self.options.portable and is_causal(self.graph):
            return "built-in layers (`portable`) do not pool to the end of a low cell, as causal models need"
        if self.options.portable and self.graph.rank == 1 and self.graph.data_format == "channels_first":
            return "Keras has no cropping of signals in channels_first (`portable`)"
        if self.options.portable and not self.sizes_known():
            return "built-in layers (`portable`) need known rows and columns; give `input_shape`"
        return ""

    def bias_refusal(self) -> str:
        layer, shape = self.call.operation, self.output_shape()
        if has_misplaced_bias(layer, shape):
            count = shape[self.graph.channel_axis]
            return f"Keras adds its {count} biases to the {count} columns of the map, not to the channels"
        return ""

    def at(self, call: Call) -> TracedFlow:
        return replace(self, call=call)

    def alone(self, call: Call, channels: np.ndarray) -> TracedFlow:
        return TracedFlow(self.graph, call, self.options, {call.inputs[0]: channels}, _NoNumbers())


class _NoNumbers:
    """In the place of a ledger, where a call may carry channels and nothing else."""

    def produce(self, call: Call, channels: int, blocks: int) -> np.ndarray:
        raise LookupError("produce")

    def high(self, call: Call, channels: int) -> np.ndarray:
        raise LookupError("high")

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        raise LookupError("tie")

    def balance(self, call: Call, channels: np.ndarray, blocks: int) -> None:
        raise LookupError("balance")


def too_small(graph: CallGraph, shape: Shape, options: RewritingOptions) -> str:
    """Why a map of this shape stays plain for its size along the axes that are divided; empty where it need not."""
    if not graph.is_map(shape) or graph.is_vector(shape):
        return ""
    sizes = graph.size_of(shape)
    kept = isinstance(options.octave, tuple) and [cell == 1 for cell in options.octave]
    divided = [size for i, size in enumerate(sizes) if not (kept and kept[i])]
    if all(size is None or size >= options.min_size for size in divided):
        return ""
    return f"{'x'.join(map(str, sizes))} map, below min_size {options.min_size}"
