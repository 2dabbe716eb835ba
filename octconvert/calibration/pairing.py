"""A source model and its conversion side by side: which tensors of one stand for which of the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras import ops

from octconvert.build import Builder, Made
from octconvert.graph import OPERATION, Call, CallGraph, build_graph
from octconvert.layers.spatial import pool_octave
from octconvert.planning.solve import Layout
from octconvert.split import ChannelSplit, Pair


@dataclass(frozen=True)
class Counterpart:
    """What stands for a source tensor in the converted model: one tensor number, or (high, low) and their split."""

    numbers: tuple[int, ...]
    split: ChannelSplit | None


@dataclass(frozen=True, eq=False)
class Unit:
    """A layer of the converted model that is called once, and the source's call it stands for.

    Attributes:
        layer, part: see `octconvert.build.Made`.
        call: of the converted graph.
        source: of the source graph.
    """

    layer: Any
    part: str
    call: Call
    source: Call


class Twins:
    """Source and converted model as call graphs, with the bookkeeping between them.

    Attributes:
        layout: the plan the conversion follows.
        source, converted: the two graphs.
        model: the converted model.
        counterparts: number of a source tensor -> its `Counterpart`; missing where there is none (padding that is
            still to be applied; later calls of a nested model).
    """

    def __init__(self, layout: Layout, builder: Builder, model):
        self.layout, self.model, self.source = layout, model, layout.graph
        self.converted: CallGraph = build_graph(model)
        self._made = builder.made
        self.counterparts = self._match(builder)

    def _match(self, builder: Builder) -> dict[int, Counterpart]:
        numbers: dict[int, int] = {}
        for (_, tensor), number in self.converted.values.items():
            numbers.setdefault(tensor, number)
        found = {}
        for key, value in builder.values.items():
            source = self.source.values.get(key)
            parts = [value.high, value.low] if isinstance(value, Pair) else [value]
            pending = isinstance(value, Pair) and value.pads is not None
            if source is None or pending or any(id(part) not in numbers for part in parts):
                continue
            split = value.split if isinstance(value, Pair) else None
            found[source] = Counterpart(tuple(numbers[id(part)] for part in parts), split)
        return found

    @cached_property
    def units(self) -> list[Unit]:
        """Layers that are called once in both models, in execution order of the converted one."""
        calls = [call for call in self.converted.calls if call.kind == OPERATION]
        often = Counter(id(call.operation) for call in calls)
        source_calls = Counter(call.key for call in self.source.calls)
        made: dict[int, Made] = {id(item.layer): item for item in self._made}
        found = []
        for call in calls:
            item = made.get(id(call.operation))
            if item is not None and often[id(call.operation)] == 1 and source_calls[item.call.key] == 1:
                found.append(Unit(item.layer, item.part, call, item.call))
        return found

    def parts(self, tensor, split: ChannelSplit | None) -> list:
        """A tensor of the source as the converted model should hold it: [whole], or [high, pooled low]."""
        if split is None:
            return [tensor]
        axis = self.source.channel_axis if len(tensor.shape) == 4 else len(tensor.shape) - 1
        low = ops.take(tensor, split.low, axis=axis)
        if len(tensor.shape) == 4:
            low = pool_octave(low, split.octave, self.source.data_format)
        return [ops.take(tensor, split.high, axis=axis), low]
