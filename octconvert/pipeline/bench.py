"""`octconvert.bench`: models read, named, and timed side by side."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import keras

from octconvert import loading
from octconvert.benchmarking.compare import Subject, compare
from octconvert.calibration.data.generator import range_samples
from octconvert.costs.cost import cost_of
from octconvert.costs.feasibility import runnable_graph
from octconvert.errors import UsageError
from octconvert.options.fields import parse
from octconvert.options.loading import LoadingOptions
from octconvert.options.rewriting import items
from octconvert.options.timing import bench_settings
from octconvert.pipeline.next_steps import after_bench
from octconvert.pipeline.source import label_of, read_model, with_input_shape
from octconvert.results.bench import Bench
from octconvert.results.report import Cost
from octconvert.runtimes import usable
from octconvert.runtimes.signature import batch_of
from octconvert.system.progress import silent
from octconvert.text import words

_SETTINGS = ("runtimes", "threads", "batch", "rounds", "for_inference", "quantize")


def bench(arguments: Mapping[str, Any]) -> Bench:
    """`octconvert.bench`; see there."""
    progress = arguments.get("progress", silent)
    settings = bench_settings(**{name: arguments[name] for name in _SETTINGS if name in arguments})
    loading_options = parse(LoadingOptions, arguments)
    names, notes = usable(settings.runtimes, settings.quantize)
    models = _by_name(arguments["models"])
    subjects: dict[str, Subject] = {}
    for number, (name, item) in enumerate(models):
        progress("read", number, len(models))
        model = read_model(item, loading_options).model
        cost = cost_of(runnable_graph(model))
        name = _free_name(name or label_of(item, model), subjects)
        subjects[name], size_notes = _subject(name, model, cost, settings.quantize)
        notes = (*notes, *size_notes)
    batch = batch_of([subject.model for subject in subjects.values()], settings.batch)
    rows, run_notes = compare(list(subjects.values()), replace(settings, runtimes=names), batch, progress)
    result = Bench(
        rows,
        settings.threads,
        batch,
        settings.rounds,
        settings.for_inference,
        (*notes, *run_notes),
        settings.quantize,
    )
    return replace(result, next_steps=after_bench(result, [item for _, item in models], arguments))


def _by_name(models: Any) -> list[tuple[str | None, Any]]:
    """(name or None, model or path) of everything that is to be measured.

    Raises:
        UsageError: there is nothing.
    """
    if isinstance(models, (str, os.PathLike, keras.Model, loading.Loaded)):
        models = [models]
    pairs = models.items() if isinstance(models, Mapping) else ((None, item) for item in items(models))
    named = [(name if name is None else str(name), item) for name, item in pairs]
    if not named:
        raise UsageError("bench needs a model")
    return named


def _free_name(name: str, taken: Iterable[str]) -> str:
    """The name, or 'name (2)' and so on where it is taken: a converted model is called as its source is."""
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(item for item in names if item not in taken)


def _subject(name: str, model: Any, cost: Cost, precision: str | None) -> tuple[Subject, tuple[str, ...]]:
    """A model to measure, with notes: sizes that it leaves open become those that its MACs count."""
    notes: tuple[str, ...] = ()
    if cost.assumed_shapes:
        shape = cost.assumed_shapes[0]
        notes = (f"{name}: measured with the input {words.shape(shape)}; the model leaves its size open",)
        model = with_input_shape(model, shape)
    return Subject(name, model, cost.macs, ranges=range_samples(model, precision)), notes
