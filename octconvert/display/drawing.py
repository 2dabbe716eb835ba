"""`FeatureMaps` -> a PNG, drawn by matplotlib without its global state: no window, and no setting is changed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from octconvert.results.maps import ChannelMap, FeatureMaps, LayerMaps
from octconvert.text import words
from octconvert.text.printable import printable

_COLOURS = "viridis"
"""Perceptually uniform, and readable without seeing colours."""
_INK, _SOFT, _HIGH, _LOW, _SOURCE = "#1f2328", "#59636e", "#0b6bcb", "#b35900", "#8c959f"
_CELL, _LINE_WIDTH, _LEFT, _RIGHT = 1.25, 1.65, 1.05, 0.75
_TITLE, _HEADS, _CAPTION, _GAP = 0.52, 0.22, 0.2, 0.18
"""Inches: a cell, the plot of a signal, left of the cells, the scale to their right; above the cells, between them."""
_SPACE = 0.1
"""Between two cells."""
_DPI, _MOST_INCHES = 130, 200.0
_SHOWN_PARTS = {"high": "high map", "low": "low map"}


def draw(result: FeatureMaps) -> bytes:
    """All layers, one below the other."""
    heights = [_height(layer) for layer in result.layers]
    columns = max(len(layer.maps) for layer in result.layers)
    cell = _LINE_WIDTH if result.layers[0].is_signal else _CELL
    width, header = max(7.2, _LEFT + columns * cell + _RIGHT + 0.3), 0.55
    total = min(_MOST_INCHES, header + sum(heights))
    figure = Figure(figsize=(width, total), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    _text(figure, 0.12 / width, 1 - 0.2 / total, _fitting(result.title, width, 12), size=12, weight="bold", va="center")
    _text(
        figure, 0.12 / width, 1 - 0.43 / total, _fitting(f"input: {result.image}", width, 9), color=_SOFT, va="center"
    )
    rows = figure.subfigures(len(heights) + 1, 1, height_ratios=[header, *heights], squeeze=False)[1:, 0]
    for part, layer, height in zip(rows, result.layers, heights, strict=True):
        _Layer(part, layer, width, height, columns).draw()
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that the font lacks are boxes in the picture; nobody asked for a line about each.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _height(layer: LayerMaps) -> float:
    caption = 0.35 if layer.is_signal else _CAPTION
    rows = 1 if layer.is_signal or layer.source_shape is None else 2
    return _TITLE + _HEADS + rows * (_tall(layer) + caption) + _GAP


def _tall(layer: LayerMaps) -> float:
    """Of its cells: as tall over wide as the maps, within limits."""
    if layer.is_signal:
        return _CELL
    rows, columns = layer.maps[0].values.shape
    return (_CELL - _SPACE) * float(np.clip(rows / columns, 0.4, 1.6))


def _text(parent: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A stranger's text: no mathematics, no control characters."""
    style = {"size": 9, "color": _INK, **style}
    parent.text(x, y, printable(text), parse_math=False, **style)


def _fitting(text: str, width: float, size: float) -> str:
    """Cut in its middle where it is wider than the picture."""
    return words.shorten(text, max(20, int((width - 0.3) * 72 / (0.56 * size))))


