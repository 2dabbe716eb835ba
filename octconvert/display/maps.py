"""Feature maps: a table of their layers, and the picture."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display.printing import spelled
from octconvert.display.sections import sentences
from octconvert.display.tables import LEAST_NAME, Fitted, figures, spaced
from octconvert.options.showing import check_drawing
from octconvert.results.maps import FeatureMaps, LayerMaps
from octconvert.results.shown import STANDARD, View, as_png, renderable
from octconvert.text import words

ERROR = (
    "error: mean squared difference from the source's map, over its variance.\n"
    "A low map lacks detail, so it is seldom small; later layers make up for much."
)
_SPACE = 3
"""Between two columns."""


@as_png.register
def _(result: FeatureMaps) -> bytes:
    check_drawing()
    from octconvert.display.drawing import draw

    return draw(result)


@renderable.register
def render(result: FeatureMaps, view: View = STANDARD) -> Group:
    """The layers that are shown, one a row."""
    notes = spelled(result.notes, view.spell)
    headline = [Text(result.title), Text(f"Feature maps of {result.image}.", style="bold")]
    table: list[RenderableType] = [Fitted(lambda width: _table(result, width))]
    if result.source:
        table.append(Text(ERROR))
    sections: list[Sequence[RenderableType]] = [headline, table]
    return spaced([*sections, sentences("Notes", notes)])


def rows(result: FeatureMaps) -> tuple[list[str], list[list[str]]]:
    """The headers of the table, and a row for each layer, its name first."""
    headers = ["layer", "alpha", "high", "low"]
    if result.source:
        headers += ["error", "of high", "of low"]
    return headers, [[layer.name, *_cells(layer)][: len(headers)] for layer in result.layers]


def _table(result: FeatureMaps, width: int) -> RenderableType:
    headers, table = rows(result)
    taken = sum(max(map(len, column)) + _SPACE for column in list(zip(headers, *table, strict=True))[1:])
    names = words.shorten_all([name for name, *_ in table], max(LEAST_NAME, width - taken - _SPACE))
    return figures(headers, ([names[name], *row] for name, *row in table))


def _cells(layer: LayerMaps) -> list[str]:
    errors = (layer.error, layer.error_high, layer.error_low)
    shapes = (layer.high_shape, layer.low_shape)
    return [words.alpha(layer.alpha), *map(words.shape, shapes), *map(error_text, errors)]


def error_text(error: float | None) -> str:
    """A relative error with three digits."""
    return "-" if error is None else words.fine_percent(error)
