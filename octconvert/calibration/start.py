"""The start of a calibration: the samples, the time one of them takes, and the outputs of the source.

How many samples there are is laid out by what a run of the source takes; so it is timed where its arithmetic does not
say, and before more samples are read or generated than can be used.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from octconvert.calibration.data import matching
from octconvert.calibration.data.generator import Generator, MatchedCounts, generator_of
from octconvert.calibration.data.matching import ALIKE
from octconvert.calibration.data.nearest import LEAST_COMPARED, MOST_COMPARED, with_nearest_images
from octconvert.calibration.data.supply import Supply, user_supply
from octconvert.calibration.effort import FAR, Budget, OutOfTime, Pace, estimated_seconds
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.refinement import training_batch
from octconvert.calibration.run import CLOCK_SHARES, LEAST_SYNTHETIC, SHARE, SOLVING, Run
from octconvert.costs.cost import measure
from octconvert.costs.macs import uses_a_sample
from octconvert.errors import InputError
from octconvert.model.graph import CallGraph
from octconvert.options.calibration import CalibrationOptions
from octconvert.results.report import Cost
from octconvert.samples import Samples
from octconvert.system.progress import Progress
from octconvert.text.words import plural

BATCH_BYTES, MOST_BATCH = 2**28, 256
"""Activations of one batch, and its samples, at most."""
BATCH_SHARE = 0.05
"""Share of the time for one batch at most: it is the least that can be left out."""
EVALUATING, EVIDENCE_SHARE = 6.0, 0.2
"""Runs of the source that all evaluations of a held-out sample take, and their share of the time."""
TIMED, TIMED_SHARE, TRIES = 64, 0.02, 16
"""Samples that are run to measure the time they take at most, their share of the time, and runs at most."""
COMPARING, COMPARING_SHARE = 2.0, 0.06
"""Runs of the source to compare an image of each kind with the training, and their share of the time."""
MATCHING, MATCHING_SHARE = 1.0, 0.25
"""Runs of the source that a step of matching takes for each image, and its share of the time."""
LEAST_MATCHED, MOST_MATCHED, BESIDE = 32, 128, 256
"""Images that are matched at least and at most, and those as they are generated that are fitted to beside them: these
are more varied."""
MOST_SYNTHETIC, LEAST_HELD_OUT, SYNTHETIC_HELD_OUT = 512, 2, 64
"""Synthetic samples to fit to at most, held-out samples at least, and synthetic ones at most."""


class NotPossible(Exception):
    """A model can not be calibrated; the message says why, and what the user can do."""


def start(graph: CallGraph, settings: CalibrationOptions, progress: Progress) -> Run:
    """
    Raises:
        NotPossible: there are no samples.
        OutOfTime: the source itself is too slow.
        InputError, UsageError: the data can not be used.
    """
    budget = Budget(settings.seconds, settings.clock)
    progress("calibrate: samples", 0, 0)
    sized, costs = measure(graph)
    pace = _pace(budget)
    generator = generator_of(graph, settings, pace) if settings.synthetic else None
    if settings.synthetic and generator is None:
        raise NotPossible("no samples can be generated for these inputs; give some as `calibration`")
    own, trial = _trial(graph, settings, generator, costs, budget)
    costs = _at_size(costs, sized, trial)
    batch = fitting = int(np.clip(BATCH_BYTES // max(costs.peak_activation_bytes, 1), 1, MOST_BATCH))
    estimate = estimated_seconds(costs, len(graph.calls) / min(batch, trial.count))
    measured = _measured_seconds(graph, trial, batch, FAR * estimate, budget)
    budget.lay_out(estimate, measured)
    batch = int(np.clip(BATCH_SHARE * budget.seconds / budget.seconds_a_sample, 1, fitting))
    uses = uses_a_sample(sized if generator is None else generator.graph)
    supply = own
    if generator is not None:
        generator, distance = _nearest(generator, settings, budget, fitting)
        if distance is not None and distance >= ALIKE:
            supply = _matched(generator, settings, budget, costs, uses, progress)
        supply = supply or _synthetic(generator, settings, budget, uses)
    assert supply is not None  # there is one of them
    supply = _evaluated(supply, budget)
    began = budget.elapsed
    expected = ModelOutputs.of(graph, supply.held_out, batch, budget.pace())
    return Run(
        supply,
        settings,
        progress,
        batch,
        costs,
        budget,
        expected,
        budget.elapsed - began,
        uses=uses,
        calls=len(graph.calls),
    )


def check_outputs(run: Run) -> None:
    """
    Raises:
        InputError: the source's outputs are not finite for data of the user.
        NotPossible: they are not finite for synthetic samples.
    """
    if not run.expected.unusable:
        return
    affected = f"{run.expected.unusable:,} of {plural(run.supply.held_out.count, 'held-out sample')}"
    message = f"the source's outputs are not finite for {affected}"
    if run.settings.synthetic:
        raise NotPossible(f"{message}; give samples as `calibration`")
    raise InputError(f"{run.supply.label}: {message}")


def _pace(budget: Budget) -> Pace:
    """For reading or generating samples, and for what is read from the model before."""
    return budget.pace("samples", CLOCK_SHARES["samples"])


def _evaluated(supply: Supply, budget: Budget) -> Supply:
    """The supply with as many held-out samples as the time for evaluations allows."""
    count = int(np.clip(budget.samples(EVIDENCE_SHARE, EVALUATING), LEAST_HELD_OUT, supply.held_out.count))
    if count < supply.held_out.count:
        supply = replace(supply, held_out=supply.held_out.subset(range(count)))
    budget.spend(supply.held_out.count, EVALUATING)
    return supply


def _trial(
    graph: CallGraph, settings: CalibrationOptions, generator: Generator | None, costs: Cost, budget: Budget
) -> tuple[Supply | None, Samples]:
    """The user's own samples, as many as can be used, and samples to measure the time with."""
    estimate = estimated_seconds(costs, 0.0)
    if generator is not None:
        return None, generator.noise(int(np.clip(TIMED_SHARE * budget.seconds / estimate, 1, TIMED)))
    supply = user_supply(graph, settings, int(budget.seconds / estimate), _pace(budget))
    return supply, supply.fit


