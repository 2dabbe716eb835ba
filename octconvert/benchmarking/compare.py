"""Comparing models: exported for each runtime in turn, measured, and reported as rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from octconvert.benchmarking.measure import Timed, measure
from octconvert.benchmarking.process import exported
from octconvert.errors import OctconvertError
from octconvert.inference.fallback import TakenForm, first_taken, refusal_of
from octconvert.options.timing import BenchSettings
from octconvert.results.bench import BenchRow
from octconvert.runtimes import find
from octconvert.system.progress import Progress
from octconvert.system.temporaries import new_folder, temporary_folder

if TYPE_CHECKING:
    import keras


class Exports:
    """Exports of a model that is measured several times, until this object is collected as garbage."""

    def __init__(self) -> None:
        folder = temporary_folder(self)
        self.names = (folder / str(number) for number in itertools.count())
        self.choices: dict[tuple[str, tuple[bool, ...]], TakenForm[dict[str, Any]]] = {}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is measured.

    Attributes:
        name: in the rows.
        model: the Keras model.
        macs: its multiply-accumulates for one sample.
        exports: what is kept of it for the next comparison with the same settings; None: nothing.
        ranges: samples to measure the ranges of its numbers on, where these are rounded; none: random inputs.
    """

    name: str
    model: keras.Model
    macs: int
    exports: Exports | None = None
    ranges: tuple[np.ndarray, ...] = ()


def compare(
    subjects: Sequence[Subject], settings: BenchSettings, batch: int, progress: Progress
) -> tuple[tuple[BenchRow, ...], tuple[str, ...]]:
    """Time the models on every runtime.

    Args:
        batch: samples of one run.

    Returns:
        A row for every runtime and model, and notes for the user.
    """
    comparison = _Comparison(subjects, settings, batch, progress)
    rows: list[BenchRow] = []
    for runtime in settings.runtimes:
        with new_folder() as folder:
            rows += _rows(runtime, subjects, comparison.on(runtime, folder))
    return tuple(rows), tuple(comparison.notes)


@dataclass(eq=False)
class _Comparison:
    subjects: Sequence[Subject]
    settings: BenchSettings
    batch: int
    progress: Progress
    notes: dict[str, None] = field(default_factory=dict)

    def on(self, runtime: str, folder: Path) -> list[Timed]:
        """The times of every model on one runtime, or the reason why one can not be measured.

        Where one can not be run in the requested form, all are measured again, that one in the other form.
        """
        attempts = [_Attempt(subject, self.settings) for subject in self.subjects]
        names = (folder / str(number) for number in itertools.count())
        rounds_done = partial(self.progress, f"measure on {runtime}")

        def write(subject: Subject, model: keras.Model) -> dict[str, Any]:
            path = next(names if subject.exports is None else subject.exports.names)
            settings = self.settings
            return exported(
                model, runtime, path, self.batch, settings.threads, settings.quantize, ranges=subject.ranges
            )

        while any(attempt.forms for attempt in attempts):
            for number, attempt in enumerate(attempts):
                self.progress(f"export for {runtime}", number, len(attempts))
                attempt.export(runtime, partial(write, attempt.subject))
            ready = [attempt for attempt in attempts if attempt.choice is not None]
            tasks = [attempt.choice.result for attempt in ready if attempt.choice is not None]
            for attempt, timed in zip(ready, measure(tasks, self.settings.rounds, rounds_done), strict=True):
                attempt.take(timed)
        for attempt in attempts:
            self.notes |= dict.fromkeys(f"{attempt.subject.name}: {note}" for note in attempt.notes)
        return [attempt.timed for attempt in attempts]


class _Attempt:
    """A model on one runtime, in one form after the other until one works.

    Attributes:
        forms: those to be tried next, see `octconvert.inference.fallback`.
        choice: the one that was exported last; None: none could be exported.
        timed: its times, or the error.
    """

    def __init__(self, subject: Subject, settings: BenchSettings):
        self.subject, self.requested, self._precision = subject, settings.for_inference, settings.quantize
        self.forms: tuple[bool, ...] = (self.requested, not self.requested)
        self.choice: TakenForm[dict[str, Any]] | None = None
        self.timed = Timed()
        self._refusal, self._errors = "", dict[bool, str]()

    def export(self, runtime: str, write: Callable[[keras.Model], dict[str, Any]]) -> None:
        """Try the next forms; ``write`` exports a model and returns the task of a worker."""
        if not self.forms:
            return
        forms, self.forms, self.choice = self.forms, (), None
        choices = {} if self.subject.exports is None else self.subject.exports.choices
        try:
            if (runtime, forms) not in choices:
                model, precision = self.subject.model, self._precision
                choices[runtime, forms] = first_taken(model, find(runtime), forms, write, self._refusal, precision)
            self.choice = choices[runtime, forms]
        except OctconvertError as error:
            self._fail(False in forms, str(error))

    def take(self, timed: Timed) -> None:
        """Store the times; where there are none, another form may be next."""
        assert self.choice is not None  # it has been measured
        form, self.timed = self.choice.for_inference, timed
        if timed.error and not timed.seconds:
            self._refusal = refusal_of(form, timed.error)
            self.forms = (not form,) if form == self.requested else ()
            self._fail(not form, timed.error)

    def _fail(self, as_it_is: bool, error: str) -> None:
        self._errors[as_it_is] = error
        self.timed = Timed(error=self._errors.get(True, error))

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.choice is None or self.timed.error else self.choice.notes


def _rows(runtime: str, subjects: Sequence[Subject], times: Sequence[Timed]) -> list[BenchRow]:
    """Ratios are to the first model."""
    rows = [_row(runtime, *each) for each in zip(subjects, times, strict=True)]
    time, macs = rows[0].median, rows[0].macs
    return [replace(row, speedup=_ratio(time, row.median), mac_ratio=_ratio(macs, row.macs)) for row in rows]


def _row(runtime: str, subject: Subject, timed: Timed) -> BenchRow:
    row = BenchRow(subject.name, runtime, subject.macs, error=timed.error)
    if timed.error or not timed.seconds:
        return row
    times = [1000 * seconds for seconds in timed.seconds]
    low, median, high = (float(np.quantile(times, share)) for share in (0.25, 0.5, 0.75))
    return replace(row, median=median, quartiles=(low, high), runs=len(times), memory=timed.memory)


def _ratio(first: float | None, second: float | None) -> float | None:
    return first / second if first and second else None
