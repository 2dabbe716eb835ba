"""`Evaluator`: labelled samples that fit a model, and the metrics that are measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.errors import InputError
from octconvert.evaluation.labels import VOID, LabelFacts
from octconvert.evaluation.metrics import MeasuredMetric, chosen_metrics
from octconvert.evaluation.outputs import OutputForm
from octconvert.model.execution import observe
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.samples import Samples

BATCH, NUMBERS = 64, 64 * 224 * 224 * 3
"""Samples of one run, and the most numbers in them: larger images are run a few at a time."""


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Measures the first output of a model, of its conversion or of an export, on labelled samples.

    Attributes:
        samples: with labels.
        metrics: at least one, all of which fit the labels and the model's first output.
        notes: on the labels.
    """

    samples: Samples
    metrics: tuple[MeasuredMetric, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, graph: CallGraph, samples: Samples, metric: Any = None) -> Evaluator:
        """Choose the metrics; the model is not run.

        Args:
            metric: None: what suits the labels and the model's first output.

        Raises:
            InputError: there are no labels, or they do not fit the output or the metric.
            UsageError: the metric can not be imported.
        """
        if samples.labels is None:
            raise InputError(f"{samples.origin}: holds no labels")
        form = OutputForm.of(graph, samples)
        facts = LabelFacts.of(samples.labels, form, samples.origin)
        notes = (f"label {VOID} is no class of the model: such positions are left out",) if facts.has_void else ()
        return cls(samples, chosen_metrics(metric, facts, form, samples.origin), notes)

    def measure(self, model: keras.Model) -> tuple[float, ...]:
        """The value of each metric for a model with the same inputs and outputs.

        Raises:
            InputError: a layer can not be run.
            UsageError: a function of the user's fails.
        """
        return self.values(first_outputs(build_graph(model), self.samples))

    def values(self, outputs: Iterable[np.ndarray]) -> tuple[float, ...]:
        """The value of each metric.

        Args:
            outputs: batches of a first output, in the order of the samples.

        Raises:
            InputError: there are fewer or more than samples.
            UsageError: a function of the user's fails.
        """
        labels, done = np.asanyarray(self.samples.labels), 0
        tallies = [metric.tally() for metric in self.metrics]
        for batch in outputs:
            own = np.asarray(labels[done : done + len(batch)])
            done += len(batch)
            if done > self.samples.count:
                break
            for metric, tally in zip(self.metrics, tallies, strict=True):
                tally.add(*metric.prepare(own, batch))
        if done != self.samples.count:
            raise InputError(f"{self.samples.origin}: the model has not one output for each sample")
        return tuple(tally.result() for tally in tallies)


def first_outputs(graph: CallGraph, samples: Samples) -> Iterator[np.ndarray]:
    """Run a model; its first output batch by batch, as float32.

    Raises:
        InputError: a layer can not be run.
    """
    numbers = max(sum(array[0].size for array in samples.arrays), 1)
    for batch in samples.batches(int(np.clip(NUMBERS // numbers, 1, BATCH))):
        _, tensor = next(observe(graph, batch, graph.outputs[:1]))
        yield np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
