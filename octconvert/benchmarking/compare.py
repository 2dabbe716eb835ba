"""Models side by side: exported for each runtime in turn, measured, and put into rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.benchmarking.measure import Timed, measure
from octconvert.benchmarking.process import exported
from octconvert.benchmarking.settings import BenchSettings
from octconvert.errors import OctconvertError
from octconvert.inference.deploy import deploy
from octconvert.report.bench import BenchRow

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is measured: what it is called, the Keras model, and its MACs for one sample."""

    name: str
    model: Any
    macs: int


def compare(
    subjects: Sequence[Subject], settings: BenchSettings, batch: int, tell: Progress
) -> tuple[tuple[BenchRow, ...], tuple[str, ...]]:
    """(a row for every runtime and model, what was told of the models on the way)."""
    comparison = _Comparison(subjects, settings, batch, tell)
    rows: list[BenchRow] = []
    for runtime in settings.runtimes:
        with tempfile.TemporaryDirectory(prefix="octconvert-") as folder:
            rows += _rows(runtime, subjects, comparison.on(runtime, Path(folder)))
    return tuple(rows), tuple(comparison.notes)


@dataclass(eq=False)
class _Comparison:
    subjects: Sequence[Subject]
    settings: BenchSettings
    batch: int
    tell: Progress
    notes: dict[str, None] = field(default_factory=dict)

    def on(self, runtime: str, folder: Path) -> list[Timed]:
        """Every model on one runtime; of those that can not be exported, why."""
        found: dict[int, Timed] = {}
        tasks: dict[int, dict[str, Any]] = {}
        for number, subject in enumerate(self.subjects):
            self.tell(f"export for {runtime}", number, len(self.subjects))
            try:
                tasks[number] = self._exported(subject, runtime, folder / str(number))
            except OctconvertError as error:
                found[number] = Timed(error=str(error))
        show = partial(self.tell, f"measure on {runtime}")
        found |= zip(tasks, measure(list(tasks.values()), self.settings.rounds, show), strict=True)
        return [found[number] for number in range(len(self.subjects))]

    def _exported(self, subject: Subject, runtime: str, stem: Path) -> dict[str, Any]:
        """The task of a worker, see `octconvert.benchmarking.worker`."""
        model = subject.model
        if self.settings.for_inference:
            made = deploy(model, runtime)
            model = made.model
            self.notes |= dict.fromkeys(f"{subject.name}: {note}" for note in made.notes)
        return exported(model, runtime, stem, self.batch, self.settings.threads)


def _rows(runtime: str, subjects: Sequence[Subject], found: Sequence[Timed]) -> list[BenchRow]:
    """Ratios are to the first model."""
    rows = [_row(runtime, *each) for each in zip(subjects, found, strict=True)]
    time, macs = rows[0].median, rows[0].macs
    return [replace(row, speedup=_ratio(time, row.median), mac_ratio=_ratio(macs, row.macs)) for row in rows]


def _row(runtime: str, subject: Subject, found: Timed) -> BenchRow:
    row = BenchRow(subject.name, runtime, subject.macs, error=found.error)
    if found.error or not found.seconds:
        return row
    times = [1000 * seconds for seconds in found.seconds]
    low, median, high = (float(np.quantile(times, share)) for share in (0.25, 0.5, 0.75))
    return replace(row, median=median, quartiles=(low, high), runs=len(times), memory=found.memory)


def _ratio(first: float | None, second: float | None) -> float | None:
    return first / second if first and second else None
