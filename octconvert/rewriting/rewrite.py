"""`Planned` -> `Rewritten`: the one way in which a converted model is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from octconvert.errors import RewriteError
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.results.plan import Plan
from octconvert.rewriting.builder import Applied, Builder, Made, weights_by_name


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A converted model, and what stands in it for what of the source.

    Attributes:
        planned: what was done; a layer that could not be rewritten is plain in it, with the reason.
        model: the Keras model, weights moved.
        layers: its layers, each with the call of the source that it was built for.
        calls: the calls of these layers, in the order in which they were built.
        values: (path, id of a Keras tensor of the source) -> the Keras tensor or `Pair` in its place.
        notes: what the user should know.
        parameter_changes: call key -> how many parameters fewer there are than in the source.
    """

    planned: Planned
    model: Any
    layers: tuple[Made, ...]
    calls: tuple[Applied, ...]
    values: Mapping[tuple[tuple[str, ...], int], Any]
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
    progress: Callable[[str, int, int], None] | None = None,
    weights: Mapping[tuple, Mapping[str, Any]] | None = None,
) -> Rewritten:
    """Build the converted model. A layer whose rule fails is left plain for that reason, and the rest built again.

    Args:
        progress: called with ("build", calls done, calls in all).
        weights: `Rewritten.weights` of another model of the same plan, taken in the place of the source's.

    Raises:
        RewriteError: the same layer fails although it is plain.
    """
    failed: dict[object, str] = {}
    report = None if progress is None else lambda done, total: progress("build", done, total)
    while True:
        builder = Builder(planned.layout, planned.options, report, weights)
        try:
            model = builder.build()
        except RewriteError as error:
            if error.key in failed:
                raise
            failed[error.key] = error.reason
            planned = planned.leaving_plain(failed)
            continue
        return Rewritten(
            planned,
            model,
            tuple(builder.made),
            tuple(builder.applied),
            builder.values,
            tuple(builder.notes),
            builder.parameter_changes,
        )
