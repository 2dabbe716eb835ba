"""Which images are nearer to those that a model was trained on: dead leaves alone, or crops of photographs among them.

Both are compared with the statistics that BatchNormalization has kept. Measured distances, leaves and crops together:
0.59 and 0.31 for a network of photographs (EfficientNet-Lite0; photographs themselves have 0.35), 0.04 and 0.06 for one
of pictures of 32x32 (CIFAR-10), which leaves are like already.
"""

from __future__ import annotations

from dataclasses import replace

from octconvert.calibration.data.affine_paths import of_frames
from octconvert.calibration.data.generator import Generator, generator_of
from octconvert.calibration.data.input_range import image_like
from octconvert.calibration.data.matching import mean_distance, training_statistics
from octconvert.calibration.data.supply import Supply
from octconvert.model.graph import CallGraph
from octconvert.options.calibration import CalibrationOptions

NEARER = 0.8
"""Largest distance of images with crops among them, in that of dead leaves, for which they are taken: it differs by a
tenth from one set of images to the next."""
PHOTOGRAPHS_FROM = 64
"""Rows and columns from which images in colour are taken for photographs where there are no statistics to compare."""
LEAST_COMPARED, MOST_COMPARED = 8, 128
"""Images of each kind that are compared: fewer differ by chance."""


def with_nearest_images(generator: Generator, count: int, seed: int) -> tuple[Generator, float | None]:
    """The generator of the nearer kind of images, and their distance from the training.

    Args:
        count: images of each kind that are compared; fewer than `LEAST_COMPARED`: none are.

    Returns:
        A distance as `mean_distance` measures it; None where the model has no statistics of a training, and where
        nothing is compared.
    """
    with_crops = replace(generator, photographs=True) if _takes_images(generator) else None
    if count < LEAST_COMPARED or not training_statistics(generator.graph):
        return (with_crops if with_crops is not None and _are_photographs(generator) else generator), None
    distance = _distance(generator, count, seed)
    if with_crops is not None:
        other = _distance(with_crops, count, seed)
        if other < NEARER * distance:
            return with_crops, other
    return generator, distance


def _distance(generator: Generator, count: int, seed: int) -> float:
    return mean_distance(generator.graph, generator.make(count, seed))


def _takes_images(generator: Generator) -> bool:
    return any(image_like(generator.graph, i) for i in range(len(generator.shapes)))


def _are_photographs(generator: Generator) -> bool:
    """Whether some input takes images in colour that are large enough."""
    graph, sizes = generator.graph, []
    for i, shape in enumerate(generator.shapes):
        frame = of_frames(graph, shape)
        if image_like(graph, i) and frame[graph.axis_of_channels(frame)] == 3:
            sizes.append(min(frame[axis] or 1 for axis in graph.spatial_axes_of(frame)))
    return max(sizes, default=0) >= PHOTOGRAPHS_FROM


def synthetic_supply(graph: CallGraph, settings: CalibrationOptions, count: int, held_out: int) -> Supply | None:
    """Synthetic samples; None where an input expects values that can not be generated."""
    generator = generator_of(graph, settings)
    if generator is None:
        return None
    nearest, _ = with_nearest_images(generator, LEAST_COMPARED, settings.seed + 4)
    return nearest.supply(count, held_out, settings.seed)
