"""The options of the calibration."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.fields import option
from octconvert.text.nearest import did_you_mean

STEPS = ("rotate", "select", "solve", "renormalize", "refine")
"""In the order in which they run."""
SYNTHETIC_BUDGET, DATA_BUDGET, SEARCH_BUDGET = 80.0, 300.0, 60.0
"""Seconds to aim at by default: on synthetic images, on the user's own data, and more where alphas are chosen, for else
too few remain for the refinement behind that."""


@dataclass(frozen=True)
class CalibrationOptions:
    """How a conversion is calibrated; ``clock`` counts the seconds after which it ends.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    data: Any = option(
        None,
        "unlabelled inputs to fit the converted model to, a few hundred; without any, synthetic images",
        "calibration",
    )
    preprocess: Any = option(None, "how the data are preprocessed for the model")
    input_range: tuple[float, float] | None = option(None, "the values of black and white in synthetic images")
    samples: int = option(2048, "the largest number of samples that are used", "calibration_samples")
    budget: float | None = option(
        None,
        f"seconds to aim at; default: {SYNTHETIC_BUDGET:g} on synthetic images, {DATA_BUDGET:g} on data, "
        f"{SEARCH_BUDGET:g} more where alphas are chosen",
        "calibration_budget",
    )
    steps: tuple[str, ...] = option(STEPS, f"a part of {', '.join(STEPS)}", "calibration_steps")
    seed: int = option(0, "seed of all random numbers")
    target_macs: float | None = option(None, "choose each alpha so that this share of the MACs is left")
    target_time: float | None = option(
        None,
        "choose each alpha so that this share of the source's time is left, measured on this machine and `runtime`",
    )
    max_drop: float | None = option(
        None, "choose each alpha so that no more than this share of the top-1 agreement is lost, 0.01 for one point"
    )
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        steps = (self.steps,) if isinstance(self.steps, str) else tuple(self.steps)
        object.__setattr__(self, "steps", steps)
        for step in self.steps:
            _check_step(step)
        limits.whole("calibration_samples", self.samples)
        limits.whole("seed", self.seed)
        if self.budget is not None:
            limits.real("calibration_budget", self.budget)
        for name, value in (
            ("target_macs", self.target_macs),
            ("target_time", self.target_time),
            ("max_drop", self.max_drop),
        ):
            if value is not None:
                limits.real(name, value)

    @property
    def synthetic(self) -> bool:
        return self.data is None

    @property
    def seconds(self) -> float:
        """The budget."""
        usual = SYNTHETIC_BUDGET if self.synthetic else DATA_BUDGET
        return self.budget or usual + (SEARCH_BUDGET if self.searches else 0.0)

    @property
    def searches(self) -> bool:
        """Whether alphas are chosen."""
        return self.target is not None or self.max_drop is not None

    @property
    def target(self) -> float | None:
        """Share of the source's MACs, or of its time, that is to be left."""
        return self.target_macs if self.target_time is None else self.target_time


def _check_step(step: str) -> None:
    if step in STEPS:
        return
    if step in ("search", "max drop", "max-drop", "max_drop"):
        hint = "; it chooses alphas, and runs by itself with `target_macs`, `target_time` or `max_drop`"
    else:
        hint = did_you_mean(step, STEPS) if isinstance(step, str) else ""
    raise UsageError(f"`calibration_steps` takes some of {', '.join(STEPS)}, received {limits.shown(step)}{hint}")
