"""Sentences on a conversion that the user should know, and why nothing is converted."""

from __future__ import annotations

import math
import re

import keras

from octconvert.calibration.calibrate import Calibrated
from octconvert.model.functional import layer_in_time
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.octave.names import HH, HL, LH
from octconvert.options.rewriting import RewritingOptions
from octconvert.pipeline.source import Source
from octconvert.planning.planned import Planned
from octconvert.results.bench import Bench
from octconvert.results.plan import Plan
from octconvert.rules import find_rule, is_named, rule_of
from octconvert.rules.activations import activation_name

AMPLIFIED, VISIBLE = 2.0, 0.02
"""Ratio of a call's relative error to that of what it reads, and relative error, from which on they are noted."""


def on_conversion(result: Calibrated, options: RewritingOptions) -> list[str]:
    """Notes on a converted model; ``options`` are those that the user set."""
    planned = result.rewritten.planned
    return [
        *_weights(result, options),
        *result.notes,
        *_amplified(result),
        *_converted_before(planned.plan),
        *_unmatched_patterns(options, planned.plan),
        *_unmatched_names(options, planned.graph),
        *unseen(planned.graph, options.elementwise),
        *result.rewritten.notes,
    ]


def nothing_to_convert(source: Source, planned: Planned) -> str:
    """Why no convolution can be converted."""
    plan = planned.plan
    if any(type(layer).__module__.startswith("octconvert.") for layer in source.model._flatten_layers()):
        return f"{source.label}: the model has octave layers already; convert the model that it was converted from"
    if not plan.convolutions:
        hidden = "".join(f"; {note}" for note in unseen(planned.graph, plan.elementwise))
        return f"{source.label}: the model has no convolution{hidden}"
    first, total = plan.convolutions[0], len(plan.convolutions)
    return f"{source.label}: none of {total} convolutions can be converted (first: '{first.name}': {first.reason})"


def slower(bench: Bench) -> list[str]:
    """What to do where fewer MACs take more time."""
    runtimes = [row.runtime for row in bench.measured[1:] if row.speedup is not None and row.speedup < 1]
    hint = "`objective` 'latency' leaves plain what gains no time"
    return [f"the converted model is slower than its source on {runtime}: {hint}" for runtime in runtimes]


def unseen(graph: CallGraph, elementwise: tuple[str, ...] = ()) -> list[str]:
    """Notes on layers without a rule that contain convolutions: wrappers of Keras, layers of other packages."""
    notes: dict[str, dict[str, str]] = {}
    for call in graph.calls:
        is_layer = call.kind == OPERATION and isinstance(call.operation, keras.layers.Layer)
        if is_layer and rule_of(call, elementwise) is None:
            inner = call.operation._flatten_layers(include_self=False)
            if any(getattr(find_rule(layer), "produces", False) for layer in inner):
                notes.setdefault(_why_unseen(graph, call), {})[call.layer_name] = call.class_name
    return [f"{_first_and_count(names)} {note}" for note, names in notes.items()]


def _why_unseen(graph: CallGraph, call: Call) -> str:
    layer = layer_in_time(call.node) or call.operation
    if id(layer) in graph.opened:
        reason = graph.opened[id(layer)].reason
        return f"may contain convolutions, which can not be seen from outside; it stays as it is ({reason})"
    return "contains a convolution that stays as it is: no pair goes through it"


def _first_and_count(classes: dict[str, str]) -> str:
    """The first layer with its class, and how many more there are."""
    (name, class_name), *more = classes.items()
    return f"'{name}' ({class_name}){f' (and {len(more)} more)' if more else ''}"


def _weights(result: Calibrated, options: RewritingOptions) -> list[str]:
    """How the weights were moved, where the function changes and no calibration reports on it."""
    if not result.rewritten.planned.converts or options.octave == 1 or result.report is not None:
        return []
    if options.weights == "fresh":
        return ["the weights are fresh: train the model before use"]
    how = {"slice": "sliced", "fold": "folded"}[options.weights]
    return [f"the weights are {how}, not tuned: measure the accuracy, and fine-tune with fit(), before you rely on it"]


def _amplified(result: Calibrated) -> list[str]:
    """Calls that make more of the errors of what they read, where no layer with weights follows: distances do so."""
    graph, errors = result.rewritten.planned.graph, result.errors
    notes, read = [], set(graph.outputs)
    for call in reversed(graph.calls):
        if not read.intersection(call.outputs) or getattr(call.operation, "weights", None):
            continue
        read.update(call.inputs)
        inputs = [errors.get(graph.producer(tensor).layer_name, math.inf) for tensor in set(call.inputs)]
        own, before = errors.get(call.layer_name, 0.0), max(inputs, default=math.inf)
        if len(inputs) > 1 and own > max(AMPLIFIED * before, VISIBLE):
            notes.append(
                f"the relative error at '{call.layer_name}' is {own:.2g}, that of what it reads {before:.2g}: "
                "differences and distances vary less than what they are computed from"
            )
    return notes


def _converted_before(plan: Plan) -> list[str]:
    """A portable conversion consists of ordinary layers; only their names show it."""
    names = {entry.name for entry in plan.convolutions}
    bases = [name.removesuffix(HH) for name in names if name.endswith(HH)]
    paths = [base for base in bases if names & {base + HL, base + LH}]
    note = "the source looks like a portable octave model already; convert the model that it was converted from instead"
    return [note] if paths and plan.converted else []


def _unmatched_patterns(options: RewritingOptions, plan: Plan) -> list[str]:
    """Patterns that match no layer: most often a misspelling."""
    names = [entry.name for entry in plan.convolutions] + [name for group in plan.groups for name in group.producers]
    unmatched = [pattern for pattern in options.patterns if not any(re.search(pattern, name) for name in names)]
    return [f"the pattern '{pattern}' matches no convolution" for pattern in unmatched]


def _unmatched_names(options: RewritingOptions, graph: CallGraph) -> list[str]:
    """Names of element-wise layers or activations that the model does not have."""
    calls = [call for call in graph.calls if call.kind == OPERATION]
    functions = {activation_name(getattr(call.operation, "activation", None)) for call in calls}
    unmatched = [n for n in options.elementwise if n not in functions and not any(is_named(c, (n,)) for c in calls)]
    return [f"elementwise '{name}' is no layer, class or activation of the model" for name in unmatched]
