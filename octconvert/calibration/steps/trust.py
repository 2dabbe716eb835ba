"""Whether a calibration on doubtful data is of use for others: if not, sliced weights take its place.

It is judged on two kinds of samples, the held-out ones of the data and synthetic images in the range that the model
expects. It is kept where it is no further from the source than sliced weights on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from octconvert.calibration.attempt import change_of_error
from octconvert.calibration.data.doubts import doubts_about
from octconvert.calibration.data.generator import Generator, generator_of
from octconvert.calibration.data.nearest import with_nearest_images
from octconvert.calibration.effort import Pace
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.run import Run
from octconvert.calibration.start import SYNTHETIC_HELD_OUT
from octconvert.calibration.state import Candidate, State
from octconvert.errors import OctconvertError
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.planning.planned import Planned


@dataclass(frozen=True)
class Judgement:
    """Two models on one kind of samples.

    Attributes:
        place: which samples, in words.
        sliced, calibrated: errors of the model with sliced weights, and of the calibrated one.
    """

    place: str
    sliced: float
    calibrated: float

    @property
    def is_worse(self) -> bool:
        """Whether the calibrated model is further from the source."""
        return not self.calibrated <= self.sliced

    def __str__(self) -> str:
        return f"on {self.place}: {change_of_error(self.sliced, self.calibrated)}"


def trusted(run: Run, state: State, planned: Planned) -> State:
    """Sliced weights in place of a calibration on doubtful data that is worse than they are; notes on the data.

    Args:
        planned: the plan before the calibration.
    """
    if run.settings.synthetic:
        return state
    pace = run.budget.pace("data", 0.5)
    generator = _generator(run, planned.graph, pace.part(0.5))
    ranges = () if generator is None else generator.ranges
    doubts = doubts_about(planned.graph, run.supply, ranges, run.batch, pace)
    state = replace(state, doubts=doubts.remarks)
    if not doubts.reason:
        return state
    note = f"the data do not look like what the model was trained on ({doubts.reason})"
    if not any(report.kept for report in state.reports):
        return _with_note(state, f"{note}: what is measured on them may not hold for others")
    lasting = ("search", "rotate", "select") if run.settings.searches else ()
    sliced = run.candidate(state.candidate.planned if lasting else planned, "slice")
    sliced = run.measured(sliced, in_any_case=True)
    judgements = [Judgement("held-out samples", sliced.error, state.candidate.error)]
    if generator is not None:
        errors = _errors(run, planned.graph, generator, (sliced, state.candidate))
        judgements.append(Judgement(f"synthetic {generator.noun}s", *errors))
    return judged(state, judgements, sliced, note, lasting)


def judged(
    state: State, judgements: Sequence[Judgement], sliced: Candidate, note: str, lasting: tuple[str, ...] = ()
) -> State:
    """The state as it is, or with sliced weights where the calibrated model is worse by any of the judgements.

    Args:
        note: on the data.
        lasting: steps that stay in any case.
    """
    worse = [judgement for judgement in judgements if judgement.is_worse]
    if not worse:
        shown = ", ".join(map(str, judgements))
        return _with_note(state, f"{note}; the calibration is kept, as it is no worse than sliced weights {shown}")
    why = ", ".join(map(str, worse))
    undone = state.with_undone(None, f"; undone, worse {why}", but=lasting)
    undone = replace(undone, base=sliced, current=sliced)
    return _with_note(undone, f"{note}: the calibration made the model worse {why}; the sliced weights are kept")


def _with_note(state: State, note: str) -> State:
    return replace(state, doubts=(note, *state.doubts))


def _generator(run: Run, graph: CallGraph, pace: Pace | None) -> Generator | None:
    """Of synthetic images; None where the model takes none, and where it works at no size that is tried."""
    with suppress(OctconvertError):
        return generator_of(graph, replace(run.settings, preprocess=None), pace)
    return None


def _errors(run: Run, graph: CallGraph, generator: Generator, candidates: Sequence[Candidate]) -> list[float]:
    """Of the candidates on synthetic images. Not bounded by the clock: it takes little time."""
    nearest, _ = with_nearest_images(generator, SYNTHETIC_HELD_OUT, run.settings.seed + 4)
    samples = nearest.make(SYNTHETIC_HELD_OUT, run.settings.seed + 2)
    graphs = (graph, *(build_graph(candidate.model) for candidate in candidates))
    source, *others = (ModelOutputs.of(each, samples, run.batch) for each in graphs)
    return [source.error(other) for other in others]
