"""Synthetic signals with the statistics of measured ones, for calibrating where there is no data.

Measured signals have spectra that fall with the frequency, about as 1/f, and are not Gaussian: something begins, rings
and ends, repeats, or changes its level. A signal here is a sum of such parts, with random weights: 1/f noise, bursts
whose frequency may change, pulses that return, and levels that last for times of all lengths (the dead leaves of
`synthetic` along one axis). Channels have every part in common, each with a gain of its own, and some noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from octconvert.calibration.data.synthetic import DEVIATION, MEAN

_CHUNK = 1 << 18
"""Numbers that are worked on at once."""
_EXPONENTS = 0.5, 1.5
"""Of the noise: its power falls as 1/f^(2 * exponent)."""
_BURSTS, _LEVELS = 4, 64
"""Bursts, and different levels, of one signal at most."""
_SHORTEST, _FASTEST, _LOWEST_CUT = 3.0, 0.4, 0.04
"""Deviation of a burst's length, in steps; the highest frequency of one, and the lowest above which all is damped."""
_OWN = 0.05, 0.7
"""Share of a channel's variance that no other channel has."""


def signals(count: int, length: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Random signals.

    Returns:
        float32 (count, length, channels) with about the mean and deviation of `dead_leaves` over the whole set, `MEAN`
        and `DEVIATION`; not within fixed limits, as a burst may be far from the mean.
    """
    parts = list(signals_in_parts(count, length, channels, seed))
    return np.concatenate(parts) if parts else np.empty((0, length, channels), "float32")


def signals_in_parts(count: int, length: int, channels: int = 1, seed: int = 0) -> Iterator[np.ndarray]:
    """The `signals`, a few at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // (length * channels))
    for start in range(0, count, step):
        some = _signals(rng, min(step, count - start), length, channels)
        yield np.ascontiguousarray(np.moveaxis(MEAN + DEVIATION * some, 1, -1), dtype="float32")


def _signals(rng: np.random.Generator, count: int, length: int, channels: int) -> np.ndarray:
    """(count, channels, length) of about mean 0 and deviation 1."""
    time = np.arange(length, dtype="float32")
    parts = np.stack([_noise(rng, (count,), length), _bursts(rng, count, time), _pulses(rng, count, time)], axis=1)
    parts = np.concatenate([parts, _levels(rng, count, length)[:, None]], axis=1)
    weights = rng.exponential(1.0, (count, parts.shape[1]))  # often one part is most of a signal
    gains = rng.normal(0, 0.5, (count, channels, parts.shape[1])) + rng.choice([-1.0, 1.0], (count, 1, parts.shape[1]))
    common = _scaled(np.einsum("nk,nck,nkt->nct", weights, gains, parts))
    own = rng.uniform(*_OWN, (count, 1, 1))
    mixed = np.sqrt(1 - own) * common + np.sqrt(own) * _noise(rng, (count, channels), length)
    loud = np.exp(0.4 * rng.standard_normal((count, 1, 1)) + 0.2 * rng.standard_normal((count, channels, 1)))
    shift = 0.3 * rng.standard_normal((count, channels, 1))
    return 0.85 * (loud * _scaled(_damped(rng, mixed)) + shift)


def _scaled(x: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 along the time, or all 0."""
    x = x - x.mean(axis=-1, keepdims=True)
    deviation = x.std(axis=-1, keepdims=True)
    return x / np.where(deviation > 1e-6, deviation, 1)


def _between(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers whose logarithms are spread evenly."""
    return np.exp(rng.uniform(math.log(low), math.log(max(low, high)), shape)).astype("float32")


def _noise(rng: np.random.Generator, batch: tuple[int, ...], length: int) -> np.ndarray:
    """Noise whose amplitude falls as 1/f^exponent, each with an exponent of its own; of deviation 1."""
    frequency = np.fft.rfftfreq(length)
    frequency[0] = 1.0
    amplitude = frequency ** -rng.uniform(*_EXPONENTS, (*batch, 1))
    white = rng.standard_normal((*batch, length), dtype="float32")
    return _scaled(np.fft.irfft(np.fft.rfft(white) * amplitude, length))


def _bursts(rng: np.random.Generator, count: int, time: np.ndarray) -> np.ndarray:
    """Oscillations that swell and die away; the frequency rises or falls by up to a half meanwhile."""
    total = np.zeros((count, len(time)), "float32")
    for _ in range(_BURSTS):
        width = _between(rng, _SHORTEST, len(time) / 4, (count, 1))
        since = time - rng.uniform(0, len(time), (count, 1)).astype("float32")
        frequency = _between(rng, 1 / len(time), _FASTEST, (count, 1))
        sweep = rng.uniform(-0.5, 0.5, (count, 1)) / (2 * width)
        phase = 2 * math.pi * frequency * since * (1 + sweep * np.clip(since, -width, width))
        strength = np.exp(0.7 * rng.standard_normal((count, 1))) * (rng.random((count, 1)) < 0.6)
        wave = np.cos(phase + rng.uniform(0, 2 * math.pi, (count, 1)))
        total += strength * np.exp(-0.5 * (since / width) ** 2) * wave
    return _scaled(total)


def _pulses(rng: np.random.Generator, count: int, time: np.ndarray) -> np.ndarray:
    """A random shape of three bumps that returns, as heart beats do, with a period that wanders."""
    period = _between(rng, 16.0, len(time), (count, 1))
    wander = 0.1 * _noise(rng, (count,), len(time))
    phase = time / period + wander + rng.random((count, 1))
    total = np.zeros((count, len(time)), "float32")
    for _ in range(3):
        from_centre = (phase - rng.random((count, 1)) + 0.5) % 1.0 - 0.5
        width = _between(rng, 0.02, 0.2, (count, 1))
        total += rng.standard_normal((count, 1)) * np.exp(-0.5 * (from_centre / width) ** 2)
    return _scaled(total)


def _levels(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Levels that change at once: more often at some times than at others."""
    often = _between(rng, 1 / length, 0.08, (count, 1)) * np.exp(_noise(rng, (count,), length))
    number = np.cumsum(rng.random((count, length)) < often, axis=1) % _LEVELS
    return _scaled(np.take_along_axis(rng.standard_normal((count, _LEVELS)), number, axis=1))


def _damped(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Without the high frequencies, in half of the signals: most are sampled more often than they change."""
    cut = np.where(rng.random((len(x), 1, 1)) < 0.5, _between(rng, _LOWEST_CUT, 1.0, (len(x), 1, 1)), 1e6)
    damping = 1 / (1 + (np.fft.rfftfreq(x.shape[-1]) / cut) ** 4)
    return np.fft.irfft(np.fft.rfft(x) * damping, x.shape[-1])
