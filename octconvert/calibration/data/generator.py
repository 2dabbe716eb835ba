"""Synthetic samples for a model's inputs: signals, images or volumes in the range that it expects, noise for others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import keras
import numpy as np

from octconvert.calibration.data.affine_paths import is_video
from octconvert.calibration.data.input_range import InputRange, find_range, is_natural
from octconvert.calibration.data.matching import Bounds, matched
from octconvert.calibration.data.natural import NOUNS, natural_in_parts
from octconvert.calibration.data.supply import HELD_OUT, Supply, with_mirrored
from octconvert.calibration.data.synthetic import power_noise_in_parts
from octconvert.calibration.effort import Pace
from octconvert.errors import InputError, UsageError
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import with_input_shapes, with_known_sizes
from octconvert.options.calibration import CalibrationOptions
from octconvert.samples import Samples
from octconvert.text.words import plural

SYNTHETIC_SIZES = {
    1: (1024, 512, 256, 4096, 16384, 65536),
    2: (128, 96, 224, 64, 256, 331, 512),
    3: (16, 32, 64, 128),
}
"""Positions along each axis where the model leaves them open, by its rank: the first at which it works."""
OPEN_STEPS = 8
"""Frames of a synthetic video where the model leaves their number open."""
NUMBER_SECONDS = {1: 3e-7, 2: 5e-7, 3: 1e-6}
"""To generate one number of a synthetic sample, by rank."""
RANGES = 8
"""Samples to measure the ranges of numbers on: more take longer, and change no time."""
MOST_BYTES = 2**30
"""Of synthetic samples that are generated at once."""


@dataclass(frozen=True)
class MatchedCounts:
    """How many samples are matched, how many of them together, and how many are fitted to as they are generated."""

    matched: int
    batch: int
    others: int


@dataclass(frozen=True, eq=False)
class Generator:
    """Generates synthetic samples for a model.

    Attributes:
        graph: with all sizes known.
        shapes: of the inputs.
        ranges: values of those that are signals, images or volumes, None for the others.
        limits: of all values, as requested; None: there are none.
        photographs: whether crops of photographs are among the images.
    """

    graph: CallGraph
    shapes: tuple[tuple[int, ...], ...]
    ranges: tuple[InputRange | None, ...]
    limits: tuple[float, float] | None = None
    photographs: bool = False

    @property
    def noun(self) -> str:
        """What the samples are called."""
        return noun_of(self.graph)

    @property
    def seconds(self) -> float:
        """About how long one sample takes, on a usual machine."""
        return sum(math.prod(s[1:]) * NUMBER_SECONDS[self.graph.for_map(s).rank] for s in self.shapes)

    def noise(self, count: int) -> Samples:
        """White noise, to measure times with: it takes no time to generate."""
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal((count, *shape[1:]), dtype="float32") for shape in self.shapes]
        return Samples(tuple(arrays), None, "noise")

    def make(self, count: int, seed: int, pace: Pace | None = None, least: int = 1) -> Samples:
        """``count`` samples, or as many as there is time for, ``least`` of them in any case."""
        most = max(1, MOST_BYTES // sum(4 * math.prod(shape[1:]) for shape in self.shapes))
        count, arrays = min(count, most), []
        for i, (shape, value_range) in enumerate(zip(self.shapes, self.ranges, strict=True)):
            own = (pace or Pace()).part(1 / (len(self.shapes) - i))
            parts = list(own.units(self._parts(shape, count, value_range, seed + 1000 * i), least))
            arrays.append(np.concatenate(parts))
            if value_range is not None and self.limits is not None:  # a signal has some values outside
                np.clip(arrays[-1], *self.limits, out=arrays[-1])
        count = min(map(len, arrays))
        return Samples(tuple(array[:count] for array in arrays), None, "synthetic")

    def _parts(
        self, shape: tuple[int, ...], count: int, value_range: InputRange | None, seed: int
    ) -> Iterator[np.ndarray]:
        """One input of the samples, a few at a time; the frames of a video are images that have nothing in common.

        White noise where it is neither maps nor a video for a model of images.
        """
        graph = self.graph
        if is_video(graph, shape):
            batch, steps, *frame = shape
            yield from _videos(self._parts((batch, *frame), count * steps, value_range, seed), steps)
            return
        if not graph.is_map(shape):
            yield np.random.default_rng(seed).standard_normal((count, *shape[1:])).astype("float32")
            return
        size = tuple(shape[axis] for axis in graph.spatial_axes_of(shape))
        channels = shape[graph.axis_of_channels(shape)]
        parts: Iterable[np.ndarray] = (
            power_noise_in_parts(count, size[0], size[1], channels, 1.0, seed)
            if value_range is None
            else natural_in_parts(count, size, channels, seed, self.photographs)
        )
        for x in parts:
            if value_range is not None:
                x = x * np.array(value_range.scale, dtype="float32") + np.array(value_range.offset, dtype="float32")
            is_first = graph.data_format == "channels_first"
            yield np.ascontiguousarray(np.moveaxis(x, -1, 1)) if is_first else x

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Of each input: black and white, shaped as its channels; signals have none but those requested."""
        return tuple(map(self._limits, self.ranges, self.shapes))

    def _limits(self, value_range: InputRange | None, own: tuple[int, ...]) -> Bounds:
        if self.graph.for_map(own).rank == 1:
            low, high = self.limits or (0.0, 0.0)
            return None if self.limits is None else (np.array(low, "float32"), np.array(high, "float32"))
        if value_range is None:
            return None
        shape = [1] * len(own)
        shape[self.graph.axis_of_channels(own)] = -1
        offset, scale = (
            np.array(each, dtype="float32").reshape(shape) for each in (value_range.offset, value_range.scale)
        )
        return np.minimum(offset, offset + scale), np.maximum(offset, offset + scale)

    @property
    def how(self) -> str:
        """How images got their values."""
        return "; ".join(dict.fromkeys(value_range.how for value_range in self.ranges if value_range is not None))

    @property
    def may_be_moved(self) -> bool:
        """Whether all inputs are signals, images or volumes."""
        are_natural = (value_range is not None for value_range in self.ranges)
        return all(are_natural) and all(map(self.graph.is_map, self.shapes))

    def matched_supply(
        self, counts: MatchedCounts, seed: int, pace: Pace, progress: Callable[[int, int], None]
    ) -> Supply | None:
        """Samples with the statistics of the model's training, see `matching.matched`, and others to fit to as well.

        None where there is no time for a batch of them, or the model has no gradient.
        """
        samples = self.make(counts.matched, seed + 1, pace.part(0.3), least=2)
        if samples.count < counts.batch:
            return None
        changed = matched(self.graph, samples, self.bounds, counts.batch, pace, progress)
        if changed is None:
            return None
        own, held_out = changed.split(HELD_OUT, seed)
        parts = [with_mirrored(own, self.graph).arrays if self.may_be_moved else own.arrays]
        if counts.others:
            parts.append(self.make(counts.others, seed + 3, pace).arrays)
        order = np.random.default_rng(seed).permutation(sum(len(part[0]) for part in parts))
        arrays = tuple(np.concatenate(each)[order] for each in zip(*parts, strict=True))
        fit = Samples(arrays, None, "synthetic")
        fitted = plural(fit.count, f"synthetic {self.noun}")
        label = f"{fitted}, {own.count} with the statistics of the model's training"
        return Supply(fit, held_out, label, self.how, fit.count, self.may_be_moved)

    def supply(self, count: int, held_out: int, seed: int, pace: Pace | None = None) -> Supply:
        """Samples to fit to and others to measure on, which are generated first."""
        pace = pace or Pace()
        measured = self.make(held_out, seed + 2, pace.part(held_out / (count + held_out)))
        fit = self.make(count, seed + 1, pace, least=2)
        natural = [value_range is not None for value_range in self.ranges]
        noise = f"{fit.count:,} synthetic inputs of 1/f noise"
        images = plural(fit.count, f"synthetic {self.noun}") + self.photographs * ", half of them crops of photographs"
        label = images if any(natural) else noise
        return Supply(fit, measured, label, self.how, fit.count, self.may_be_moved, self.make, self.seconds)


