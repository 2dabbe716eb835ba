"""The evaluation on labelled data: its source's half early, so that errors come early; the other half at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.errors import InputError, OctconvertError, one_line
from octconvert.evaluation import Evaluator
from octconvert.model.graph import CallGraph
from octconvert.options.evaluation import EvaluationOptions
from octconvert.results.report import Evaluation, Metric
from octconvert.samples import read_samples
from octconvert.system.progress import Progress


@dataclass(frozen=True, eq=False)
class SourceEvaluation:
    """An evaluation of which the source's half is done.

    Attributes:
        evaluator: the samples and metrics.
        data: name of the samples, for reports.
        before: the value of each metric, of the source.
        notes: on the samples, and on outputs that are not evaluated.
    """

    evaluator: Evaluator
    data: str
    before: tuple[float, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, options: EvaluationOptions, graph: CallGraph, preprocess: Any, seed: int, progress: Progress
    ) -> SourceEvaluation | None:
        """Read all samples, check them, their labels and the metric, then run the source; None where there are none.

        Raises:
            InputError: data, labels, metric and model do not fit, or the source has no finite value of a metric.
            UsageError: ``preprocess`` or the metric makes no sense, or fails.
        """
        if options.evaluate is None:
            return None
        progress("evaluate", 0, 2)
        samples = read_samples(
            options.evaluate,
            graph.model,
            preprocess=preprocess,
            limit=sys.maxsize,
            seed=seed,
            where="evaluate",
            need_labels=True,
        )
        evaluator = Evaluator.of(graph, samples, options.metric)
        before = evaluator.measure(graph.model)
        for metric, value in zip(evaluator.metrics, before, strict=True):
            if not math.isfinite(value):
                raise InputError(f"{samples.origin}: {metric.name} of the source is {value}")
        count = len(graph.outputs)
        others = (f"of {count} outputs the first one is evaluated",) if count > 1 else ()
        return cls(evaluator, _name_of(options.evaluate), before, (*samples.notes, *evaluator.notes, *others))

    @property
    def is_accuracy(self) -> bool:
        """Whether the accuracy is the first metric."""
        return self.evaluator.metrics[0].name == "accuracy"

    def compared(self, subject: str, outputs: Callable[[], Iterable[np.ndarray]]) -> tuple[Evaluation, tuple[str, ...]]:
        """The result, and notes on it and on what could not be measured: whatever fails here, the model is there.

        Args:
            subject: what the notes call the other model.
            outputs: runs it on the samples; batches of its first output.
        """
        names, notes = [metric.name for metric in self.evaluator.metrics], list(self.notes)
        after = (math.nan,) * len(names)
        try:
            after = self.evaluator.values(outputs())
        except Exception as error:
            notes.append(f"{' and '.join(names)} of the {subject} could not be measured: {reason_of(error)}")
        else:
            pairs = zip(names, after, strict=True)
            notes += [f"{name} of the {subject} is {value}" for name, value in pairs if not math.isfinite(value)]
        rows = zip(self.evaluator.metrics, self.before, after, strict=True)
        metrics = tuple(Metric(metric.name, metric.unit, before, value) for metric, before, value in rows)
        first = metrics[0]
        evaluation = Evaluation(self.data, self.evaluator.samples.count, first.before, first.after, metrics=metrics)
        return evaluation, tuple(notes)


def reason_of(error: Exception) -> str:
    """Why something failed that a result can do without, on one line."""
    return str(error) if isinstance(error, OctconvertError) else one_line(error)


def _name_of(data: Any) -> str:
    """For reports."""
    return Path(data).name if isinstance(data, (str, Path)) else "the labelled data"
