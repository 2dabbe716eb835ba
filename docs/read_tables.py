"""Writes docs/data/*.json from the tables of docs/measurements.md, for the figures of docs/benchmarks.md.

    python docs/read_tables.py

A test compares the files with the tables. docs/data/alternatives.json is written by benchmarks/alternatives.py itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).parent
DATA = DOCS / "data"
CELL = re.compile(r"([\d.]+) ms, ([\d.]+) ms, ([\d.]+)x \((\d+)%\)")
Row = dict[str, str | float]


def latency(text: str) -> list[Row]:
    """Time of source and converted model on each runtime, in the table *Whole-low interiors*."""
    rows: list[Row] = []
    for (name, ratio, *cells), (_, _, *runtimes) in _rows(text, "### Whole-low interiors"):
        model, way = name.split(", ")
        for runtime, cell in zip(runtimes, cells, strict=True):
            source, octave, speedup, memory = CELL.fullmatch(cell).groups()
            key = {"model": model, "way": way, "runtime": runtime, "macs_ratio": float(ratio.removesuffix("x"))}
            times = {"source_ms": float(source), "octave_ms": float(octave), "speedup": float(speedup)}
            rows.append({**key, **times, "memory": int(memory) / 100})
    return rows


def accuracy(text: str) -> list[Row]:
    """Top-1 accuracy on CIFAR-10 by share of the MACs and way of finding the weights, in the first table."""
    rows: list[Row] = []
    for (alpha, macs, *cells), (_, _, *ways) in _rows(text, "### CIFAR-10"):
        for way, cell in zip(ways, cells, strict=True):
            share, top = float(macs.removesuffix("%")), float(cell.removesuffix("%"))
            rows.append({"alpha": float(alpha), "macs_percent": share, "way": way, "top1_percent": top})
    return rows


TABLES = {"latency.json": latency, "accuracy.json": accuracy}


def as_json(rows: list[Row]) -> str:
    """One row in a line."""
    lines = ",\n ".join(json.dumps(row) for row in rows)
    return f"[\n {lines}\n]\n"


def _rows(text: str, heading: str) -> list[tuple[list[str], list[str]]]:
    """The cells of each row of the first table below a heading, with those of the table's head."""
    below = text.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)[0].splitlines()
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(cells, head) for cells in body]


def main() -> None:
    text = (DOCS / "measurements.md").read_text(encoding="utf-8")
    for name, read in TABLES.items():
        (DATA / name).write_text(as_json(read(text)), encoding="utf-8")


if __name__ == "__main__":
    main()