def _nearest(
    generator: Generator, settings: CalibrationOptions, budget: Budget, fitting: int
) -> tuple[Generator, float | None]:
    """See `with_nearest_images`; on as many images as a share of the time pays for, and as fit into memory at once."""
    each = 2 * generator.seconds
    most = min(max(fitting, LEAST_COMPARED), MOST_COMPARED)
    count = min(budget.samples(COMPARING_SHARE, COMPARING, each), most)
    nearest, distance = with_nearest_images(generator, count, settings.seed + 4)
    if distance is not None:  # they were compared
        budget.spend(count, COMPARING)
        budget.spend_seconds(count * each)
    return nearest, distance


def _matched(
    generator: Generator,
    settings: CalibrationOptions,
    budget: Budget,
    costs: Cost,
    uses: float,
    progress: Progress,
) -> Supply | None:
    """Samples with the statistics of the model's training.

    None where there is no time for enough of them.
    """
    affordable = budget.samples(MATCHING_SHARE, MATCHING * matching.STEPS, generator.seconds)
    count = int(min(affordable, MOST_MATCHED / uses, settings.samples // 2))
    if count < max(LEAST_MATCHED / uses, 2):
        return None
    batch = min(training_batch(costs.activation_bytes, uses, MOST_MATCHED), count)
    count = count // batch * batch
    others = int(np.clip(settings.samples - 2 * count, 0, BESIDE / uses))
    counts = MatchedCounts(count, batch, others)
    supply = generator.matched_supply(
        counts, settings.seed, _pace(budget), lambda done, total: progress("calibrate: samples", done, total)
    )
    if supply is not None:
        budget.spend(count, MATCHING * matching.STEPS)
        budget.spend_seconds(matching.TRACED * len(generator.graph.calls) + (count + others) * generator.seconds)
    return supply


def _synthetic(generator: Generator, settings: CalibrationOptions, budget: Budget, uses: float) -> Supply:
    """As many samples as the budget allows; the time to generate one counts with the time it is used.

    A pair of images counts twice where both go through the same layers (``uses``).
    """
    held_out = budget.samples(EVIDENCE_SHARE, EVALUATING, generator.seconds)
    held_out = int(np.clip(held_out, LEAST_HELD_OUT, SYNTHETIC_HELD_OUT))
    affordable = budget.samples(SHARE, SOLVING, generator.seconds)
    count = int(np.clip(affordable // 8 * 8, LEAST_SYNTHETIC, min(MOST_SYNTHETIC // uses, settings.samples)))
    supply = generator.supply(count, held_out, settings.seed, _pace(budget))
    budget.spend_seconds((supply.count + supply.held_out.count) * generator.seconds)
    return supply


def _measured_seconds(graph: CallGraph, samples: Samples, batch: int, expected: float, budget: Budget) -> float:
    """Of one run of the source for one sample, once its operations are warm.

    Begins with one sample and goes on to as many as a batch of the model may take. A run that takes more than
    ``expected`` is repeated: other processes may have slowed it down.
    """

    def seconds(count: int) -> float:
        if budget.pace().left <= 0:
            raise OutOfTime
        few, started = samples.subset(range(count)), budget.elapsed
        ModelOutputs.of(graph, few, count)
        return budget.elapsed - started

    most, allowed = min(samples.count, TIMED, batch), BATCH_SHARE * budget.seconds
    count, took = 1, seconds(1)
    if took <= budget.seconds / 2:  # else the warm one may not fit, nor change anything
        took = seconds(1)
    while count < most and 2 * took <= allowed:
        count = min(2 * count, most)
        took = seconds(count)
    best = took / count
    for _ in budget.pace(share=BATCH_SHARE).units(range(TRIES)):
        if best <= expected:
            break
        best = min(best, seconds(count) / count)
    return best


def _at_size(costs: Cost, sized: CallGraph, samples: Samples) -> Cost:
    """For the size of the samples, where the model leaves its sizes open and the costs are of another size."""
    actual = sum(math.prod(array.shape[1:]) for array in samples.arrays)
    assumed = sum(math.prod(size or 1 for size in sized.tensors[n].shape[1:]) for n in sized.inputs)
    scale = actual / max(assumed, 1)
    return replace(
        costs,
        macs=int(scale * costs.macs),
        activation_bytes=int(scale * costs.activation_bytes),
        peak_activation_bytes=int(scale * costs.peak_activation_bytes),
    )
