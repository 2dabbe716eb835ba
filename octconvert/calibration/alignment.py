"""A source model and its conversion side by side: which tensors of one correspond to which of the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.layers.spatial import pool_octave
from octconvert.model.functional import node_of
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rewriting import Rewritten
from octconvert.rules.causality import is_causal


@dataclass(frozen=True)
class Counterpart:
    """The counterpart of a source tensor in the converted model: a plain tensor, a pair or a low map.

    Attributes:
        numbers: of one tensor, or of the parts of the split.
        split: of the source tensor; None where the counterpart is plain.
    """

    numbers: tuple[int, ...]
    split: ChannelSplit | None


@dataclass(frozen=True, eq=False)
class AlignedCall:
    """One call of a layer of the converted model, and its counterpart in the source.

    Attributes:
        layer, part: see `octconvert.rewriting.NewLayer`.
        call: of the converted graph.
        source: of the source graph.
    """

    layer: Any
    part: str
    call: Call
    source: Call


class Alignment:
    """Source and converted model as call graphs, with the correspondence between them.

    Attributes:
        layout: the plan the conversion follows.
        source, converted: the two graphs.
        model: the converted model.
        causal: whether low cells of its signals are causal ones (`octconvert.octave.geometry`).
        counterparts: number of a source tensor -> its `Counterpart`; missing where there is none (padding that is
            still to be applied).
    """

    def __init__(self, rewritten: Rewritten):
        layout, model = rewritten.layout, rewritten.model
        self.layout, self.model, self.source = layout, model, layout.graph
        self.converted: CallGraph = build_graph(model)
        self.causal = is_causal(self.source)
        self._applied = rewritten.calls
        values: dict[int, Any] = {}  # by Keras tensor; a nested model is built once for all its calls
        for (_, tensor), value in rewritten.values.items():
            values[tensor] = value
        self._chains = self._match_chains(values)
        self.counterparts = self._match(values)

    def _match_chains(self, values: dict[int, Any]) -> dict[tuple, tuple]:
        """Chain of a call in a nested model of the source -> that of the converted model's."""
        chains = {call.chain for call in self.source.calls}
        return {chain: tuple(node_of(_parts(values[id(n.outputs[0])])[0]) for n in chain) for chain in chains}

    def _match(self, values: dict[int, Any]) -> dict[int, Counterpart]:
        numbers, counterparts = self.converted.every, {}
        for (chain, tensor), number in self.source.every.items():
            value = values.get(tensor)
            if value is None or (isinstance(value, Pair) and value.pads is not None):
                continue
            keys = [(self._chains[chain], id(part)) for part in _parts(value)]
            if all(key in numbers for key in keys):
                split = value.split if isinstance(value, Pair) else None
                counterparts[number] = Counterpart(tuple(numbers[key] for key in keys), split)
        return counterparts

    @cached_property
    def calls(self) -> list[AlignedCall]:
        """Calls of layers that have one counterpart in the source, in execution order of the converted model."""
        applied = {id(item.node): item for item in self._applied}
        back = {converted: source for source, converted in self._chains.items()}
        source_calls = {(call.chain, id(call.node)): call for call in self.source.calls if call.kind == OPERATION}
        aligned = []
        for call in self.converted.calls:
            item = applied.get(id(call.node)) if call.kind == OPERATION else None
            source = source_calls.get((back.get(call.chain, ()), id(item.call.node))) if item is not None else None
            if item is not None and source is not None:
                aligned.append(AlignedCall(item.new_layer.layer, item.new_layer.part, call, source))
        return aligned

    @cached_property
    def layers(self) -> list[list[AlignedCall]]:
        """The calls of each layer that can be fitted: one for each of its calls in the converted model."""
        counts = Counter(id(call.operation) for call in self.converted.calls if call.kind == OPERATION)
        groups: dict[int, list[AlignedCall]] = {}
        for aligned in self.calls:
            groups.setdefault(id(aligned.layer), []).append(aligned)
        every = groups.values()
        return [g for g in every if len(g) == counts[id(g[0].layer)] == len({aligned.source.index for aligned in g})]

    def parts(self, tensor: BackendTensor, split: ChannelSplit | None) -> list[BackendTensor]:
        """A tensor of the source as the converted model should hold it: whole, or in parts, the low one pooled."""
        if split is None:
            return [tensor]
        if "float" not in keras.backend.standardize_dtype(tensor.dtype):  # of a comparison: the share of each cell
            tensor = ops.cast(tensor, "float32")
        axis, is_map = self.source.axis_of_channels(tensor.shape), self.source.is_map(tensor.shape)
        parts = []
        for part in split.parts:
            own = tensor if split.whole_low else ops.take(tensor, part.channels, axis=axis)
            parts.append(self.pooled(own, part.cell) if is_map else own)
        return parts

    def pooled(self, x: BackendTensor, octave: Octave) -> BackendTensor:
        """A map as the low maps of the converted model hold it."""
        return pool_octave(x, octave, self.source.data_format, self.causal and len(x.shape) == 3)

    def block_means(self, x: BackendTensor, octave: Octave) -> BackendTensor:
        """A map as one that is upsampled from low cells can hold it: causal cells too stand for the positions *from*
        their own one on, once they are upsampled."""
        return pool_octave(x, octave, self.source.data_format)

    def own_channels(self, aligned: AlignedCall, vector: BackendTensor) -> np.ndarray:
        """The entries of a vector over a source call's input channels that the call's copy for one part has."""
        values = np.asarray(ops.convert_to_numpy(vector), dtype="float64")
        split = self.layout.splits.get(aligned.source.inputs[0])
        if aligned.part == "clone" or split is None:
            return values
        return values[split.low if aligned.part == "clone-L" else split.high]


def _parts(value: Any) -> list[keras.KerasTensor]:
    """The Keras tensors of a value of the rewriting: [high, low], [low] or [plain]."""
    return value.tensors if isinstance(value, Pair) else [value]
