"""Times of models side by side: a table for each runtime, and what could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display import next_steps
from octconvert.display.printing import spelled
from octconvert.display.sections import sentences
from octconvert.display.tables import LEAST_NAME, Fitted, figures, heading, spaced
from octconvert.results.bench import Bench, BenchRow
from octconvert.results.shown import STANDARD, View, renderable
from octconvert.text import words

_LEAST_NAME, _SPACE = 18, 3


@renderable.register
def render(bench: Bench, view: View = STANDARD) -> Group:
    """All measurements."""
    return spaced([*sections(spelled(bench, view.spell)), next_steps.section(bench.next_steps, view)])


def sections(bench: Bench) -> list[Sequence[RenderableType]]:
    """The parts, for a larger report too."""
    return [
        [Text(headline(bench))],
        *(_table(runtime, rows) for runtime, rows in by_runtime(bench).items()),
        sentences("Could not be measured", failures(bench)),
        sentences("Notes", bench.notes),
    ]


def by_runtime(bench: Bench) -> dict[str, list[BenchRow]]:
    """The rows of each runtime."""
    rows: dict[str, list[BenchRow]] = {}
    for row in bench.rows:
        rows.setdefault(row.runtime, []).append(row)
    return rows


def failures(bench: Bench) -> list[str]:
    """What could not be measured, and why."""
    return [f"{row.model} on {row.runtime}: {row.error}" for row in bench.rows if row.error]


def headline(bench: Bench) -> str:
    """How it was measured."""
    form = "; models in their form for inference" if bench.for_inference else ""
    form += f"; rounded: {bench.quantize}" if bench.quantize else ""
    return (
        f"{words.plural(bench.threads, 'thread')}, batch {bench.batch}, medians of interleaved runs"
        f" ({words.plural(bench.rounds, 'round')}){form}."
    )


@dataclass(frozen=True)
class BenchColumn:
    """A column of figures: its header, and the text for a row."""

    header: str
    cell: Callable[[BenchRow], str]

    def width(self, rows: Sequence[BenchRow]) -> int:
        return max(map(cell_len, (*self.header.split("\n"), *(self.cell(row) for row in rows))))


_TIME = BenchColumn("median\nms", lambda row: "failed" if row.median is None else milliseconds(row.median))
_QUARTILES = BenchColumn("quartiles\nms", lambda row: "-".join(map(milliseconds, row.quartiles or ())))
_SPEEDUP = BenchColumn("speed-\nup", lambda row: _or_dash(row.speedup, "{:.2f}x"))
_MACS = BenchColumn("\nMACs", lambda row: words.human(row.macs))
_MAC_RATIO = BenchColumn("MACs\nratio", lambda row: _or_dash(row.mac_ratio, "{:.2f}x"))
_EFFICIENCY = BenchColumn("effi-\nciency", lambda row: _or_dash(row.efficiency, "{:.0%}"))
_MEMORY = BenchColumn("peak\nmemory", lambda row: _or_dash(row.memory, "{:.0f} MB"))
CHOICES = (
    (_TIME, _QUARTILES, _SPEEDUP, _MACS, _MAC_RATIO, _EFFICIENCY, _MEMORY),
    (_TIME, _SPEEDUP, _MACS, _MAC_RATIO, _EFFICIENCY, _MEMORY),
    (_TIME, _SPEEDUP, _MAC_RATIO, _EFFICIENCY),
)
"""The columns to choose from, the richest first."""


def _table(runtime: str, rows: Sequence[BenchRow]) -> list[RenderableType]:
    def build(width: int) -> RenderableType:
        longest = max(cell_len(row.model) for row in rows)
        for columns in CHOICES:
            room = width - sum(column.width(rows) + _SPACE for column in columns)
            if room >= min(longest, _LEAST_NAME):
                break
        names = words.shorten_all([row.model for row in rows], max(room, LEAST_NAME))
        body = ([names[row.model], *(column.cell(row) for column in columns)] for row in rows)
        return figures(("model", *(column.header for column in columns)), body)

    return [heading(runtime), Fitted(build)]


def milliseconds(value: float) -> str:
    """Three digits."""
    return f"{value:#.3g}" if value < 99.95 else f"{value:.0f}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
