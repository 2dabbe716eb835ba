"""Usual ranges of the values of images and signals, and how synthetic ones are turned into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from octconvert.calibration.data.synthetic import DEVIATION, MEAN

CLOSE = 0.5
"""Largest `distance` at which moments are taken for those of a usual range."""

MeanDeviation: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Mean and deviation of each channel."""


@dataclass(frozen=True)
class InputRange:
    """How to turn synthetic samples into the values that the model's input expects: ``scale * sample + offset``.

    Images and volumes are in [0, 1]; all have about `MEAN` and `DEVIATION`.

    Attributes:
        scale, offset: one number a channel.
        how: the range and how it was determined, one sentence for the report.
        known: False where it is only assumed.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    how: str
    known: bool


@dataclass(frozen=True)
class Convention:
    """A usual range; scale and offset are one number for all channels, or one for each."""

    name: str
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]

    def vectors(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset of each channel."""
        return np.broadcast_to(np.array(self.scale), channels), np.broadcast_to(np.array(self.offset), channels)

    def moments(self, channels: int) -> MeanDeviation:
        """Mean and deviation of images in this range."""
        scale, offset = self.vectors(channels)
        return scale * MEAN + offset, scale * DEVIATION


UNIT = Convention("0..1", 1.0, 0.0)
SIGNED = Convention("-1..1", 2.0, -1.0)
BYTES = Convention("0..255", 255.0, 0.0)
STANDARD = Convention("mean 0, deviation 1 in each channel", 1 / DEVIATION, -MEAN / DEVIATION)
CENTRED = Convention("0..255 with the mean subtracted", 255.0, -255.0 * MEAN)
TORCH = Convention(
    "mean 0, deviation 1 by the mean and deviation of ImageNet",
    (1 / 0.229, 1 / 0.224, 1 / 0.225),
    (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)
CAFFE = Convention("0..255, blue first, with the mean of ImageNet subtracted", 255.0, (-103.939, -116.779, -123.68))
_LOUD = 0.15 / DEVIATION  # sound, by its deviation, in its largest value
SOUND = Convention("sound in -1..1", _LOUD, -_LOUD * MEAN)
SAMPLED_SOUND = Convention("sound in -32768..32767", 32768 * _LOUD, -32768 * _LOUD * MEAN)


def conventions(channels: int, rank: int = 2) -> list[Convention]:
    """The usual ranges of images and volumes, or of signals (rank 1), with so many channels."""
    if rank == 1:
        return [STANDARD, SOUND, SAMPLED_SOUND]
    usual = [UNIT, SIGNED, BYTES, STANDARD]
    return [*usual, TORCH, CAFFE] if channels == 3 else usual


def range_of(convention: Convention, channels: int, how: str, known: bool = True) -> InputRange:
    """The range of a convention."""
    scale, offset = convention.vectors(channels)
    return InputRange(numbers(scale), numbers(offset), how, known)


def numbers(values: Iterable[float]) -> tuple[float, ...]:
    """As Python numbers."""
    return tuple(float(value) for value in values)


def distance(first: MeanDeviation, second: MeanDeviation) -> float:
    """Of the means, in deviations, and of the logarithms of the deviations."""
    (mean, deviation), (other_mean, other_deviation) = first, second
    return float(np.mean(abs(np.log(deviation / other_deviation)) + abs(mean - other_mean) / other_deviation))


def from_moments(moments: MeanDeviation, source: str, rank: int = 2) -> InputRange:
    """The usual range with about this mean and deviation, or else the range with exactly these."""
    mean, deviation = moments
    channels = len(mean)
    ranked = [(distance(c.moments(channels), moments), c) for c in conventions(channels, rank)]
    nearest, best = min(ranked, key=lambda pair: pair[0])
    if nearest <= CLOSE:
        return range_of(best, channels, f"{best.name}, {source}")
    scale = deviation / DEVIATION
    return InputRange(numbers(scale), numbers(mean - MEAN * scale), f"{moments_text(mean, deviation)}, {source}", True)


def moments_text(mean: np.ndarray, deviation: np.ndarray) -> str:
    """For the report."""
    return " and ".join(
        f"{name} {'/'.join(f'{value:.3g}' for value in values)}"
        for name, values in (("mean", mean), ("deviation", deviation))
    )
