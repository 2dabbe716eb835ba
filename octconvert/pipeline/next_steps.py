"""What may follow a conversion, a comparison, times or an export: steps that can be done with the files at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octconvert import loading
from octconvert.options.fields import defaults, names
from octconvert.options.request import ConversionRequest
from octconvert.options.timing import EXPORT_SUFFIXES, default_runtime
from octconvert.results.bench import Bench
from octconvert.results.next_step import NextStep, options_of
from octconvert.results.report import Evaluation
from octconvert.runtimes import find

LOST = 0.02
"""Share of the accuracy from which on its loss is what comes next."""
_SUFFIXES: dict[str, str] = {name: suffix for suffix, name in EXPORT_SUFFIXES.items()}
_NAMES = {"litert": "LiteRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO", "tf": "TensorFlow"}
_ALPHAS = ("alpha", "alpha_map", "interior")
_SEARCHES = ("target_macs", "target_time", "max_drop")
_NAMED = ("calibration", "preprocess", "evaluate", "metric", "output", "overwrite", "strict")
"""Options with values of their own in the next step; `strict` is for Python, the command line always is."""
_MEASURED_ON = ("litert", "onnx", "openvino")
"""The runtimes of models that are deployed on a CPU, the likeliest first."""


def path_of(model_or_path: Any) -> str | None:
    """The file that a model was read from; None for a model in memory."""
    if isinstance(model_or_path, (str, os.PathLike)):
        return str(model_or_path)
    is_file = isinstance(model_or_path, loading.Loaded) and model_or_path.kind != "memory"
    return str(model_or_path.path) if is_file else None


@dataclass(frozen=True, eq=False)
class Converted:
    """What the steps behind a conversion depend on.

    Attributes:
        source, target: files; None where there is none.
        needs_trust: whether the files are only read where code in them is allowed.
    """

    source: str | None
    target: str | None
    request: ConversionRequest
    evaluation: Evaluation | None
    bench: Bench | None
    needs_trust: bool


def after_conversion(done: Converted) -> tuple[NextStep, ...]:
    """The likeliest first."""
    if done.target is None:
        return ()
    source, target, deployment = done.source, done.target, done.request.deployment
    reading = _reading(done.request.loading, done.needs_trust)
    runtime = deployment.runtime or _likely_runtime()
    steps: list[NextStep | None] = []
    if source is not None:
        sized = {"input_shape": done.request.loading.input_shape, **reading}
        steps += [
            _closer(source, target, done, sized),
            _fitted(source, target, done, sized),
            _faster(source, target, done, runtime, sized),
        ]
        if not done.request.is_timed:
            threads = _chosen(deployment).get("threads")
            timed = {"runtimes": runtime, "quantize": deployment.quantize, "threads": threads, **sized}
            steps.append(NextStep("Time both models here", "bench", (source, target), options_of(timed)))
    data = (_data(done.request) or {}) if deployment.quantize else {}  # the ranges are measured on it
    steps.append(_export(target, runtime, deployment.quantize, {**data, **reading}))
    return tuple(step for step in steps if step is not None)


def after_diff(a: Any, b: Any, arguments: Mapping[str, Any]) -> tuple[NextStep, ...]:
    """Where both are files: their times."""
    paths = [path_of(each) for each in (a, b)]
    if None in paths:
        return ()
    options = {"runtimes": _likely_runtime(), **_reading_of(arguments)}
    models = tuple(str(path) for path in paths)
    return (NextStep("Time both models here", "bench", models, options_of(options)),)


def after_bench(bench: Bench, models: Sequence[Any], arguments: Mapping[str, Any]) -> tuple[NextStep, ...]:
    """The export of the fastest model, for the runtime on which it gains the most over the first one."""
    paths = [path_of(each) for each in models]
    rows = [row for row in bench.measured if row.runtime in _NAMES]
    best = max(rows, key=lambda row: row.speedup or 0.0, default=None)
    timed = list(dict.fromkeys(row.model for row in bench.rows))
    path = paths[timed.index(best.model)] if best is not None and len(timed) == len(paths) else None
    if best is None or path is None:
        return ()
    step = _export(path, best.runtime, bench.quantize, _reading_of(arguments))
    return () if step is None else (step,)


def after_export(source: Any, target: str, runtime: str, arguments: Mapping[str, Any]) -> tuple[NextStep, ...]:
    """The same file with its numbers rounded, where they are not."""
    path = path_of(source)
    if path is None or arguments.get("quantize") or runtime not in _SUFFIXES:
        return ()
    stem, suffix = os.path.splitext(target)
    if suffix != _SUFFIXES[runtime]:
        return ()
    kept = ("batch", "opset", "input_shape")
    options = {"quantize": "int8", **{name: arguments.get(name) for name in kept}, **_reading_of(arguments)}
    step = _export(path, runtime, None, options, f"{stem}-int8{suffix}", "A quarter of the size, in 8-bit integers")
    return () if step is None else (step,)


def _closer(source: str, target: str, done: Converted, reading: Mapping[str, Any]) -> NextStep | None:
    """A conversion with a bound on what is lost, where much of the accuracy is."""
    lost, calibration, rewriting = done.evaluation, done.request.calibration, done.request.rewriting
    if lost is None or calibration is None or calibration.max_drop is not None:
        return None
    metric = lost.measured[0]
    if metric.name != "accuracy" or not metric.before - metric.after > LOST:
        return None
    options = {"max_drop": 0.01, "objective": None, **_chosen(rewriting, _ALPHAS), **reading}
    return _again("Lose less of the accuracy", source, _beside(target, "closer"), done.request, options)


def _fitted(source: str, target: str, done: Converted, reading: Mapping[str, Any]) -> NextStep | None:
    """The same conversion with its calibration, where the weights are only moved."""
    rewriting = done.request.rewriting
    if done.request.calibration is not None or rewriting is None or rewriting.weights == "fresh":
        return None
    options = {**_chosen(rewriting), **reading}
    return _again("Fit it to its source", source, _beside(target, "fitted"), done.request, options)


def _faster(source: str, target: str, done: Converted, runtime: str, reading: Mapping[str, Any]) -> NextStep | None:
    """A conversion of what gains time, where the whole gains none."""
    measured, calibration, deployment = done.bench, done.request.calibration, done.request.deployment
    rewriting = done.request.rewriting
    searches = calibration is not None and calibration.searches
    if measured is None or deployment.objective != "macs" or searches:
        return None
    if not any(row.speedup is not None and row.speedup < 1 for row in measured.measured[1:]):
        return None
    timed = {"objective": "latency", "runtime": runtime, "quantize": deployment.quantize}
    options = {**timed, **_chosen(rewriting), **reading}
    return _again("Convert only what is faster here", source, _beside(target, "faster"), done.request, options)


def _chosen(options: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    """The options of one class, by the names of the arguments, that differ from their defaults; None has none."""
    if options is None:
        return {}
    usual = defaults(type(options))
    own = {argument: getattr(options, field) for field, argument in names(type(options)) if argument not in without}
    return {name: value for name, value in own.items() if value != usual[name]}


def _again(
    purpose: str, source: str, output: str, request: ConversionRequest, options: Mapping[str, Any]
) -> NextStep | None:
    """Another conversion on the same data; None where a plan was followed, or data or functions are in memory."""
    data = _data(request)
    if data is None or request.rewriting is None:
        return None
    kept = {**_chosen(request.deployment), **_chosen(request.delivery, _NAMED)}
    if request.calibration is not None:  # what chooses alphas is for each step to say
        kept |= _chosen(request.calibration, (*_NAMED, *_SEARCHES))
    return _new_file(purpose, source, output, {**kept, **options, **data})


def _data(request: ConversionRequest) -> dict[str, Any] | None:
    """The data of a conversion, and how they are read; None where some are in memory, or a function is."""
    delivery, data = request.delivery, request.calibration.data if request.calibration is not None else None
    given = {"calibration": data, "evaluate": delivery.evaluate}
    paths = {name: path_of(value) for name, value in given.items()}
    in_memory = any(value is not None and paths[name] is None for name, value in given.items())
    is_text = all(value is None or isinstance(value, (str, Path)) for value in (request.preprocess, delivery.metric))
    if in_memory or not is_text:
        return None
    return {**paths, "preprocess": request.preprocess, "metric": delivery.metric}


def _new_file(purpose: str, source: str, output: str, options: Mapping[str, Any]) -> NextStep | None:
    if os.path.lexists(output):
        return None
    return NextStep(purpose, "convert", (source,), options_of({"output": output, **options}))


def _export(
    model: str,
    runtime: str,
    precision: str | None,
    options: Mapping[str, Any],
    output: str = "",
    purpose: str = "",
) -> NextStep | None:
    """None where the runtime is missing, has no such precision, or the file exists already."""
    runtime = runtime if runtime in _NAMES else _likely_runtime()
    suffix = _SUFFIXES.get(runtime)
    output = output or f"{os.path.splitext(model)[0]}{suffix or '-saved_model'}"
    if runtime not in _NAMES or find(runtime).obstacle(precision) or os.path.lexists(output):
        return None
    chosen = {"output": output, "format": None if suffix else runtime, "quantize": precision, **options}
    purpose = purpose or f"Write it for {_NAMES[runtime]}"
    return NextStep(purpose, "export", (model,), options_of(chosen))


def _beside(target: str, word: str) -> str:
    return f"{os.path.splitext(target)[0]}-{word}.keras"


def _likely_runtime() -> str:
    """The first of those for deployment that is installed; else the one that is always there."""
    return next((name for name in _MEASURED_ON if not find(name).obstacle()), default_runtime())


def _reading(options: Any, needs_trust: bool) -> dict[str, Any]:
    return {"unsafe": needs_trust, "custom_objects": tuple(options.custom_objects or ())}


def _reading_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "unsafe": arguments.get("unsafe", False),
        "custom_objects": tuple(arguments.get("custom_objects") or ()),
    }
