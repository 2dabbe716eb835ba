"""Measures two models and puts the numbers into a `Report`."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from octconvert.calibration.calibrate import Calibrated
from octconvert.costs.cost import measure
from octconvert.costs.macs import call_macs
from octconvert.model.functions import held
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.octave.geometry import ceil_div
from octconvert.octave.split import ChannelSplit
from octconvert.options.fields import parse
from octconvert.options.loading import LoadingOptions
from octconvert.pipeline.source import Source, label_of, read_model
from octconvert.planning.convolutions import convolutions
from octconvert.results.bench import Bench
from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, PLAIN
from octconvert.results.report import Check, ConvolutionReport, Evaluation, Report

_PARTS = ("-depthwise-H", "-depthwise-L", "-depthwise", "-HH", "-HL", "-LH", "-LL", "-octave", "-H", "-L")
"""Endings of the layers that one source layer may become."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a report tells of a conversion besides the two models.

    Attributes:
        options: (name, value) of the options to name.
        target: the file that was named; empty for none.
        seconds: that all took.
    """

    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    options: tuple[tuple[str, object], ...]
    evaluation: Evaluation | None = None
    bench: Bench | None = None
    target: str = ""
    seconds: float = 0.0

    def finished(self, target: str, checks: tuple[Check, ...], seconds: float) -> Outcome:
        """The same with the file, more checks and the time."""
        return replace(self, target=target, checks=(*self.checks, *checks), seconds=seconds)


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
                input_shape=_sizes(graph, entry.input_shape),
                output_shape=_sizes(graph, entry.output_shape),
                high_shape=_part_shape(graph, entry.output_shape, None if split is None else len(split.high), 1),
                low_shape=None if split is None else _low_shape(graph, entry.output_shape, split),
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
        notes=outcome.notes,
        options=outcome.options,
        seconds=outcome.seconds,
        next_command=_next_command(outcome.target, model),
        calibration=result.report,
        evaluation=outcome.evaluation,
        bench=outcome.bench,
    )


def _next_command(target: str, model) -> str:
    """How to go on with a saved model; one with Python code loads only where it is trusted."""
    arguments = json.dumps(target, ensure_ascii=False) + (", unsafe=True" if held(model).codes else "")
    code = f"import octconvert; octconvert.load({arguments}).summary()"
    return f"python -c {shlex.quote(code)}" if target else ""


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
    inside = name.replace("-octave/", "/")  # in a nested model that had to be renamed
    for part in ("", *_PARTS):
        if inside.removesuffix(part) in names:
            return inside.removesuffix(part)
    return name


def _sizes(graph: CallGraph, shape) -> tuple[int | None, ...]:
    """(rows, columns, channels) of a map's shape, whatever the data format; other ranks as they are."""
    if len(shape) != 4:
        return tuple(shape[1:])
    return (*(shape[axis] for axis in graph.spatial_axes), shape[graph.channel_axis])


def _part_shape(graph: CallGraph, shape, channels: int | None, octave: int) -> tuple[int | None, ...]:
    *extent, total = _sizes(graph, shape)
    sizes = (None if size is None else ceil_div(size, octave) for size in extent)
    return (*sizes, total if channels is None else channels)


def _low_shape(graph: CallGraph, shape, split: ChannelSplit) -> tuple[int | None, ...]:
    return _part_shape(graph, shape, len(split.low), split.octave)


def diff(arguments: Mapping[str, Any]) -> Report:
    """`octconvert.diff`; see there."""
    options, items = parse(LoadingOptions, arguments), (arguments["a"], arguments["b"])
    first, second = (read_model(item, options).model for item in items)
    return diff_report(first, second, label_of(items[0], first), label_of(items[1], second))


def diff_report(a, b, source: str, target: str) -> Report:
    """Two models side by side, their convolutions matched by name; the second may be a conversion of the first."""
    (graph_a, cost_a), (graph_b, cost_b) = measure(a), measure(b)
    before, after = macs_by_layer(graph_a), macs_by_source(graph_b, graph_a)
    names = {call.layer_name for call in graph_a.calls if call.kind == OPERATION}
    parts: defaultdict[str, list[Call]] = defaultdict(list)
    for call in graph_b.calls:
        if call.kind == OPERATION:
            parts[source_name(call.layer_name, names)].append(call)
    rows = {}
    for call in convolutions(graph_a):
        if call.layer_name not in rows:
            rows[call.layer_name] = _diff_row(graph_a, graph_b, call, parts[call.layer_name], before, after)
    notes = [f"'{name}' is only in {target}" for name in after if name not in before]
    return Report(source, target, cost_a, cost_b, tuple(rows.values()), notes=tuple(notes[:20]))


def _diff_row(graph_a: CallGraph, graph_b: CallGraph, call: Call, parts: list[Call], before, after):
    name = call.layer_name
    shapes = [graph_a.tensors[number].shape for number in (call.inputs[0], call.outputs[0])]
    role, low_in, low_out = _role_of_parts(graph_b, parts)
    reason = "" if role != PLAIN else "the same in both models"
    if not parts:
        role, reason = "-", "not in the second model"
    elif role == PLAIN and after[name] != before[name]:
        role = parts[-1].class_name
    channels = [_sizes(graph_a, shape)[-1] or 1 for shape in shapes]
    octave = _octave_of(graph_b, parts)
    return ConvolutionReport(
        name=name,
        class_name=call.class_name,
        role=role,
        alpha_in=low_in / channels[0],
        alpha_out=low_out / channels[1],
        macs_before=before[name],
        macs_after=after[name],
        input_shape=_sizes(graph_a, shapes[0]),
        output_shape=_sizes(graph_a, shapes[1]),
        high_shape=_part_shape(graph_a, shapes[1], channels[1] - low_out, 1),
        low_shape=_part_shape(graph_a, shapes[1], low_out, octave) if low_out else None,
        reason=reason,
    )


def _low_width(graph: CallGraph, tensors) -> int:
    """Channels of the second of two tensors; 0 for one."""
    return _channels(graph, tensors[1]) if len(tensors) == 2 else 0


def _channels(graph: CallGraph, tensor: int) -> int:
    return graph.tensors[tensor].shape[graph.channel_axis] or 0


def _role_of_parts(graph: CallGraph, parts: list[Call]) -> tuple[str, int, int]:
    """(role, low channels in, low channels out) of the layers that stand for one convolution."""
    octave = [call for call in parts if hasattr(call.operation, "octave")]
    if octave:
        low_in, low_out = _low_width(graph, octave[0].inputs), _low_width(graph, octave[-1].outputs)
    else:  # built-in layers tell their path by their name; a low output comes from HL, a low input goes into LH
        paths = {call.layer_name[-3:]: call for call in parts if len(call.inputs) == len(call.outputs) == 1}
        reads, writes = paths.get("-LH"), paths.get("-HL")
        low_in = _channels(graph, reads.inputs[0]) if reads else 0
        low_out = _channels(graph, writes.outputs[0]) if writes else 0
    roles = {(False, False): PLAIN, (False, True): FIRST, (True, True): INTERMEDIATE, (True, False): LAST}
    return roles[low_in > 0, low_out > 0], low_in, low_out


def _octave_of(graph: CallGraph, parts: list[Call]) -> int:
    return next((call.operation.octave for call in parts if hasattr(call.operation, "octave")), 2)


__all__ = ["collect", "diff_report", "macs_by_layer", "macs_by_source"]
