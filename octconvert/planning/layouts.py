"""Options or a plan -> `Layout`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from octconvert.errors import UsageError
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.convolutions import convolutions, is_convolution
from octconvert.planning.interiors import interior_producers
from octconvert.planning.layout import Decisions, Layout
from octconvert.planning.ledger import Choose, GroupChoice, TiedProducers
from octconvert.planning.solve import solve
from octconvert.planning.tracing import Problem, trace
from octconvert.results.plan import Group, Plan
from octconvert.rules import traits_of

PAPER_MIN_SIZE = 8
"""The authors leave maps of 7x7 and smaller plain."""


def layout_from_options(
    graph: CallGraph, options: RewritingOptions, frozen: Mapping[object, str] | None = None
) -> Layout:
    """Solve with the user's options.

    Args:
        frozen: call key -> why the call stays plain as a whole.
    """
    decisions = Decisions(dict(frozen or {}))
    if options.preset == "paper":
        options = replace(options, min_size=max(options.min_size, PAPER_MIN_SIZE))
    for call in convolutions(graph):
        reason = _selection_reason(call, options)
        if reason:
            decisions.frozen.setdefault(call.key, reason)
    if options.preset == "paper":
        for call in _stems(graph):
            decisions.frozen.setdefault(call.key, "stem before a max-pooling (preset paper)")

    return solve(graph, options, decisions, _chooser(graph, options, decisions))


def _chooser(graph: CallGraph, options: RewritingOptions, decisions: Decisions) -> Choose:
    """The alpha of each group: by name, else that of interiors, else the one for all."""
    interior: frozenset[object] = frozenset()
    if options.interior is not None:
        even = Problem.of(graph, options, lambda _: GroupChoice(options.alpha))
        interior = interior_producers(trace(even, decisions))

    def choose(group: TiedProducers) -> GroupChoice:
        names = [producer.call.layer_name for producer in group.producers]
        for pattern, alpha in options.alpha_map:
            if any(re.search(pattern, name) for name in names):
                return GroupChoice(alpha)
        if options.interior is not None and any(producer.call.key in interior for producer in group.producers):
            return GroupChoice(options.interior)
        return GroupChoice(options.alpha)

    return choose


def _selection_reason(call: Call, options: RewritingOptions) -> str:
    if options.include and not any(re.search(pattern, call.layer_name) for pattern in options.include):
        return "not selected by include"
    matched = next((pattern for pattern in options.exclude if re.search(pattern, call.layer_name)), None)
    return f"excluded by '{matched}'" if matched is not None else ""


def _stems(graph: CallGraph) -> list[Call]:
    """Convolutions on the model's input whose output, through layers with one input, reaches a max-pooling."""
    return [call for call in convolutions(graph) if _reads_input(graph, call) and _reaches_max(graph, call)]


def _reads_input(graph: CallGraph, call: Call) -> bool:
    while call.inputs:
        call = graph.producer(call.inputs[0])
        if is_convolution(graph, call):
            return False
    return True


def _reaches_max(graph: CallGraph, call: Call) -> bool:
    pending = [call]
    while pending:
        for consumer in graph.consumers.get(pending.pop().outputs[0], ()):
            pooling = traits_of(consumer.operation).pooling
            if pooling is not None and pooling.kind == "max":
                return True
            if not is_convolution(graph, consumer) and len(consumer.inputs) == 1 and len(consumer.outputs) == 1:
                pending.append(consumer)
    return False


def layout_from_plan(
    graph: CallGraph,
    plan: Plan,
    frozen: Mapping[object, str] | None = None,
    where: str = "plan",
    plain_outputs: Mapping[object, str] | None = None,
) -> Layout:
    """Solve with the decisions of a plan.

    Args:
        frozen: call key -> why the call stays plain as a whole.
        where: the name of the plan in error messages.
        plain_outputs: call key -> why its output stays plain; it may read a pair.

    Raises:
        UsageError: the plan is of another model, or has different splits for tied layers.
    """
    names = {call.layer_name: call for call in graph.calls if call.kind == OPERATION}
    unknown = [name for name in _plan_names(plan) if name not in names]
    if unknown:
        raise UsageError(f"{where}: the model has no layer '{unknown[0]}' (the plan is for '{plan.model}')")
    decisions = Decisions(dict(frozen or {}), dict(plain_outputs or {}))
    for entry in plan.convolutions:
        if entry.frozen:
            decisions.frozen[names[entry.name].key] = entry.reason or "left plain by the plan"
    by_producer = {name: choice for group in plan.groups for name, choice in _choices(group).items()}

    def choose(group: TiedProducers) -> GroupChoice:
        choices = [by_producer.get(producer.call.layer_name, (0.0, None)) for producer in group.producers]
        alphas = {alpha for alpha, _ in choices}
        if len(alphas) > 1:
            listed = ", ".join(p.call.layer_name for p in group.producers[:3])
            raise UsageError(f"{where}: tied layers need one alpha, but {listed} have {sorted(alphas)}")
        selections = tuple(low for _, low in choices if low is not None)
        return GroupChoice(alphas.pop(), selections if len(selections) == len(choices) else None)

    return solve(graph, plan.options(), decisions, choose)


def _choices(group: Group) -> dict[str, tuple[float, tuple[int, ...] | None]]:
    """Producer -> (alpha, low channels or None), as a group of a plan has them."""
    selection: Iterable[tuple[int, ...] | None] = group.selection or (None,) * len(group.producers)
    return {name: (float(group.alpha), low) for name, low in zip(group.producers, selection, strict=True)}


def _plan_names(plan: Plan) -> list[str]:
    return [c.name for c in plan.convolutions] + [name for group in plan.groups for name in group.producers]
