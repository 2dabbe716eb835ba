"""Measurements that several steps choose by: moments of maps, and the damage of a low resolution to every channel."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from octconvert.calibration import selection
from octconvert.calibration.data.batches import CountedBatches
from octconvert.calibration.effort import OutOfTime, Pace
from octconvert.calibration.refinement import training_batch
from octconvert.calibration.run import Run
from octconvert.calibration.selection import Moments
from octconvert.calibration.sensitivity import sensitivity
from octconvert.planning.planned import Planned

SURVEYING, SURVEY_SHARE, LEAST_SURVEYED = 1.5, 0.2, 16
"""Runs of the source that one sample of a survey takes; a survey's share of the time, and its samples at least."""
SURVEYED = 0.7
"""Share of the time by the clock for a survey that a sensitivity follows."""
SENSED, LEAST_SENSED, SENSING, SENSING_SHARE = 256, 8, 5.0, 0.1
"""Samples for the sensitivity at most and at least, runs of the source that one takes, and their share of the time."""


def damages(run: Run, planned: Planned, pace: Pace, least: int = 0) -> tuple[np.ndarray, str]:
    """Of the components of tied channels, and how they were measured, for the report.

    Raises:
        OutOfTime: not even the ``least`` batches, or one, are run.
    """
    moments, cut = survey(run, planned, pace.part(SURVEYED), least=least)
    sensed, how = _sensitivity(run, planned, pace)
    return selection.damage(selection.roughness(planned.layout, moments), sensed), how + cut


def survey(
    run: Run, planned: Planned, pace: Pace, tensors: Iterable[int] | None = None, least: int = 0
) -> tuple[dict[int, Moments], str]:
    """Moments of maps (see `selection.survey`), and where the time was short, for the report.

    Raises:
        OutOfTime: not even the ``least`` batches, or one, are run.
    """
    count = min(max(run.budget.samples(SURVEY_SHARE, SURVEYING), LEAST_SURVEYED), run.supply.fit.count)
    run.budget.spend(count, SURVEYING)
    batches = CountedBatches(pace.units(run.supply.fit.batches(run.batch, range(count)), least))
    moments = selection.survey(planned.layout, batches, planned.octave, tensors, run.settings.seed)
    if not batches.samples:
        raise OutOfTime
    return moments, batches.cut_off(count) if pace.cut else ""


def _sensitivity(run: Run, planned: Planned, pace: Pace) -> tuple[np.ndarray | None, str]:
    """On as many samples as the time allows; None where that is too few, and what the report says then."""
    without = ", by the next layers alone"
    count = min(SENSED, run.supply.fit.count, run.budget.samples(SENSING_SHARE, SENSING))
    if count < LEAST_SENSED:
        return None, without
    run.budget.spend(count, SENSING)
    samples = run.supply.fit.subset(range(count))
    batch = min(run.batch, training_batch(run.costs.activation_bytes))
    spreads, progress = run.expected.spreads, run.stage("sensitivity")
    octave, seed = planned.octave, run.settings.seed
    sensed = sensitivity(planned.layout, samples, batch, spreads, octave, seed, progress, pace)
    return sensed, without if sensed is None else ""
