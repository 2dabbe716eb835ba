"""`Bench`: what `octconvert.bench` returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from octconvert.results.next_step import NextStep, dicts
from octconvert.results.shown import Shown
from octconvert.text import words

FORMAT = "octconvert-bench/1"


@dataclass(frozen=True)
class BenchRow:
    """One model on one runtime.

    Attributes:
        model, runtime: their names.
        macs: multiply-accumulates of the model for one sample.
        median: median time of a run, in milliseconds; None, like all that follows, where it could not be measured.
        quartiles: a quarter of the runs took less than the first and a quarter more than the second, in milliseconds.
        runs: how many were timed.
        speedup: how many times faster than the first model on this runtime.
        mac_ratio: how many times fewer MACs than the first model.
        memory: peak memory of the model's process above that before it opened the model, in MB (Linux).
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
class Bench(Shown):
    """Times of models side by side; shows itself in a terminal or notebook.

    Attributes:
        rows: one for every runtime and model.
        threads: of each runtime.
        batch: batch size.
        rounds: how many times each model was timed in turn.
        for_inference: whether the models were timed in their form for inference.
        notes: further remarks, a sentence each.
        quantize: the precision to which the numbers of the models were rounded; None: they were as they are.
        next_steps: what may follow, the likeliest first.
    """

    rows: tuple[BenchRow, ...]
    threads: int
    batch: int
    rounds: int
    for_inference: bool
    notes: tuple[str, ...] = ()
    quantize: str | None = None
    next_steps: tuple[NextStep, ...] = ()

    @property
    def measured(self) -> tuple[BenchRow, ...]:
        """The rows without an error."""
        return tuple(row for row in self.rows if not row.error)

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain dictionaries and lists, ready for JSON."""
        rows = [{**dataclasses.asdict(row), "efficiency": row.efficiency} for row in self.rows]
        return {"format": FORMAT, **dataclasses.asdict(self), "rows": rows, "next_steps": dicts(self.next_steps)}

    def __repr__(self) -> str:
        models, runtimes = (dict.fromkeys(getattr(row, name) for row in self.rows) for name in ("model", "runtime"))
        return f"<Bench of {words.plural(len(models), 'model')} on {', '.join(runtimes)}>"
