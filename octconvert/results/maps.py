"""`FeatureMaps`: what `octconvert.show` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.errors import UsageError
from octconvert.options.arguments import path_of
from octconvert.options.showing import ENDING, check_picture
from octconvert.results.shown import Shown, as_png
from octconvert.system.targets import checked_write
from octconvert.text import words

FORMAT = "octconvert-maps/1"
_WIDTH = slice(16, 20)
"""Where a PNG has its width."""
_SHOWN_SHARE = 0.62
"""Pixels of a notebook's page for one of the picture, which is sharp on fine screens then."""


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """One channel of a feature map.

    Attributes:
        part: 'high' or 'low': the map of the pair that holds it.
        channel: its number in the source's map; without a source in its own map.
        values: (rows, columns) of an image, (positions,) of a signal, of a volume the slice in its middle.
        source: the same channel of the source; None without a source.
    """

    part: str
    channel: int
    values: np.ndarray
    source: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """The pair, or the low map, that a layer writes, and the source's map.

    Relative errors are mean squared differences over the variance of the source's map: of the pair joined as
    `octconvert.layers.OctaveMerge` joins it, and of its high and its low channels alone. None without a source, of a
    part that is not there, and where the source's map is constant.

    Attributes:
        name: of the layer in the source.
        alpha: share of its channels that are low.
        high_shape, low_shape: (rows, columns, channels) of the two maps; ``high_shape`` is None where all are low.
        source_shape: of the source's map; None without a source.
        maps: the channels with the largest variance over the positions, those of the high map first.
        slice_of: for volumes, which slice along the first axis is shown, as 'slice 8 of 16'; else empty.
    """

    name: str
    alpha: float
    high_shape: tuple[int, ...] | None
    low_shape: tuple[int, ...]
    source_shape: tuple[int, ...] | None
    maps: tuple[ChannelMap, ...]
    error: float | None = None
    error_high: float | None = None
    error_low: float | None = None
    slice_of: str = ""

    @property
    def is_signal(self) -> bool:
        """Whether its maps are lines."""
        return len(self.low_shape) == 2


@dataclass(frozen=True, eq=False, repr=False)
class FeatureMaps(Shown):
    """Feature maps of a converted model beside those of its source; a picture in a notebook, a table in a terminal.

    Attributes:
        model: name of the converted model.
        source: of the source; empty without one.
        image: of the input.
        layers: from the input to the output.
        notes: further remarks, a sentence each.
    """

    model: str
    source: str
    image: str
    layers: tuple[LayerMaps, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The names of the two models; a conversion in memory has its source's."""
        beside = "its source" if self.source == self.model else self.source
        return f"{self.model} beside {beside}" if self.source else self.model

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Draw them to a .png file.

        Raises:
            UsageError: the file can not be written, exists and ``overwrite`` is false, or matplotlib is missing.
        """
        target = path_of("`path`", path)
        check_picture(target, overwrite=overwrite)
        picture = as_png(self)
        place = lambda: check_picture(target, overwrite=overwrite)  # noqa: E731
        checked_write(target, place, lambda temporary: temporary.write_bytes(picture), ENDING)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values of the maps as plain dictionaries and lists, ready for JSON."""
        layers = []
        for layer in self.layers:
            fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
            layers.append({**fields, "maps": [{"part": each.part, "channel": each.channel} for each in layer.maps]})
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"format": FORMAT, **fields, "layers": layers}

    def _repr_mimebundle_(  # type: ignore[override]  # with the size at which the picture is shown
        self, include: Sequence[str], exclude: Sequence[str], **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            picture = as_png(self)
        except UsageError as error:  # matplotlib is missing
            return {"text/plain": f"{self}\n\n{error}"}, {}
        width = int.from_bytes(picture[_WIDTH]) * _SHOWN_SHARE
        return {"image/png": picture, "text/plain": str(self)}, {"image/png": {"width": round(width)}}

    def __repr__(self) -> str:
        return f"<FeatureMaps of {words.plural(len(self.layers), 'layer')} of {self.model}>"
