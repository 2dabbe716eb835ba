"""`octconvert.diff`: two models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from octconvert.costs.cost import measure
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.geometry import Octave
from octconvert.octave.names import HL, LH, LL, LOW
from octconvert.options.fields import parse
from octconvert.options.loading import LoadingOptions
from octconvert.pipeline.layer_costs import calls_by_source, macs_by_layer, macs_by_source, map_sizes, part_shape
from octconvert.pipeline.model_graph import compared_graph
from octconvert.pipeline.next_steps import after_diff
from octconvert.pipeline.source import label_of, read_model
from octconvert.planning.convolutions import convolutions
from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, PLAIN
from octconvert.results.report import ConvolutionReport, Report


def diff(arguments: Mapping[str, Any]) -> Report:
    """`octconvert.diff`; see there."""
    options, items = parse(LoadingOptions, arguments), (arguments["a"], arguments["b"])
    first, second = (read_model(item, options).model for item in items)
    report = diff_report(first, second, label_of(items[0], first), label_of(items[1], second))
    return replace(report, next_steps=after_diff(*items, arguments))


def diff_report(a: Any, b: Any, source: str, target: str) -> Report:
    """Two models side by side, their convolutions matched by name; the second may be a conversion of the first."""
    (graph_a, cost_a), (graph_b, cost_b) = measure(a), measure(b)
    before, after = macs_by_layer(graph_a), macs_by_source(graph_b, graph_a)
    parts = calls_by_source(graph_b, graph_a)
    rows = {}
    for call in convolutions(graph_a):
        if call.layer_name not in rows:
            macs = before[call.layer_name], after[call.layer_name]
            rows[call.layer_name] = _row(graph_a, graph_b, call, parts[call.layer_name], macs)
    notes = [f"'{name}' is only in {target}" for name in after if name not in before]
    graph = compared_graph(graph_a, graph_b)
    return Report(source, target, cost_a, cost_b, tuple(rows.values()), notes=tuple(notes[:20]), graph=graph)


def _row(
    graph_a: CallGraph, graph_b: CallGraph, call: Call, parts: list[Call], macs: tuple[int, int]
) -> ConvolutionReport:
    before, after = macs
    shapes = [graph_a.tensors[number].shape for number in (call.inputs[0], call.outputs[0])]
    sizes = [length for shape in shapes for length in map_sizes(graph_a, shape)[:-1]]
    if sizes and all(length == 1 for length in sizes):  # nothing is halved, whatever its name says
        role, low_in, low_out = PLAIN, 0, 0
    else:
        role, low_in, low_out = _role_of_parts(graph_b, parts)
    reason = "" if role != PLAIN else "the same in both models"
    if not parts:
        role, reason = "-", "not in the second model"
    elif role == PLAIN and after != before:
        role = parts[-1].class_name
    channels = [map_sizes(graph_a, shape)[-1] or 1 for shape in shapes]
    octave = _octave_of(graph_b, parts)
    return ConvolutionReport(
        name=call.layer_name,
        class_name=call.class_name,
        role=role,
        alpha_in=low_in / channels[0],
        alpha_out=low_out / channels[1],
        macs_before=before,
        macs_after=after,
        input_shape=map_sizes(graph_a, shapes[0]),
        output_shape=map_sizes(graph_a, shapes[1]),
        high_shape=part_shape(graph_a, shapes[1], channels[1] - low_out, 1),
        low_shape=part_shape(graph_a, shapes[1], low_out, octave),
        reason=reason,
    )


def _low_width(graph: CallGraph, tensors: tuple[int, ...], ends: set[str]) -> int:
    """Low channels of the tensors at one end of a layer; ``ends``: 'h' and 'l', as far as its paths end there."""
    return _channels(graph, tensors[-1]) if len(tensors) == 2 or ends == {"l"} else 0


def _channels(graph: CallGraph, tensor: int) -> int:
    shape = graph.tensors[tensor].shape
    return shape[graph.axis_of_channels(shape)] or 0


def _role_of_parts(graph: CallGraph, parts: list[Call]) -> tuple[str, int, int]:
    """(role, low channels in, low channels out) of the layers in the place of one convolution."""
    octave = [call for call in parts if hasattr(call.operation, "octave")]
    if octave:
        read, written = paths_of(octave[0].operation), paths_of(octave[-1].operation)
        low_in = _low_width(graph, octave[0].inputs, {source for source, _ in read})
        low_out = _low_width(graph, octave[-1].outputs, {target for _, target in written})
    else:  # the path of a built-in layer shows in its name; all that go into, or come from, a low map are as wide
        built_in = [call for call in parts if len(call.inputs) == len(call.outputs) == 1]
        reads = [call.inputs[0] for call in built_in if call.layer_name.endswith((LH, LL, LOW))]
        writes = [call.outputs[0] for call in built_in if call.layer_name.endswith((HL, LL, LOW))]
        low_in, low_out = (_channels(graph, low[0]) if low else 0 for low in (reads, writes))
    roles = {(False, False): PLAIN, (False, True): FIRST, (True, True): INTERMEDIATE, (True, False): LAST}
    return roles[low_in > 0, low_out > 0], low_in, low_out


def paths_of(layer: Any) -> list[tuple[str, str]]:
    """Where the paths of an octave layer begin and end: 'h' or 'l'; none for any other layer."""
    paths = [(source, target) for source in "hl" for target in "hl"]
    return [path for path in paths if getattr(layer, f"{''.join(path)}_kernel", None) is not None]


def _octave_of(graph: CallGraph, parts: list[Call]) -> Octave:
    return next((call.operation.octave for call in parts if hasattr(call.operation, "octave")), 2)
