"""What the user asks of the calibration: frozen values, checked; no Keras."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options import limits

STEPS = ("rotate", "select", "solve", "renormalize", "refine")
"""In the order in which they run."""
SYNTHETIC_BUDGET, DATA_BUDGET = 60.0, 300.0
"""Seconds that are aimed at by default: on synthetic images, and on data that the user gave."""


@dataclass(frozen=True)
class Settings:
    """How a conversion is calibrated.

    Attributes:
        data: inputs of any kind that `octconvert.samples.read_samples` takes; None: synthetic images.
        preprocess: what is done to them.
        input_range: (black, white) of synthetic images; None: found out.
        samples: the most that are used.
        budget: seconds that are aimed at; None: `SYNTHETIC_BUDGET` or `DATA_BUDGET`.
        steps: a part of `STEPS`.
        seed: of everything that is drawn.
        target_macs: share of the source's MACs that alphas are chosen for; None: alphas as given.
        max_drop: most top-1 agreement with the source that may be lost, 0..1; alphas are chosen for it.
        clock: counts the seconds after which the calibration ends.
    """

    data: Any = None
    preprocess: Any = None
    input_range: tuple[float, float] | None = None
    samples: int = 2048
    budget: float | None = None
    steps: tuple[str, ...] = STEPS
    seed: int = 0
    target_macs: float | None = None
    max_drop: float | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self):
        unknown = [step for step in self.steps if step not in STEPS]
        if unknown:
            raise UsageError(f"calibration_steps takes some of {', '.join(STEPS)}, received {limits.shown(unknown[0])}")
        limits.whole("calibration_samples", self.samples)
        limits.whole("seed", self.seed)
        if self.budget is not None:
            limits.real("calibration_budget", self.budget)
        for name, value in (("target_macs", self.target_macs), ("max_drop", self.max_drop)):
            if value is not None:
                limits.real(name, value)
        if self.target_macs is not None and self.max_drop is not None:
            raise UsageError("target_macs and max_drop can not be given together: each chooses every alpha itself")

    @property
    def synthetic(self) -> bool:
        return self.data is None

    @property
    def seconds(self) -> float:
        """The budget."""
        return self.budget or (SYNTHETIC_BUDGET if self.synthetic else DATA_BUDGET)

    @property
    def searches(self) -> bool:
        """Whether alphas are chosen."""
        return self.target_macs is not None or self.max_drop is not None
