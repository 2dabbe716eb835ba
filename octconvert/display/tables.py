"""Building blocks of reports: sections, grids, and tables that choose their columns by the width of the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, PLAIN, Plan
from octconvert.results.report import Report
from octconvert.text import words

ALL_ROWS = 32  # tables up to this length are shown whole
HEAD, TAIL, HEAVIEST, WORST = 6, 4, 10, 5  # rows kept of a longer one
MORE = "(verbose shows all)"

# A line under the head and blanks everywhere else; ASCII, so that no console replaces it.
RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_ROLE_STYLES = {PLAIN: "dim"}


@dataclass(frozen=True)
class Fitted:
    """A renderable that is built when the width of the terminal is known."""

    build: Callable[[int], RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.build(options.max_width)


def spaced(sections: Iterable[Sequence[RenderableType]]) -> Group:
    """The sections that are not empty, with a blank line between them."""
    parts: list[RenderableType] = []
    for section in filter(None, sections):
        parts += [Text(), *section] if parts else section
    return Group(*parts)


def heading(text: str) -> Text:
    return Text(text, style="bold")


def indented(pairs: Iterable[tuple[str, str]], justify: str = "left") -> Table:
    """(label, value) rows; values wrap within their column."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify=justify, no_wrap=True)  # type: ignore[arg-type]
    grid.add_column(overflow="fold")
    for label, value in pairs:
        grid.add_row(Text(f"  {label}"), Text(value))
    return grid


def states(rows: Iterable[tuple[Text, str, str]]) -> Table:
    """(state, name, detail) rows; details wrap within their column."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for state, name, detail in rows:
        grid.add_row(state, Text(words.shorten(name, 30)), Text(detail))
    return grid


def figures(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A small table of numbers; the first column names them, and is wrapped where the width is short."""
    table = Table(box=RULED, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    table.add_column(Text(headers[0]), overflow="fold")
    for header in headers[1:]:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


@dataclass(frozen=True)
class LayerColumn:
    """A column of a table with one row a layer.

    Attributes:
        header: one or two lines.
        cell: the text for a row.
        right: whether it holds numbers.
        key: by which rows are sorted; None: by the text.
    """

    header: str
    cell: Callable[[Any], str]
    right: bool = False
    key: Callable[[Any], float] | None = None


def extent(sizes: Sequence[int | None] | None) -> float:
    """Elements of a map, as a key for sorting; what is unknown or not there counts least."""
    return -1.0 if sizes is None or None in sizes else float(math.prod(size or 0 for size in sizes))


ROLE = LayerColumn("role", lambda row: role_name(row.role))
ALPHA = LayerColumn(
    "alpha\nin>out", lambda row: "" if row.role == PLAIN else _alphas(row), key=lambda row: row.alpha_in + row.alpha_out
)
_ROLES = {FIRST: "first", INTERMEDIATE: "inter", LAST: "last", PLAIN: "plain"}


def role_name(role: str) -> str:
    """Short enough for a column; a diff has classes in place of roles."""
    return _ROLES.get(role, role)


WHOLE_LOW = "whole-low"
"""In place of the high map, or of the number of low channels, of a convolution that writes a low map alone."""


def whole_low(result: Plan | Report) -> str:
    """``, 12 of them whole-low``: how many convolutions write a low map alone; empty for none."""
    count = sum(row.writes_whole_low for row in result.convolutions)
    return f", {count:,} of them whole-low" if count else ""


def _alphas(row: Any) -> str:
    return f"{words.alpha(row.alpha_in)}>{words.alpha(row.alpha_out)}"


LEAST_NAME = 10
"""The least width of the column of names that a choice of columns leaves."""


@dataclass(frozen=True)
class Gap:
    """Successive rows that are not shown one by one."""

    rows: tuple


def _table(columns: Sequence[LayerColumn], rows: Sequence, gap: Callable[[Gap], dict[str, str]], width: int) -> Table:
    """The name and the ``columns``, which are never cut; the name gets the remaining width."""
    body = _body(columns, rows, gap)
    longest = max(LEAST_NAME, _longest(body))
    space = 2 if _room(columns, body, 2, width) >= longest else 1
    room = max(1, min(longest, _room(columns, body, space, width)))
    table = Table(box=RULED, show_edge=False, pad_edge=False, padding=(0, space - 1, 0, 0), header_style="")
    table.add_column("layer", no_wrap=True, vertical="bottom", width=room)
    for column in columns:
        table.add_column(column.header, justify="right" if column.right else "left", no_wrap=True, vertical="bottom")
    names = words.shorten_all([cells["layer"] for cells, _ in body], room)
    for cells, row in body:
        style = "dim" if isinstance(row, Gap) else _ROLE_STYLES.get(row.role, "")
        texts = [names[cells["layer"]], *(cells.get(c.header, "") for c in columns)]
        table.add_row(*map(Text, texts), style=style)
    return table


def _body(columns: Sequence[LayerColumn], rows: Sequence, gap: Callable[[Gap], dict[str, str]]) -> list[tuple]:
    """(cells, row) for every line."""
    full = ({"layer": row.name, **{c.header: c.cell(row) for c in columns}} for row in rows if not isinstance(row, Gap))
    return [(gap(row) if isinstance(row, Gap) else next(full), row) for row in rows]


def _longest(body: Sequence) -> int:
    return max((cell_len(cells["layer"]) for cells, _ in body), default=0)


def _room(columns: Sequence[LayerColumn], body: Sequence, space: int, width: int) -> int:
    taken = 0
    for column in columns:
        lines = [*column.header.split("\n"), *(cells.get(column.header, "") for cells, _ in body)]
        taken += max(map(cell_len, lines)) + space
    return width - taken - (space - 1)


def collapsed(rows: Sequence, weights: Sequence[float], verbose: bool, badness: Sequence[float] = ()) -> list:
    """Head, tail, the heaviest and the worst rows; the runs between them as one `Gap` each."""
    if verbose or len(rows) <= ALL_ROWS:
        return list(rows)
    count = len(rows)
    kept = {*range(HEAD), *range(count - TAIL, count), *_largest(weights, HEAVIEST), *_largest(badness, WORST)}
    shown: list = []
    run: list = []
    for index, row in enumerate(rows):
        if index not in kept:
            run.append(row)
            continue
        shown += [*_as_gap(run), row]
        run = []
    return shown + _as_gap(run)


def _largest(values: Sequence[float], count: int) -> list[int]:
    return sorted(range(len(values)), key=lambda index: -values[index])[:count]


def _as_gap(run: Sequence) -> list:
    return [Gap(tuple(run))] if len(run) > 1 else list(run)


def first_that_fits(choices: Sequence[Sequence[LayerColumn]], rows: Sequence, gap: Callable, width: int) -> Table:
    """A table with the richest choice of columns that leaves enough width for the names."""
    for columns in choices:
        body = _body(columns, rows, gap)
        if _room(columns, body, 1, width) >= max(LEAST_NAME, min(_longest(body), 18)):
            break
    return _table(columns, rows, gap, width)
