"""The arrays of one pair and of the source's map -> `LayerMaps`: joined, compared, and the channels to show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from octconvert.errors import InputError
from octconvert.layers import spatial
from octconvert.octave.matching import matched_mask, octave_between
from octconvert.results.maps import ChannelMap, LayerMaps
from octconvert.text import words


@dataclass(frozen=True, eq=False)
class PairMaps:
    """Of one sample, (rows, columns, channels) each; ``high`` and ``source`` may be missing."""

    high: np.ndarray | None
    low: np.ndarray
    source: np.ndarray | None

    @property
    def size(self) -> tuple[int, ...]:
        """Of the map with the most positions."""
        largest = self.source if self.high is None else self.high
        return (self.low if largest is None else largest).shape[:-1]

    def layer(self, name: str, count: int) -> LayerMaps:
        """With ``count`` channels of each part.

        Raises:
            InputError: the sizes of the maps do not go together, or they are not finite beside a source.
        """
        known = [part for part in (self.high, self.low, self.source) if part is not None]
        if self.source is not None and not all(np.isfinite(part).all() for part in known):
            raise InputError(f"'{name}': its maps have nan or infinity for this input, and can not be compared")
        mask = self._mask
        parts = {"high": np.flatnonzero(~mask), "low": np.flatnonzero(mask)}
        errors = self._errors({"all": np.arange(len(mask)), **parts})
        return LayerMaps(
            name=name,
            alpha=float(mask.mean()),
            high_shape=None if self.high is None else self.high.shape,
            low_shape=self.low.shape,
            source_shape=None if self.source is None else self.source.shape,
            maps=tuple(each for part, numbers in parts.items() for each in self._largest(part, numbers, count)),
            error=errors["all"],
            error_high=errors["high"],
            error_low=errors["low"],
            slice_of=f"slice {self._middle + 1} of {self.size[0]}" if len(self.size) == 3 else "",
        )

    @cached_property
    def _octave(self) -> tuple[int, ...]:
        octave = octave_between(self.size, self.low.shape[:-1])
        if octave is None or (self.source is not None and self.source.shape[:-1] != self.size):
            parts = {"source": self.source, "high": self.high, "low": self.low}
            texts = [f"{name} {words.shape(part.shape)}" for name, part in parts.items() if part is not None]
            raise InputError(f"the sizes of these maps do not go together: {', '.join(texts)}")
        return octave

    @cached_property
    def _upsampled(self) -> np.ndarray:
        """The low map at the size of the high one, as `OctaveMerge` makes it."""
        upsampled = spatial.upsample_to(self.low[None], self._octave, self.size, "channels_last")
        return keras.ops.convert_to_numpy(upsampled)[0]

    @cached_property
    def _mask(self) -> np.ndarray:
        """Of the source's channels, true where one is low; without a source of those of the joined pair."""
        highs, lows = (0 if part is None else part.shape[-1] for part in (self.high, self.low))
        if self.source is None:
            return np.arange(highs + lows) >= highs
        high = self.source[..., :0] if self.high is None else self.high
        parts = (self.source, high, self._upsampled)
        flat = (part.reshape(math.prod(self.size), part.shape[-1]) for part in parts)
        return matched_mask(*flat)

    def _errors(self, parts: dict[str, np.ndarray]) -> dict[str, float | None]:
        """Relative errors of some channels, by the name of the part."""
        if self.source is None:
            return dict.fromkeys(parts)
        joined = np.empty_like(self.source)
        joined[..., self._mask] = self._upsampled
        if self.high is not None:
            joined[..., ~self._mask] = self.high
        return {name: _error(self.source[..., own], joined[..., own]) for name, own in parts.items()}

    def _largest(self, part: str, numbers: np.ndarray, count: int) -> list[ChannelMap]:
        """The channels of a part with the largest variance over the positions."""
        own, source = self.high if part == "high" else self.low, self.source
        if own is None:
            return []
        ranked = own if source is None else source[..., numbers]
        order = np.argsort(-ranked.reshape(-1, ranked.shape[-1]).var(axis=0), kind="stable")[:count]
        middle = self._middle // (self._octave[0] if part == "low" else 1)
        return [
            ChannelMap(
                part,
                int(place if source is None else numbers[place]),
                _pictured(own[..., place], middle),
                None if source is None else _pictured(source[..., numbers[place]], self._middle),
            )
            for place in order
        ]

    @property
    def _middle(self) -> int:
        """Along the first axis."""
        return self.size[0] // 2


def _pictured(values: np.ndarray, middle: int) -> np.ndarray:
    """Signals and images as they are, of a volume a slice."""
    return (values[middle] if values.ndim == 3 else values).astype("float32")


_ROUNDING = 1e-11
"""Relative errors below it are rounding errors of float32."""


def _error(source: np.ndarray, joined: np.ndarray) -> float | None:
    """The relative error; None of no channels, or where the source is constant."""
    variance = float(source.var()) if source.size else 0.0
    if not variance:
        return None
    error = float(((source - joined) ** 2).mean()) / variance
    return error if error > _ROUNDING else 0.0
