"""`Planned` -> `Rewritten`: the one way in which a converted model is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octconvert.errors import RewriteError
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.results.plan import Plan
from octconvert.rewriting.context import RewriteContext
from octconvert.rewriting.new_layers import TunedWeights
from octconvert.rewriting.record import NewCall, NewLayer, ValueKey, weights_by_name
from octconvert.rewriting.walk import Walk
from octconvert.rules import Value
from octconvert.system.progress import Progress


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A converted model, with the links between its layers and tensors and those of the source.

    Attributes:
        planned: what was done; a layer that could not be rewritten is plain in it, with the reason.
        model: the Keras model, weights moved.
        layers: its layers, each with the call of the source that it was built for.
        calls: the calls of these layers, in the order in which they were built.
        values: (path, id of a Keras tensor of the source) -> the Keras tensor or `Pair` that replaces it.
        notes: for the report.
        parameter_changes: call key -> how many parameters fewer there are than in the source.
    """

    planned: Planned
    model: Any
    layers: tuple[NewLayer, ...]
    calls: tuple[NewCall, ...]
    values: Mapping[ValueKey, Value]
    notes: tuple[str, ...]
    parameter_changes: Mapping[object, int]

    @property
    def layout(self) -> Layout:
        return self.planned.layout

    @property
    def plan(self) -> Plan:
        return self.planned.plan

    def weights(self) -> dict[tuple, dict[str, Any]]:
        """(call key, part) -> the weights of the layer that was built for it, by attribute name."""
        return {(*item.call.key, item.part): weights_by_name(item.layer) for item in self.layers}


def rewrite(
    planned: Planned,
    progress: Progress | None = None,
    weights: TunedWeights | None = None,
) -> Rewritten:
    """Build the converted model. A layer whose rule fails is left plain for that reason, and the rest is built again.

    Args:
        planned: the source's graph and every decision about it.
        progress: called with ("build", calls done, calls in all).
        weights: `Rewritten.weights` of another model of the same plan, to use instead of the source's.

    Raises:
        RewriteError: the same layer fails although it is plain.
    """
    while True:
        try:
            return _rewritten(planned, progress, weights)
        except RewriteError as error:
            if error.key in planned.plain_calls:
                raise
            planned = planned.leaving_plain({error.key: error.reason})


def _rewritten(planned: Planned, progress: Progress | None, weights: TunedWeights | None) -> Rewritten:
    context = RewriteContext(planned, weights)
    calls_done = None if progress is None else lambda done, total: progress("build", done, total)
    model, record = Walk(context, calls_done).model(), context.record
    return Rewritten(
        planned=planned,
        model=model,
        layers=tuple(record.layers),
        calls=tuple(record.calls),
        values=record.values,
        notes=tuple(record.notes),
        parameter_changes=record.parameter_changes,
    )
