"""The last stage: measures two models and puts the numbers into a `Report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from octconvert.calibration.calibrate import Calibrated
from octconvert.costs.cost import measure
from octconvert.model.graph import OPERATION
from octconvert.pipeline.layer_costs import high_shape, low_shape, macs_by_layer, macs_by_source, map_sizes
from octconvert.pipeline.model_graph import planned_graph
from octconvert.pipeline.source import Source
from octconvert.results.bench import Bench
from octconvert.results.next_step import NextStep
from octconvert.results.report import Check, ConvolutionReport, Evaluation, Report


@dataclass(frozen=True, eq=False)
class Outcome:
    """The parts of a report that do not follow from the two models.

    Attributes:
        options: (name, value) of the options to name.
        target: the file that was named; empty for none.
        seconds: for everything.
        next_steps: see `Report`.
    """

    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    options: tuple[tuple[str, object], ...]
    evaluation: Evaluation | None = None
    bench: Bench | None = None
    target: str = ""
    seconds: float = 0.0
    next_steps: tuple[NextStep, ...] = ()


def collect(source: Source, result: Calibrated, model: Any, outcome: Outcome) -> Report:
    """The report of a conversion; ``model`` is the converted model, whatever form of it was delivered."""
    layout, plan = result.rewritten.layout, result.rewritten.plan
    graph, cost_before = measure(layout.graph)
    after_graph, cost_after = measure(model)
    before, after = macs_by_layer(graph), macs_by_source(after_graph, graph)
    outputs = {call.layer_name: call.outputs[0] for call in reversed(graph.calls) if call.kind == OPERATION}
    rows = []
    for entry in plan.convolutions:
        split = layout.splits.get(outputs[entry.name]) if entry.alpha_out else None
        rows.append(
            ConvolutionReport(
                name=entry.name,
                class_name=entry.class_name,
                role=entry.role,
                alpha_in=entry.alpha_in,
                alpha_out=entry.alpha_out,
                macs_before=before[entry.name],
                macs_after=after[entry.name],
                input_shape=map_sizes(graph, entry.input_shape),
                output_shape=map_sizes(graph, entry.output_shape),
                high_shape=high_shape(graph, entry.output_shape, split),
                low_shape=None if split is None else low_shape(graph, entry.output_shape, split),
                reason=entry.reason,
                error=result.errors.get(entry.name),
            )
        )
    return Report(
        source=source.label,
        target=outcome.target,
        before=cost_before,
        after=cost_after,
        convolutions=tuple(rows),
        chains=plan.chains,
        checks=outcome.checks,
        repairs=source.repairs,
        notes=tuple(dict.fromkeys(outcome.notes)),  # data for two purposes may have the same
        options=outcome.options,
        seconds=outcome.seconds,
        next_steps=outcome.next_steps,
        calibration=result.report,
        evaluation=outcome.evaluation,
        bench=outcome.bench,
        graph=planned_graph(graph, layout),
    )
