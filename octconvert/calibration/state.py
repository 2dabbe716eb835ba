"""The values that go through a calibration: a converted model with its distance from the source, and the state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np

from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.selection import transferred
from octconvert.planning.layout import Layout
from octconvert.planning.planned import Planned
from octconvert.results.report import Step
from octconvert.rewriting import Rewritten


@dataclass(frozen=True, eq=False)
class Candidate:
    """A converted model and how far its outputs are from the source's, on held-out samples.

    Attributes:
        rewritten: the model; a step may change its weights, and then returns another candidate.
        outputs: on the held-out samples; None: not measured.
        error: of the outputs, see `ModelOutputs.error`; infinite where it is not measured.
    """

    rewritten: Rewritten
    outputs: ModelOutputs | None = None
    error: float = np.inf

    @property
    def planned(self) -> Planned:
        return self.rewritten.planned

    @property
    def model(self) -> keras.Model:
        return self.rewritten.model


@dataclass(frozen=True, eq=False)
class Damages:
    """What losing the detail of each component of tied channels does to the outputs.

    Attributes:
        layout: whose components they are.
        values: one for each, see `octconvert.calibration.selection.damage`.
    """

    layout: Layout
    values: np.ndarray

    def of(self, layout: Layout) -> np.ndarray:
        """Of the components of another layout of the same model."""
        return self.values if layout is self.layout else transferred(self.values, self.layout, layout)


@dataclass(frozen=True, eq=False)
class State:
    """A calibration between two steps.

    Attributes:
        planned: what the next model is built from; its source may be a rotated copy.
        target: share of the source's MACs, or time, that alphas are chosen for; None: the alphas of the plan.
        damages: of channels, once they are measured.
        base: the conversion with sliced or folded weights, which the fitted one has to improve on.
        current: the model so far; None before there is one.
        reports: of the steps so far, in order.
        unfitted: notes on layers that can not be fitted.
        doubts: notes on the data.
    """

    planned: Planned
    target: float | None = None
    damages: Damages | None = None
    base: Candidate | None = None
    current: Candidate | None = None
    reports: tuple[Step, ...] = ()
    unfitted: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """The model so far, once there is one."""
        assert self.current is not None
        return self.current

    def is_kept(self, name: str) -> bool:
        """Whether a step of this name changed anything."""
        return any(report.name == name and report.kept for report in self.reports)

    def with_undone(self, names: tuple[str, ...] | None, reason: str, but: tuple[str, ...] = ()) -> State:
        """The kept steps with these names (None: all), ``but`` some, reported as undone for a reason."""
        return replace(
            self,
            reports=tuple(
                replace(report, kept=False, detail=f"{report.detail}{reason}")
                if report.kept and (names is None or report.name in names) and report.name not in but
                else report
                for report in self.reports
            ),
        )
