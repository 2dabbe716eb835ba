"""What stays the same throughout a calibration: samples, budget, the source's outputs, and what each step may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from octconvert.calibration.data.supply import Supply
from octconvert.calibration.effort import Budget, OutOfTime, Pace
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.state import Candidate
from octconvert.calibration.target_costs import Timing
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions
from octconvert.planning.planned import Planned
from octconvert.results.report import Cost
from octconvert.rewriting import rewrite
from octconvert.samples import Samples
from octconvert.system.progress import NOTICE, Progress

CLOCK_SHARES = {"samples": 0.25, "rotate": 0.15, "search": 0.5, "select": 0.25, "solve": 0.75, "renormalize": 0.3}
"""Largest share of the time left by the clock that each step takes; the refinement takes the rest."""
RESERVED_EVALUATIONS, RESERVED_SHARE = 3, 0.03
"""What a step leaves of the time for measuring its result at least: evaluations, and a share of the budget."""
SOLVING = 12.0
"""Time that fitting takes for each sample, in runs of the source."""
SHARE = 0.6
"""Share of the time for everything before the refinement."""
LEAST_SYNTHETIC, LEAST_OWN = 8, 64
"""Samples that are fitted to at least, synthetic ones and the user's own; the clock may still end a step."""


@dataclass(frozen=True, eq=False)
class Run:
    """One calibration.

    Attributes:
        supply: samples to fit to, and others to measure on.
        settings: as requested.
        progress: called with the step, and how far it is.
        batch: samples that are run at once.
        costs: of the source, for one sample.
        budget: what is laid out, and what the clock leaves.
        expected: outputs of the source on the held-out samples.
        evaluation: seconds that it takes to compute them.
        timing: of conversions, where alphas are chosen by time.
        uses: how often a sample runs through the layers of the source, see `octconvert.costs.macs.uses_a_sample`.
        calls: of layers, in the source.
    """

    supply: Supply
    settings: CalibrationOptions
    progress: Progress
    batch: int
    costs: Cost
    budget: Budget
    expected: ModelOutputs
    evaluation: float
    timing: Timing | None = None
    uses: float = 1.0
    calls: int = 0

    def pace(self, step: str) -> Pace:
        """The time of a step by the clock; what follows it in any case is set aside.

        On a machine that others use as well, that takes longer than it did at the start.
        """
        reserve = max(RESERVED_EVALUATIONS * self.evaluation, RESERVED_SHARE * self.budget.seconds)
        return self.budget.pace(step, CLOCK_SHARES.get(step, 1.0), reserve)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """The progress callback of one stage."""
        return lambda done, total: self.progress(f"calibrate: {name}", done, total)

    def notice(self, sentence: str) -> None:
        """Inform the user."""
        self.progress(f"{NOTICE}{sentence}", 0, 0)

    def candidate(self, planned: Planned, weights: str) -> Candidate:
        """A conversion with 'slice' or 'fold' weights, not measured."""
        return Candidate(rewrite(planned.with_options(weights=weights), self.progress))

    def measured(self, candidate: Candidate, in_any_case: bool = False) -> Candidate:
        """The candidate with its outputs and error as they are now.

        Raises:
            OutOfTime: there is no time for it, and it need not be measured in any case.
        """
        graph, pace = build_graph(candidate.model), Pace() if in_any_case else self.budget.pace("measuring")
        if pace.lacks(self.evaluation):
            raise OutOfTime
        outputs = ModelOutputs.of(graph, self.supply.held_out, self.batch, pace)
        return Candidate(candidate.rewritten, outputs, self.expected.error(outputs))

    def samples_to_fit(self) -> Samples:
        """All of them, or as many as the time allows."""
        least = LEAST_SYNTHETIC if self.settings.synthetic else LEAST_OWN
        count = max(self.budget.samples(SHARE, SOLVING), least)
        samples = self.supply.fit
        if count >= samples.count:
            return samples
        copies = samples.count // self.supply.count  # mirror images stand behind their originals, and go first
        return samples.subset(range(0, samples.count, copies)[:count])
