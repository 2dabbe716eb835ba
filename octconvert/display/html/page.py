"""`Page`: what a page of HTML shows, as values; `octconvert.display.html.rendering` makes text of it.

Every text is plain: the template escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from octconvert.display.html.folds import TO, Fold
from octconvert.text import words

ROOM = 28
"""Characters of a name in a box of the graph."""


@dataclass(frozen=True)
class Tile:
    """A headline figure.

    Attributes:
        label: what it is.
        value: after the conversion.
        before: in the source; empty where there is none.
        detail: how many times less, or on what it was measured.
    """

    label: str
    value: str
    before: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """Of a `Grid`.

    Attributes:
        text: what is shown.
        key: by which rows are sorted; None: by the text.
        bar: share of the cell's width that a bar in it fills; None: it has none.
    """

    text: str
    key: float | None = None
    bar: float | None = None


@dataclass(frozen=True)
class Column:
    """Of a `Grid`; ``right``: it holds numbers."""

    header: str
    right: bool = False


@dataclass(frozen=True)
class Paragraph:
    """A sentence or more; ``strong``: the most important one of its section."""

    kind: ClassVar[str] = "paragraph"
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Pairs:
    """Labels and values."""

    kind: ClassVar[str] = "pairs"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Items:
    """Sentences, one a line."""

    kind: ClassVar[str] = "items"
    lines: Sequence[str]


@dataclass(frozen=True)
class Reasons:
    """Why layers stayed plain, or where chains end: (reason, the layers)."""

    kind: ClassVar[str] = "reasons"
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class States:
    """Checks or steps: (good, state in a word, name, seconds or empty, detail)."""

    kind: ClassVar[str] = "states"
    rows: Sequence[tuple[bool, str, str, str, str]]


@dataclass(frozen=True)
class Commands:
    """What each is for, and the line to copy."""

    kind: ClassVar[str] = "commands"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        columns: their headers.
        rows: a cell for each column.
        tones: of each row, 'plain' for what is to stand back; empty: none.
        names: of each row, the layer that it shows; empty: they are no layers.
        total: the last row, which is not sorted with the others.
        searchable: whether rows can be searched and sorted.
    """

    kind: ClassVar[str] = "grid"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    tones: Sequence[str] = ()
    names: Sequence[str] = ()
    total: Sequence[Cell] = ()
    searchable: bool = False


@dataclass(frozen=True)
class Bar:
    """A line of `Bars`.

    Attributes:
        name: of the layer.
        text: the figures.
        fill: share of the width that is filled, from 0 to 1.
        outline: the same of the outline around it, what there was before; None: there is none.
        tone: 'plain', 'pair' or 'whole-low': the filling's colour and pattern.
        rank: 0 for the largest; those of a low rank are seen first.
    """

    name: str
    text: str
    fill: float
    outline: float | None = None
    tone: str = "pair"
    rank: int = 0


@dataclass(frozen=True)
class Bars:
    """Bars by layer, in execution order; ``most``: how many are seen before a reader asks for all."""

    kind: ClassVar[str] = "bars"
    caption: str
    rows: Sequence[Bar]
    most: int


@dataclass(frozen=True)
class Node:
    """A call in a `Drawing`.

    Attributes:
        name: the layer's, with its nested models; later calls get ``#2`` ...
        layer: the same without the number of the call, as tables and bars have it.
        class_name: the layer's class.
        frequency: of its output, as in `octconvert.results.graph.FREQUENCIES`.
        sizes: of what it writes: ``28x28x16 + 14x14x16`` for a pair.
        share: of its output's channels that are high.
        facts: (label, value) of what is known about it.
    """

    name: str
    layer: str
    class_name: str
    frequency: str
    sizes: str
    share: float
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Drawing:
    """The graph of a model.

    Attributes:
        nodes: in execution order.
        edges: (source, target, frequency): positions of nodes, and what the tensor becomes.
        folds: what can be drawn as one box.
        folded: whether it is at first.
    """

    kind: ClassVar[str] = "drawing"
    nodes: Sequence[Node]
    edges: Sequence[tuple[int, int, str]]
    folds: Sequence[Fold]
    folded: bool

    def data(self) -> dict[str, Any]:
        """As the page's script reads it: dictionaries and lists alone."""
        nodes = [
            [n.name, n.layer, n.class_name, n.frequency, n.sizes, round(n.share, 3), list(n.facts), _short(n.name)]
            for n in self.nodes
        ]
        return {"nodes": nodes, "edges": list(self.edges), "folds": _flat(self.folds), "folded": self.folded}


def _short(name: str) -> str:
    """As a box has room for; empty where that is the whole name."""
    if len(name) <= ROOM:
        return ""
    first, to, last = name.partition(TO)
    room = ROOM - len(f"\u2026{to}{last}")
    return f"{first[:room]}\u2026{to}{last}" if to and room > 3 else words.shorten(name, ROOM)


def _flat(folds: Sequence[Fold]) -> list[list[Any]]:
    """[label, detail, first, last, fold it lies in or -1, short label], the outer folds before the inner ones."""
    rows: list[list[Any]] = []
    pending = [(fold, -1) for fold in reversed(folds)]
    while pending:
        fold, parent = pending.pop()
        place = len(rows)
        rows.append([fold.label, fold.detail, fold.first, fold.last, parent, _short(fold.label)])
        pending += [(child, place) for child in reversed(fold.children)]
    return rows


@dataclass(frozen=True)
class Picture:
    """An image in the page; ``png``: its bytes in base64, ``title``: what it shows."""

    kind: ClassVar[str] = "picture"
    png: str
    title: str


Block = Picture | Paragraph | Pairs | Items | Reasons | States | Commands | Grid | Bars | Drawing


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading; ``closed``: it is folded at first. ``wide``: it takes the whole width."""

    name: str
    title: str
    blocks: Sequence[Block]
    wide: bool = True
    closed: bool = False


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        kicker: what kind of result it is.
        title: the model, or the two models, that it is about.
        subtitle: the options in one line; may be empty.
        failure: what went wrong; empty where nothing did.
        lead: sentences that say the most, the first of them emphasised.
        tiles: headline figures.
        sections: all others.
    """

    kicker: str
    title: Sequence[str]
    subtitle: str = ""
    failure: str = ""
    lead: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = field(default_factory=tuple)

    @property
    def drawing(self) -> Drawing | None:
        """The graph, if there is one."""
        blocks = (block for section in self.sections for block in section.blocks)
        return next((block for block in blocks if isinstance(block, Drawing)), None)