class _Layer:
    """The block of one layer: a title, heads over the high and the low channels, the pair above the source."""

    def __init__(self, parent: SubFigure, layer: LayerMaps, width: float, height: float, columns: int):
        self.parent, self.layer, self.width, self.height = parent, layer, width, height
        room = width - _LEFT - 0.2
        self.cell = room / columns if layer.is_signal else _CELL
        self.tall = _tall(layer)
        parent.set_facecolor("white")

    def draw(self) -> None:
        layer = self.layer
        self._write(0.12, 0.14, _fitting(layer.name, self.width, 10.5), size=10.5, weight="bold")
        self._write(0.12, 0.35, _fitting(_facts(layer), self.width, 8.5), size=8.5, color=_SOFT)
        self._heads()
        if layer.is_signal:
            self._signals()
            return
        scale = _scale(layer)
        self._row("octave", [each.values for each in layer.maps], scale, 0)
        if layer.source_shape is not None:
            self._row("source", [each.source for each in layer.maps], scale, 1)
        self._colour_bar(scale, 1 if layer.source_shape is None else 2)

    def _write(self, left: float, top: float, text: str, **style: Any) -> None:
        _text(self.parent, left / self.width, 1 - top / self.height, text, **{"va": "center", **style})

    def _axes(self, column: int, row: int) -> Any:
        top = _TITLE + _HEADS + row * (self.tall + _CAPTION)
        box = (_LEFT + column * self.cell, self.height - top - self.tall, self.cell - _SPACE, self.tall)
        axes = self.parent.add_axes(
            (box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height)
        )
        for spine in axes.spines.values():
            spine.set(color="#d1d9e0", linewidth=0.6)
        return axes

    def _heads(self) -> None:
        """Over the high and the low channels: which map it is, and a line across them."""
        for part, shape, colour in (("high", self.layer.high_shape, _HIGH), ("low", self.layer.low_shape, _LOW)):
            places = [place for place, each in enumerate(self.layer.maps) if each.part == part]
            if not places or shape is None:
                continue
            left, right = _LEFT + places[0] * self.cell, _LEFT + (places[-1] + 1) * self.cell - _SPACE
            top = _TITLE + _HEADS - 0.04
            text = f"{_SHOWN_PARTS[part]} {words.shape(shape)}" if len(places) > 1 else part
            self._write(left, top - 0.09, text, size=8.5, color=colour, weight="bold")
            line = dict(color=colour, linewidth=1.4, solid_capstyle="butt")
            self.parent.add_artist(_line((left, right), top, self.width, self.height, line))

    def _row(self, label: str, arrays: Sequence[np.ndarray | None], scale: tuple[float, float], row: int) -> None:
        middle = _TITLE + _HEADS + row * (self.tall + _CAPTION) + self.tall / 2
        self._write(_LEFT - 0.1, middle, label, ha="right", weight="bold")
        for column, (array, each) in enumerate(zip(arrays, self.layer.maps, strict=True)):
            axes = self._axes(column, row)
            assert array is not None
            axes.imshow(array, cmap=_COLOURS, vmin=scale[0], vmax=scale[1], interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(_caption(each, array), size=7, color=_SOFT, labelpad=2)

    def _colour_bar(self, scale: tuple[float, float], rows: int) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        left = _LEFT + len(self.layer.maps) * self.cell + 0.02
        tall = rows * self.tall + (rows - 1) * _CAPTION
        box = (left, self.height - _TITLE - _HEADS - tall, 0.1, tall)
        axes = self.parent.add_axes(
            (box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height)
        )
        bar = self.parent.colorbar(ScalarMappable(Normalize(*scale), _COLOURS), cax=axes)
        bar.outline.set(color="#d1d9e0", linewidth=0.6)
        axes.tick_params(labelsize=7, length=2, color=_SOFT, labelcolor=_SOFT)

    def _signals(self) -> None:
        """Source and octave model in one plot for each channel; low maps as the steps that they are."""
        middle = _TITLE + _HEADS + self.tall / 2
        self._write(_LEFT - 0.42, middle - 0.1, "octave", ha="right", weight="bold")
        if self.layer.source_shape is not None:
            self._write(_LEFT - 0.42, middle + 0.1, "source", ha="right", weight="bold", color=_SOURCE)
        least, most = _scale(self.layer, share=100.0)
        for column, each in enumerate(self.layer.maps):
            axes = self._axes(column, 0)
            length = _plot(axes, each)
            axes.tick_params(labelsize=6.5, length=2, color=_SOFT, labelcolor=_SOFT, pad=1.5, labelleft=not column)
            axes.set(xlim=(-0.5, length - 0.5), ylim=(least - 0.05 * (most - least), most + 0.05 * (most - least)))
            axes.locator_params(axis="x", nbins=4)
            axes.set_xlabel(f"channel {each.channel}", size=7, color=_SOFT, labelpad=1)
            axes.grid(color="#eaeef2", linewidth=0.6)
            axes.set_axisbelow(True)


def _plot(axes: Any, each: ChannelMap) -> int:
    """A channel, over that of the source; returns the number of positions of the high map."""
    length = len(each.values) if each.source is None else len(each.source)
    if each.source is not None:
        axes.plot(each.source, color=_SOURCE, linewidth=1.8)
    if each.part == "high":
        axes.plot(each.values, color=_HIGH, linewidth=0.9)
    else:
        octave = 1 << (-(-length // len(each.values)) - 1).bit_length()
        edges = np.arange(len(each.values) + 1) * octave - 0.5
        axes.stairs(each.values, edges, color=_LOW, linewidth=1.0, baseline=None, zorder=3)
    return length


def _line(ends: tuple[float, float], top: float, width: float, height: float, style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([end / width for end in ends], [1 - top / height] * 2, **style)


def _facts(layer: LayerMaps) -> str:
    parts = [f"alpha {words.alpha(layer.alpha)}"]
    if layer.high_shape is None:
        parts.append("whole-low")
    if layer.source_shape is not None:
        parts.append(f"source {words.shape(layer.source_shape)}")
    if layer.slice_of:
        parts.append(layer.slice_of)
    if layer.error is not None:
        of_parts = [("high", layer.error_high), ("low", layer.error_low)]
        both = ", ".join(f"{name} {words.fine_percent(error)}" for name, error in of_parts if error is not None)
        parts.append(f"relative error {words.fine_percent(layer.error)} ({both})")
    return "  ·  ".join(parts)


def _caption(each: ChannelMap, array: np.ndarray) -> str:
    return f"channel {each.channel} · {words.shape(array.shape)}"


def _scale(layer: LayerMaps, share: float = 99.5) -> tuple[float, float]:
    """One for all maps of the layer; ``share``: percent of the values below its end, so that few do not darken all."""
    arrays = [array for each in layer.maps for array in (each.values, each.source) if array is not None]
    values = np.concatenate([array.ravel() for array in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(np.percentile(values, share))
    return (low, high) if high > low else (low, low + 1.0)
