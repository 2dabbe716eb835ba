"""Parts that several kinds of pages have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from octconvert.display import bench, calibration, chains, evaluation
from octconvert.display.html.page import (
    Block,
    Cell,
    Column,
    Commands,
    Grid,
    Items,
    Paragraph,
    Reasons,
    Section,
    States,
    Tile,
)
from octconvert.display.next_steps import MOST_STEPS
from octconvert.display.sections import by_reason
from octconvert.display.tables import LayerColumn
from octconvert.results.bench import Bench
from octconvert.results.next_step import NextStep
from octconvert.results.plan import PLAIN, Chain
from octconvert.results.report import Check, Evaluation
from octconvert.results.shown import View
from octconvert.text import words


def header(column: LayerColumn) -> str:
    """On one line."""
    return " ".join(column.header.split())


def layer_table(rows: Sequence[Any], columns: Sequence[LayerColumn], total: Sequence[Cell] = ()) -> Grid:
    """One row a layer; ``columns``: as a terminal shows them."""
    heads = [Column("layer"), Column("class"), *(Column(header(column), column.right) for column in columns)]
    cells = [[Cell(row.name), Cell(row.class_name), *(_cell(column, row) for column in columns)] for row in rows]
    tones = ["plain" if row.role == PLAIN else "" for row in rows]
    return Grid(heads, cells, tones, [row.name for row in rows], total, searchable=True)


def _cell(column: LayerColumn, row: Any) -> Cell:
    key = None if column.key is None else column.key(row)
    if column.header == calibration.ERROR_HEADER:
        return Cell("", key) if row.error is None else Cell(error_text(row.error), key, calibration.filled(row.error))
    return Cell(column.cell(row), key)


def error_text(error: float) -> str:
    """A number without the bar that a terminal has beside it."""
    return words.fine_percent(error)


def figures(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """A small table of numbers, whose first column names them."""
    columns = [Column(head, bool(place)) for place, head in enumerate(headers)]
    return Grid(columns, [[Cell(text) for text in row] for row in rows])


def reasons(name: str, title: str, rows: Sequence[tuple[str, str]]) -> list[Section]:
    """Layers by the reason for something; nothing without any."""
    return [Section(name, title, [Reasons(list(by_reason(rows).items()))])] if rows else []


def items(name: str, title: str, lines: Sequence[str]) -> list[Section]:
    """Sentences; nothing without any."""
    return [Section(name, title, [Items(lines)])] if lines else []


def checks(title: str, results: Sequence[Check]) -> Section:
    """Each check with whether it passed."""
    rows = [(c.passed, "passed" if c.passed else "FAILED", c.name, "", c.detail) for c in results]
    return Section("checks", title, [States(rows)])


def evaluated(result: Evaluation | None) -> Iterator[Tile]:
    """A tile for each metric."""
    if result is not None:
        for name, before, after in map(evaluation.change, result.measured):
            yield Tile(name, after, before, words.plural(result.samples, "sample"))


def chain_sections(all_chains: Sequence[Chain], shares: chains.MacShares) -> list[Section]:
    """All chains: their convolutions by role, and where they end."""
    blocks: list[Block] = []
    for place, chain in enumerate(all_chains):
        blocks.append(Paragraph(chains.title(all_chains, place, shares), strong=True))
        parts = (
            ("first", chain.first),
            ("intermediate", chain.intermediate),
            ("last", chain.last),
            ("dual", chain.dual),
        )
        rows: list[tuple[str, Sequence[str]]] = [(label, names) for label, names in parts if names]
        for (reason, class_name), names in chains.ends_by_reason(chain).items():
            rows.append((f"ends at {class_name}{f': {reason}' if reason else ''}", names))
        blocks.append(Reasons(rows))
    title = words.plural(len(all_chains), "chain")
    return [Section("chains", title[0].upper() + title[1:], blocks, closed=True)] if blocks else []


def next_steps(steps: Sequence[NextStep], view: View) -> list[Section]:
    """The likeliest steps; nothing where there are none."""
    rows = [(f"{step.purpose}:", " ".join(view.command(step))) for step in steps[:MOST_STEPS]]
    return [Section("next", "Next", [Commands(rows)])] if rows else []


def timings(result: Bench | None) -> list[Section]:
    """A table for each runtime, and what could not be measured."""
    if result is None:
        return []
    blocks: list[Block] = [Paragraph(bench.headline(result))]
    columns = bench.CHOICES[0]
    for runtime, rows in bench.by_runtime(result).items():
        heads = (runtime, *(" ".join(column.header.replace("-\n", "").split()) for column in columns))
        blocks.append(figures(heads, [(row.model, *(column.cell(row) for column in columns)) for row in rows]))
    sections = [Section("times", "Times", blocks)]
    return [*sections, *items("failures", "Could not be measured", bench.failures(result))]
