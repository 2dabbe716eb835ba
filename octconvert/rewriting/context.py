"""What a rule is handed while a call is rewritten: the one implementation of `octconvert.rules.Build`."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import KerasTensor, Layer, Variable

from octconvert.model.graph import Call, Shape
from octconvert.octave.names import SUFFIXES
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.planning.planned import Planned
from octconvert.rewriting.names import Names
from octconvert.rewriting.new_layers import NewLayers, TunedWeights
from octconvert.rewriting.pairs import Pairs
from octconvert.rewriting.record import Record
from octconvert.rewriting.weights import WeightMover
from octconvert.rules.causality import is_causal
from octconvert.rules.protocols import Arguments, Changes, NewCallable, Value, Weights


class RewriteContext:
    """See `octconvert.rules.Build` for its methods; names, new layers, weights and pairs have classes of their own.

    Attributes:
        planned: what is rewritten.
        names, pairs: of the new model.
        record: what the rules and the walk write down.
    """

    def __init__(self, planned: Planned, tuned: TunedWeights | None = None) -> None:
        self.planned, self.record = planned, Record()
        self.graph, self.options = planned.graph, planned.options
        self.data_format, self.octave = planned.graph.data_format, planned.options.octave
        self.causal = is_causal(planned.graph)
        self.names = Names(planned.layout)
        self.pairs = Pairs(planned, self.names)
        self._mover = WeightMover(planned.options.weights == "fresh")
        self._layers = NewLayers(planned, self.names, self._mover, self.record, tuned)
        if self.causal and self.octave != 1:
            self.note(
                "the model is causal: low cells end at the position that they replace, so nothing reads later inputs"
            )
        self._uses = Counter(call.key for call in planned.graph.calls)
        self._by_rank: dict[int, RewriteContext] = {}

    def at(self, call: Call) -> RewriteContext:
        """For the rule of this call: in a model of several ranks the graph and causality are those of its rank."""
        graph = self.planned.graph.for_call(call)
        if graph is self.graph:
            return self
        if graph.rank not in self._by_rank:
            other = self._by_rank[graph.rank] = copy.copy(self)
            other.graph, other.causal = graph, is_causal(graph)
        return self._by_rank[graph.rank]

    # -- the plan and the source --

    def split(self, call: Call, output: int = 0) -> ChannelSplit | None:
        return self.planned.layout.splits.get(call.outputs[output])

    def pair_split(self, call: Call, output: int = 0) -> ChannelSplit:
        return self.planned.layout.splits[call.outputs[output]]

    def source_shape(self, call: Call, argument: int = 0) -> Shape:
        return self.graph.tensors[call.inputs[argument]].shape

    def is_shared(self, call: Call) -> bool:
        return self._uses[call.key] > 1

    # -- names --

    def name(self, preferred: str) -> str:
        return self.names.name(preferred)

    def own_name(self, name: str) -> str:
        return self.names.own_name(name)

    def base_name(self, preferred: str) -> str:
        return self.names.base_name(preferred)

    # -- layers and their weights --

    def clone(
        self,
        call: Call,
        suffix: str = "",
        changes: Changes | None = None,
        weights: Callable[[], Weights] | None = None,
    ) -> NewCallable:
        return self._layers.clone(call, suffix, changes, weights)

    def filled(self, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]) -> NewCallable:
        return self._layers.filled(call, part, create, fill)

    def once(self, call: Call, part: str, create: Callable[[], Any]) -> Any:
        return self._layers.once(call, part, create)

    def make(self, layer_class: type[Layer], config: dict[str, Any]) -> Layer:
        return self._mover.make(layer_class, config)

    def set_weights(self, layer: Layer, values: Weights) -> None:
        self._mover.set_weights(layer, values)

    def assign(self, layer: Layer, values: Mapping[str, np.ndarray | Variable | None]) -> None:
        self._mover.assign(layer, values)

    def tuned(self, call: Call, part: str) -> Mapping[str, Any]:
        return self._layers.tuned(call, part)

    # -- pairs --

    def plain(self, value: Value) -> KerasTensor:
        return self.pairs.plain(value)

    def settled(self, value: Pair) -> Pair:
        return self.pairs.settled(value)

    def joined(self, value: Pair, name: str) -> KerasTensor:
        return self.pairs.joined(value, name)

    def dual(
        self,
        call: Call,
        values: Sequence[Value],
        weights: Callable[[np.ndarray], Weights] | None = None,
        changes: Sequence[Changes | None] = (None, None),
        constants: Callable[[list[Any], dict[str, Any], np.ndarray], Arguments] | None = None,
    ) -> Pair:
        split = self.pair_split(call)
        settled = [self.settled(value) if isinstance(value, Pair) else value for value in values]
        outputs = []
        for part in split.parts:
            inputs = [value.part(part.suffix) if isinstance(value, Pair) else value for value in settled]
            args, kwargs = arguments(call, inputs)
            if constants is not None:
                args, kwargs = constants(args, kwargs, part.channels)
            own, own_changes = _weights_of(weights, part.channels), changes[SUFFIXES.index(part.suffix)]
            outputs.append(self.clone(call, part.suffix, own_changes, own)(*args, **kwargs))
        return Pair.of(outputs, split)

    # -- the report --

    def note(self, text: str) -> None:
        if text not in self.record.notes:
            self.record.notes.append(text)

    def account(self, call: Call, fewer: int) -> None:
        self.record.parameter_changes[call.key] = fewer


def arguments(call: Call, inputs: Sequence[KerasTensor]) -> Arguments:
    """(args, kwargs) of the source's call with other tensors in the place of its own."""
    tensors = {id(tensor): value for tensor, value in zip(call.node.arguments.keras_tensors, inputs, strict=True)}
    return call.node.arguments.fill_in(tensors)


def _weights_of(weights: Callable[[np.ndarray], Weights] | None, channels: np.ndarray) -> Callable[[], Weights]:
    """The weights of the copy for some channels; none where there are none to move."""
    return list if weights is None else lambda: weights(channels)
