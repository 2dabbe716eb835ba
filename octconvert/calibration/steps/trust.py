"""Whether a calibration is of use for other data than its own: if not, sliced weights take its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from octconvert.calibration.attempt import change_of_error
from octconvert.calibration.data.doubts import doubt
from octconvert.calibration.data.generator import generator_of
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.run import Run
from octconvert.calibration.start import SYNTHETIC_HELD_OUT
from octconvert.calibration.state import Candidate, State
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.planning.planned import Planned


def trusted(run: Run, state: State, planned: Planned) -> State:
    """Sliced weights in place of a calibration on doubtful data, where those do better on synthetic images.

    Args:
        planned: the plan before the calibration.
    """
    synthetic = run.settings.synthetic
    reason = "" if synthetic else doubt(planned.graph, run.supply, run.batch, run.budget.pace("data", 0.5))
    if not reason:
        return state
    note = f"the data do not look like what the model was trained on ({reason})"
    doubts = (f"{note}: what is fitted to them and measured on them may not hold for others",)
    if not any(report.kept for report in state.reports):
        return replace(state, doubts=doubts)
    lasting = ("search", "rotate", "select") if run.settings.searches else ()
    sliced = run.candidate(state.candidate.planned if lasting else planned, "slice")
    before, after = _synthetic_errors(run, planned.graph, (sliced, state.candidate))
    if after <= before:
        return replace(state, doubts=doubts)
    change = f"on synthetic images {change_of_error(before, after)}"
    doubts = (f"{note}: the calibration made the model worse ({change}), and the sliced weights are kept",)
    undone = state.with_undone(None, "; not kept", but=lasting)
    return replace(undone, current=run.measured(sliced, in_any_case=True), doubts=doubts)


def _synthetic_errors(run: Run, graph: CallGraph, candidates: Iterable[Candidate]) -> list[float]:
    """Of the candidates; equal where no samples can be generated. Not bounded by the clock: it takes little time."""
    generator = generator_of(graph, replace(run.settings, preprocess=None))
    graphs = [build_graph(candidate.model) for candidate in candidates]
    if generator is None:
        return [0.0] * len(graphs)
    samples = generator.make(SYNTHETIC_HELD_OUT, run.settings.seed + 2)
    source, *others = (ModelOutputs.of(each, samples, run.batch) for each in (graph, *graphs))
    return [source.error(other) for other in others]
