"""The samples a conversion is calibrated on: the user's, or synthetic ones made for the model's inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from octconvert.calibration.input_range import InputRange, find_range, image_like
from octconvert.calibration.settings import Settings
from octconvert.calibration.synthetic import dead_leaves, power_noise
from octconvert.errors import UsageError
from octconvert.graph import CallGraph, with_known_sizes
from octconvert.report.words import plural
from octconvert.samples import Samples, read_samples

SYNTHETIC_SIZES = (128, 96, 224, 64, 256, 331, 512)
"""Rows and columns of synthetic images where the model leaves them open: the first at which it works."""
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
        told: what the report calls them.
        input_range: how synthetic images got their values; empty for the user's data.
        count: samples to fit to, without mirror images.
        images: whether every map-like input is an image, so that it may be flipped and shifted.
        more: makes further samples to fit to from (count, seed); None where there are no others.
        notes: what the user should know.
    """

    fit: Samples
    held_out: Samples
    told: str
    input_range: str
    count: int
    images: bool
    more: Callable[[int, int], Samples] | None = None
    notes: tuple[str, ...] = ()


def given_supply(graph: CallGraph, settings: Settings) -> Supply:
    """The user's own samples.

    Raises:
        InputError, UsageError: see `octconvert.samples.read_samples`; fewer than two samples.
    """
    samples = read_samples(
        settings.data, graph.model, preprocess=settings.preprocess, limit=settings.samples, seed=settings.seed
    )
    share = min(HELD_OUT, MOST_HELD_OUT / samples.count)
    fit, held_out = samples.split(share, settings.seed)
    images = all(len(graph.tensors[n].shape) == 4 and image_like(graph, i) for i, n in enumerate(graph.inputs))
    count = fit.count
    if images and count < FEW:
        fit = _with_mirrored(fit, graph.spatial_axes[1])
    return Supply(fit, held_out, samples.origin, "", count, images, notes=samples.notes)


def _with_mirrored(samples: Samples, axis: int) -> Samples:
    """Every image and its mirror image, one behind the other: the source tells the target for both."""
    arrays = (np.stack([array, np.flip(array, axis)], axis=1) for array in samples.arrays)
    return replace(samples, arrays=tuple(array.reshape(-1, *array.shape[2:]) for array in arrays), labels=None)


def synthetic_supply(graph: CallGraph, settings: Settings, count: int, held_out: int) -> Supply | None:
    """Synthetic samples; None where an input takes no numbers that could be made up."""
    if settings.preprocess is not None:
        raise UsageError("preprocess goes with data to calibrate on or to evaluate; synthetic images need none")
    sized = with_known_sizes(graph, SYNTHETIC_SIZES)
    specs = [sized.tensors[number] for number in sized.inputs]
    if not all(spec.dtype.startswith(("float", "bfloat")) and None not in spec.shape[1:] for spec in specs):
        return None
    images = [len(spec.shape) == 4 and image_like(graph, i) for i, spec in enumerate(specs)]
    ranges = [find_range(graph, i, settings.input_range) if image else None for i, image in enumerate(images)]

    def make(number: int, seed: int) -> Samples:
        arrays = tuple(
            _array(sized, spec.shape, number, found, seed + 1000 * i)
            for i, (spec, found) in enumerate(zip(specs, ranges, strict=True))
        )
        return Samples(arrays, None, "synthetic")

    kind = "images" if any(images) else "inputs of 1/f noise"
    told = f"{plural(count, 'synthetic image') if any(images) else f'{count:,} synthetic {kind}'}"
    how = "; ".join(dict.fromkeys(found.how for found in ranges if found is not None))
    seed = settings.seed
    return Supply(make(count, seed + 1), make(held_out, seed + 2), told, how, count, all(images), make)


def _array(graph: CallGraph, shape, count: int, found: InputRange | None, seed: int) -> np.ndarray:
    if len(shape) != 4:
        return np.random.default_rng(seed).standard_normal((count, *shape[1:])).astype("float32")
    rows, columns = (shape[axis] for axis in graph.spatial_axes)
    channels = shape[graph.channel_axis]
    if found is None:
        x = power_noise(count, rows, columns, channels, 1.0, seed)
    else:
        x = dead_leaves(count, rows, columns, channels, seed)
        x = x * np.array(found.scale, dtype="float32") + np.array(found.offset, dtype="float32")
    return np.ascontiguousarray(np.moveaxis(x, 3, 1)) if graph.channel_axis == 1 else x