def generator_of(graph: CallGraph, settings: CalibrationOptions, pace: Pace | None = None) -> Generator | None:
    """None where an input expects other values than floating-point numbers; ``pace``: the time to find their range.

    Raises:
        UsageError: preprocessing is requested.
    """
    pace = pace or Pace()
    if settings.preprocess is not None:
        raise UsageError(
            "`preprocess` is for data to calibrate on or to evaluate with; synthetic"
            f" {noun_of(graph)}s are generated as the model expects them"
        )
    ranks = (graph.for_map(graph.tensors[number].shape).rank for number in graph.inputs)
    sized = with_known_sizes(_with_few_frames(graph), SYNTHETIC_SIZES[max(ranks)])
    specs = [sized.tensors[number] for number in sized.inputs]
    if not all(spec.dtype.startswith(("float", "bfloat")) and None not in spec.shape[1:] for spec in specs):
        return None
    natural = [is_natural(graph, i) for i in range(len(specs))]
    shares = [pace.part(1 / (len(natural) - i)) for i in range(len(natural))]
    requested = settings.input_range
    ranges = [find_range(graph, i, requested, pace=shares[i]) if each else None for i, each in enumerate(natural)]
    shapes = tuple(tuple(size or 1 for size in spec.shape) for spec in specs)
    return Generator(sized, shapes, tuple(ranges), requested)


def noun_of(graph: CallGraph) -> str:
    """What the samples of a model are called, by its first input."""
    return NOUNS[graph.for_map(graph.tensors[graph.inputs[0]].shape).rank]


def _with_few_frames(graph: CallGraph) -> CallGraph:
    """The graph with the open time steps of videos set to a few, where the model works at that."""
    shapes = [graph.tensors[number].shape for number in graph.inputs]
    few = [(s[0], s[1] or OPEN_STEPS, *s[2:]) if is_video(graph, s) else s for s in shapes]
    with suppress(InputError):
        return graph if few == shapes else with_input_shapes(graph, few)
    return graph


def range_samples(model: keras.Model, precision: str | None) -> tuple[np.ndarray, ...]:
    """Synthetic samples to measure the ranges of a model's numbers on, for its time alone.

    Empty where the precision needs no ranges, or no samples can be generated.
    """
    generator = generator_of(build_graph(model), CalibrationOptions()) if precision == "int8" else None
    return () if generator is None else generator.make(RANGES, seed=0).arrays


def _videos(frames: Iterable[np.ndarray], steps: int) -> Iterator[np.ndarray]:
    """Frames, a few at a time, as videos of so many steps."""
    held: list[np.ndarray] = []
    for part in frames:
        held.append(part)
        waiting = np.concatenate(held)
        whole = len(waiting) // steps
        if whole:
            yield waiting[: whole * steps].reshape(whole, steps, *waiting.shape[1:])
        held = [waiting[whole * steps :]]
