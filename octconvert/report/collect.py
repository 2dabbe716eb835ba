"""Measures two models and puts the numbers into a `Report`."""

from __future__ import annotations

from collections import defaultdict

from octconvert.cost import call_macs, cost_of, measured_graph
from octconvert.geometry import ceil_div
from octconvert.graph import OPERATION, CallGraph
from octconvert.planning.make import is_convolution
from octconvert.planning.solve import Layout
from octconvert.planning.values import PLAIN, Plan
from octconvert.report.result import Check, ConvolutionReport, Report

_PARTS = ("-depthwise-H", "-depthwise-L", "-depthwise", "-HH", "-HL", "-LH", "-LL", "-octave", "-H", "-L")
"""Endings of the layers that one source layer may become."""


def collect(layout: Layout, plan: Plan, model, *, source, target, checks, repairs, notes, seconds) -> Report:
    """The report of a conversion."""
    graph, _ = measured_graph(layout.graph)
    after_graph, _ = measured_graph(model)
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
                input_shape=_sizes(graph, entry.input_shape),
                output_shape=_sizes(graph, entry.output_shape),
                high_shape=_part_shape(graph, entry.output_shape, None if split is None else len(split.high), 1),
                low_shape=None if split is None else _part_shape(graph, entry.output_shape, len(split.low), split.octave),
                reason=entry.reason,
            )
        )
    return Report(
        source=source,
        target=target,
        before=cost_of(layout.graph),
        after=cost_of(model),
        convolutions=tuple(rows),
        chains=plan.chains,
        checks=tuple(checks),
        repairs=tuple(repairs),
        notes=tuple(notes),
        options=(("octave", plan.octave), ("weights", plan.weights), ("portable", plan.portable)),
        seconds=seconds,
        next_command=_next_command(target),
    )


def _next_command(target: str) -> str:
    """How to go on with a saved model."""
    return f"python -c \"import octconvert; octconvert.load('{target}').summary()\"" if target else ""


def macs_by_layer(graph: CallGraph) -> defaultdict[str, int]:
    """Layer name -> MACs of all its calls."""
    found: defaultdict[str, int] = defaultdict(int)
    for index, macs in call_macs(graph).items():
        found[graph.calls[index].layer_name] += macs
    return found


def macs_by_source(graph: CallGraph, source: CallGraph) -> defaultdict[str, int]:
    """The same for a converted model, under the names of the source's layers."""
    names = {call.layer_name for call in source.calls if call.kind == OPERATION}
    found: defaultdict[str, int] = defaultdict(int)
    for name, macs in macs_by_layer(graph).items():
        found[source_name(name, names)] += macs
    return found


def source_name(name: str, names: set[str]) -> str:
    """The source layer that a layer of the converted model stands for; its own name if there is none."""
    if name in names:
        return name
    for part in _PARTS:
        if name.removesuffix(part) in names:
            return name.removesuffix(part)
    return name


def _sizes(graph: CallGraph, shape) -> tuple[int | None, ...]:
    """(rows, columns, channels) of a map's shape, whatever the data format."""
    if len(shape) != 4:
        return tuple(shape[1:])
    return (*(shape[axis] for axis in graph.spatial_axes), shape[graph.channel_axis])


def _part_shape(graph: CallGraph, shape, channels: int | None, octave: int) -> tuple[int | None, ...]:
    rows, columns, total = _sizes(graph, shape)
    sizes = (None if size is None else ceil_div(size, octave) for size in (rows, columns))
    return (*sizes, total if channels is None else channels)


def diff_report(a, b, source: str, target: str) -> Report:
    """Two models side by side, their convolutions matched by name."""
    graph_a, graph_b = measured_graph(a)[0], measured_graph(b)[0]
    before, after = macs_by_layer(graph_a), macs_by_source(graph_b, graph_a)
    classes = {source_name(c.layer_name, set(before)): c.class_name for c in graph_b.calls if c.kind == OPERATION}
    rows, seen = [], set()
    for call in graph_a.calls:
        if is_convolution(call) and call.layer_name not in seen:
            seen.add(call.layer_name)
            rows.append(_diff_row(graph_a, call, before, after, classes))
    notes = [f"'{name}' is only in {target}" for name in after if name not in before]
    return Report(source, target, cost_of(graph_a), cost_of(graph_b), tuple(rows), notes=tuple(notes[:20]))


def _diff_row(graph: CallGraph, call, before, after, classes) -> ConvolutionReport:
    name = call.layer_name
    shapes = [_sizes(graph, graph.tensors[number].shape) for number in (call.inputs[0], call.outputs[0])]
    reason = "" if name in after else "not in the second model"
    role = classes.get(name, "-") if classes.get(name) != call.class_name else PLAIN
    return ConvolutionReport(
        name, call.class_name, role, 0.0, 0.0, before[name], after[name], shapes[0], shapes[1], shapes[1], None, reason
    )


__all__ = ["Check", "collect", "diff_report", "macs_by_layer", "macs_by_source"]
