"""`Bench`: what `octconvert.bench` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.jupyter import JupyterMixin
from rich.text import Text

from octconvert.display.tables import LEAST_NAME, Column, Fitted, figures, heading, indented, spaced
from octconvert.text import words

FORMAT = "octconvert-bench/1"


@dataclass(frozen=True)
class BenchRow:
    """One model on one runtime.

    Attributes:
        model, runtime: their names.
        macs: multiply-accumulates of the model for one sample.
        median: time of a run, in milliseconds; None, as all that follows, where it could not be measured.
        quartiles: a quarter of the runs took less than the first and a quarter more than the second, in milliseconds.
        runs: how many were timed.
        speedup: how many times faster than the first model on this runtime.
        mac_ratio: how many times fewer MACs than the first model.
        memory: the most that the model's process needed above what it had before it opened the model, in MB (Linux).
        error: why it could not be measured; else empty.
    """

    model: str
    runtime: str
    macs: int
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    runs: int = 0
    speedup: float | None = None
    mac_ratio: float | None = None
    memory: float | None = None
    error: str = ""

    @property
    def efficiency(self) -> float | None:
        """The share of the saved MACs that is saved time: ``speedup / mac_ratio``."""
        return self.speedup / self.mac_ratio if self.speedup and self.mac_ratio else None


@dataclass(frozen=True, repr=False)
class Bench(JupyterMixin):
    """Times of models side by side; shows itself in a terminal or notebook.

    Attributes:
        rows: one for every runtime and model.
        threads, batch, rounds: as they were measured.
        for_inference: whether in their form for inference.
        notes: what the user should know besides, a sentence each.
    """

    rows: tuple[BenchRow, ...]
    threads: int
    batch: int
    rounds: int
    for_inference: bool
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[BenchRow, ...]:
        """The rows without an error."""
        return tuple(row for row in self.rows if not row.error)

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain dictionaries and lists, ready for JSON."""
        rows = [{**dataclasses.asdict(row), "efficiency": row.efficiency} for row in self.rows]
        return {"format": FORMAT, **dataclasses.asdict(self), "rows": rows}

    def sections(self) -> list[Sequence[RenderableType]]:
        """What is shown, as parts of a larger report too."""
        runtimes = dict.fromkeys(row.runtime for row in self.rows)
        tables = [_table(name, [row for row in self.rows if row.runtime == name]) for name in runtimes]
        failed = [("-", f"{row.model} on {row.runtime}: {row.error}") for row in self.rows if row.error]
        sections: list[Sequence[RenderableType]] = [[_headline(self)], *tables]
        if failed:
            sections.append([heading("Could not be measured"), indented(failed)])
        if self.notes:
            sections.append([heading("Notes"), indented(("-", note) for note in self.notes)])
        return sections

    def __rich__(self) -> Group:
        return spaced(self.sections())

    def __str__(self) -> str:
        from octconvert.display.report import as_text

        return as_text(self)

    def __repr__(self) -> str:
        models, runtimes = (dict.fromkeys(getattr(row, name) for row in self.rows) for name in ("model", "runtime"))
        return f"<Bench of {words.plural(len(models), 'model')} on {', '.join(runtimes)}>"


def _headline(bench: Bench) -> Text:
    form = "; models in their form for inference" if bench.for_inference else ""
    return Text(
        f"{words.plural(bench.threads, 'thread')}, batch {bench.batch}, medians of interleaved runs"
        f" ({words.plural(bench.rounds, 'round')}){form}."
    )


_TIME = Column("median\nms", lambda row: "failed" if row.median is None else _milliseconds(row.median))
_QUARTILES = Column("quartiles\nms", lambda row: "-".join(map(_milliseconds, row.quartiles or ())))
_SPEEDUP = Column("speed-\nup", lambda row: _or_dash(row.speedup, "{:.2f}x"))
_MACS = Column("\nMACs", lambda row: words.human(row.macs))
_MAC_RATIO = Column("MACs\nratio", lambda row: _or_dash(row.mac_ratio, "{:.2f}x"))
_EFFICIENCY = Column("effi-\nciency", lambda row: _or_dash(row.efficiency, "{:.0%}"))
_MEMORY = Column("peak\nmemory", lambda row: _or_dash(row.memory, "{:.0f} MB"))
_CHOICES = (
    (_TIME, _QUARTILES, _SPEEDUP, _MACS, _MAC_RATIO, _EFFICIENCY, _MEMORY),
    (_TIME, _SPEEDUP, _MACS, _MAC_RATIO, _EFFICIENCY, _MEMORY),
    (_TIME, _SPEEDUP, _MAC_RATIO, _EFFICIENCY),
)
"""The columns to choose from, the richest first."""
_LEAST_NAME, _SPACE = 18, 3


def _table(runtime: str, rows: Sequence[BenchRow]) -> list[RenderableType]:
    def build(width: int) -> RenderableType:
        longest = max(cell_len(row.model) for row in rows)
        for columns in _CHOICES:
            room = width - sum(_width(column, rows) + _SPACE for column in columns)
            if room >= min(longest, _LEAST_NAME):
                break
        names = words.shorten_all([row.model for row in rows], max(room, LEAST_NAME))
        body = ([names[row.model], *(column.cell(row) for column in columns)] for row in rows)
        return figures(("model", *(column.header for column in columns)), body)

    return [heading(runtime), Fitted(build)]


def _width(column: Column, rows: Sequence[BenchRow]) -> int:
    return max(map(cell_len, (*column.header.split("\n"), *(column.cell(row) for row in rows))))


def _milliseconds(value: float) -> str:
    return f"{value:#.3g}" if value < 99.95 else f"{value:.0f}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
