"""The samples a conversion is calibrated on: the user's, or synthetic ones made for the model's inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from octconvert.calibration.data.input_range import InputRange, find_range, image_like
from octconvert.calibration.data.synthetic import dead_leaves_in_parts, power_noise_in_parts
from octconvert.calibration.effort import Pace
from octconvert.errors import UsageError
from octconvert.model.graph import CallGraph
from octconvert.model.shapes import with_known_sizes
from octconvert.options.calibration import Settings
from octconvert.samples import Samples, read_samples
from octconvert.text.words import plural

SYNTHETIC_SIZES = (128, 96, 224, 64, 256, 331, 512)
"""Rows and columns of synthetic images where the model leaves them open: the first at which it works."""
HELD_OUT = 0.125
"""Share of the user's samples that nothing is fitted to."""
MOST_HELD_OUT = 256
FEW = 512
"""With fewer images than that, their mirror images are fitted to as well."""
NUMBER_SECONDS = 5e-7
"""To make one number of a synthetic image."""
MOST_BYTES = 2**30
"""Of synthetic samples that are made at a time."""


@dataclass(frozen=True, eq=False)
class Supply:
    """Samples to fit to, and others to measure on.

    Attributes:
        fit, held_out: disjoint.
        told: what the report calls them.
        input_range: how synthetic images got their values; empty for the user's data.
        count: samples to fit to, without mirror images.
        images: whether every map-like input is an image, so that it may be flipped and shifted.
        more: makes further samples to fit to from (count, seed, the time for it); None where there are no others.
        more_seconds: about how long one of them takes.
        notes: what the user should know.
    """

    fit: Samples
    held_out: Samples
    told: str
    input_range: str
    count: int
    images: bool
    more: Callable[[int, int, Pace | None], Samples] | None = None
    more_seconds: float = 0.0
    notes: tuple[str, ...] = ()


def given_supply(graph: CallGraph, settings: Settings, most: int | None = None, pace: Pace | None = None) -> Supply:
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
        notes = (*notes, f"reading ended after {plural(samples.count, 'sample')} for the time (--calibration-budget)")
    share = min(HELD_OUT, MOST_HELD_OUT / samples.count)
    fit, held_out = samples.split(share, settings.seed)
    images = all(len(graph.tensors[n].shape) == 4 and image_like(graph, i) for i, n in enumerate(graph.inputs))
    count = fit.count
    if images and count < FEW:
        fit = _with_mirrored(fit, graph.spatial_axes[1])
    return Supply(fit, held_out, samples.origin, "", count, images, notes=notes)


def _with_mirrored(samples: Samples, axis: int) -> Samples:
    """Every image and its mirror image, one behind the other: the source tells the target for both."""
    arrays = (np.stack([array, np.flip(array, axis)], axis=1) for array in samples.arrays)
    return replace(samples, arrays=tuple(array.reshape(-1, *array.shape[2:]) for array in arrays), labels=None)


@dataclass(frozen=True, eq=False)
class Generator:
    """Makes synthetic samples for a model.

    Attributes:
        graph: with all sizes known.
        shapes: of the inputs.
        ranges: values of those that are images, None for the others.
    """

    graph: CallGraph
    shapes: tuple[tuple[int, ...], ...]
    ranges: tuple[InputRange | None, ...]

    @property
    def seconds(self) -> float:
        """About how long one sample takes, on a usual machine."""
        return sum(math.prod(shape[1:]) * NUMBER_SECONDS for shape in self.shapes)

    def noise(self, count: int) -> Samples:
        """Numbers without meaning, to measure times with: they cost nothing to make."""
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal((count, *shape[1:]), dtype="float32") for shape in self.shapes]
        return Samples(tuple(arrays), None, "noise")

    def make(self, count: int, seed: int, pace: Pace | None = None, least: int = 1) -> Samples:
        """So many samples, or as many as there is time for, the ``least`` at least."""
        most = max(1, MOST_BYTES // sum(4 * math.prod(shape[1:]) for shape in self.shapes))
        count, arrays = min(count, most), []
        for i, (shape, found) in enumerate(zip(self.shapes, self.ranges, strict=True)):
            own = (pace or Pace()).part(1 / (len(self.shapes) - i))
            parts = list(own.units(_parts(self.graph, shape, count, found, seed + 1000 * i), least))
            arrays.append(np.concatenate(parts))
        count = min(map(len, arrays))
        return Samples(tuple(array[:count] for array in arrays), None, "synthetic")

    def supply(self, count: int, held_out: int, seed: int, pace: Pace | None = None) -> Supply:
        """Samples to fit to and others to measure on, which are made first."""
        pace = pace or Pace()
        measured = self.make(held_out, seed + 2, pace.part(held_out / (count + held_out)))
        fit = self.make(count, seed + 1, pace, least=2)
        images = [found is not None for found in self.ranges]
        told = plural(fit.count, "synthetic image") if any(images) else f"{fit.count:,} synthetic inputs of 1/f noise"
        how = "; ".join(dict.fromkeys(found.how for found in self.ranges if found is not None))
        return Supply(fit, measured, told, how, fit.count, all(images), self.make, self.seconds)


def generator_of(graph: CallGraph, settings: Settings, pace: Pace | None = None) -> Generator | None:
    """None where an input takes no numbers that could be made up; ``pace``: the time to look for what it takes."""
    pace = pace or Pace()
    if settings.preprocess is not None:
        raise UsageError("preprocess goes with data to calibrate on or to evaluate; synthetic images need none")
    sized = with_known_sizes(graph, SYNTHETIC_SIZES)
    specs = [sized.tensors[number] for number in sized.inputs]
    if not all(spec.dtype.startswith(("float", "bfloat")) and None not in spec.shape[1:] for spec in specs):
        return None
    images = [len(spec.shape) == 4 and image_like(graph, i) for i, spec in enumerate(specs)]
    shares = [pace.part(1 / (len(images) - i)) for i in range(len(images))]
    given = settings.input_range
    ranges = [find_range(graph, i, given, pace=shares[i]) if image else None for i, image in enumerate(images)]
    shapes = tuple(tuple(size or 1 for size in spec.shape) for spec in specs)
    return Generator(sized, shapes, tuple(ranges))


def synthetic_supply(graph: CallGraph, settings: Settings, count: int, held_out: int) -> Supply | None:
    """Synthetic samples; None where an input takes no numbers that could be made up."""
    generator = generator_of(graph, settings)
    return None if generator is None else generator.supply(count, held_out, settings.seed)


def _parts(graph: CallGraph, shape, count: int, found: InputRange | None, seed: int) -> Iterator[np.ndarray]:
    """One input of the samples, a few at a time."""
    if len(shape) != 4:
        yield np.random.default_rng(seed).standard_normal((count, *shape[1:])).astype("float32")
        return
    rows, columns = (shape[axis] for axis in graph.spatial_axes)
    channels = shape[graph.channel_axis]
    made: Iterable[np.ndarray] = (
        power_noise_in_parts(count, rows, columns, channels, 1.0, seed)
        if found is None
        else dead_leaves_in_parts(count, rows, columns, channels, seed)
    )
    for x in made:
        if found is not None:
            x = x * np.array(found.scale, dtype="float32") + np.array(found.offset, dtype="float32")
        yield np.ascontiguousarray(np.moveaxis(x, 3, 1)) if graph.channel_axis == 1 else x
