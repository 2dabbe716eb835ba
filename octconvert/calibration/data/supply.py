"""The samples that a conversion is calibrated on: a part to fit to, and a held-out part to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from octconvert.calibration.data.input_range import is_natural
from octconvert.calibration.effort import Pace
from octconvert.model.graph import CallGraph
from octconvert.options.calibration import CalibrationOptions
from octconvert.samples import Samples, read_samples
from octconvert.text.words import plural

HELD_OUT = 0.125
"""Share of the user's samples that nothing is fitted to."""
MOST_HELD_OUT = 256
FEW = 512
"""With fewer images than that, their mirror images are fitted to as well."""


@dataclass(frozen=True, eq=False)
class Supply:
    """Samples to fit to, and others to measure on.

    Attributes:
        fit, held_out: disjoint.
        label: what the report calls them.
        input_range: how synthetic images got their values; empty for the user's data.
        count: samples to fit to, without mirror images.
        images: whether every input is a signal, image or volume, so that it may be shifted, and flipped unless it is a
            signal.
        more: generates further samples to fit to from (count, seed, the time for it); None where there are no others.
        more_seconds: about how long one of them takes.
        notes: what the user should know.
    """

    fit: Samples
    held_out: Samples
    label: str
    input_range: str
    count: int
    images: bool
    more: Callable[[int, int, Pace | None], Samples] | None = None
    more_seconds: float = 0.0
    notes: tuple[str, ...] = ()


def with_mirrored(samples: Samples, graph: CallGraph) -> Samples:
    """The mirror image of every image or volume behind it, without labels; signals have a direction, and have none."""
    if any(array.ndim < 4 for array in samples.arrays):
        return samples
    axes = [graph.spatial_axes_of(array.shape)[-1] for array in samples.arrays]
    arrays = (np.stack([array, np.flip(array, axis)], axis=1) for array, axis in zip(samples.arrays, axes, strict=True))
    return replace(samples, arrays=tuple(array.reshape(-1, *array.shape[2:]) for array in arrays), labels=None)


def user_supply(
    graph: CallGraph, settings: CalibrationOptions, most: int | None = None, pace: Pace | None = None
) -> Supply:
    """The user's own samples: no more than ``most``, nor than can be read in time.

    Raises:
        InputError, UsageError: see `octconvert.samples.read_samples`; fewer than two samples.
    """
    pace = pace or Pace()
    samples = read_samples(
        settings.data,
        graph.model,
        preprocess=settings.preprocess,
        limit=settings.samples if most is None else min(settings.samples, max(most, 2)),
        seed=settings.seed,
        ended=lambda chunks: pace.units(chunks, least=2),
    )
    notes = samples.notes
    if pace.cut:
        notes = (*notes, f"reading ended after {plural(samples.count, 'sample')} for the time (`calibration_budget`)")
    share = min(HELD_OUT, MOST_HELD_OUT / samples.count)
    fit, held_out = samples.split(share, settings.seed)
    images = all(graph.is_map(graph.tensors[n].shape) and is_natural(graph, i) for i, n in enumerate(graph.inputs))
    fitted = with_mirrored(fit, graph) if images and fit.count < FEW else fit
    return Supply(fitted, held_out, samples.origin, "", fit.count, images, notes=notes)
