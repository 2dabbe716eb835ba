"""The conversion, stage after stage: read, graph, plan, build, verify, save, report."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from octconvert import loading
from octconvert.benchmarking.compare import Subject, compare
from octconvert.calibration.calibrate import Calibrated, calibrate, prepared_plan
from octconvert.calibration.evidence import accuracy
from octconvert.costs.cost import cost_of
from octconvert.costs.feasibility import runnable_graph
from octconvert.errors import CheckError, InputError, NothingToConvert, UsageError, first_line
from octconvert.inference.forms import checked_runtime, deploy
from octconvert.latency.objective import for_latency
from octconvert.model import examples, finite
from octconvert.model.copying import renamed, settle
from octconvert.model.functional import functional_of
from octconvert.model.graph import OPERATION, CallGraph
from octconvert.options.arguments import checked, path_of
from octconvert.options.calibration import STEPS, Settings
from octconvert.options.limits import shown
from octconvert.options.rewriting import RewritingOptions
from octconvert.options.timing import BenchSettings, bench_settings, usable
from octconvert.pipeline.conversion import Conversion
from octconvert.pipeline.reporting import collect, diff_report
from octconvert.planning.planned import Planned
from octconvert.results.bench import Bench
from octconvert.results.export import Exported, TensorReport
from octconvert.results.plan import Plan
from octconvert.results.report import Check, Cost, Evaluation, Report
from octconvert.rewriting import Rewritten, rewrite
from octconvert.rewriting.compilation import carry_class, carry_compilation
from octconvert.rules import find_rule, is_named, rule_of
from octconvert.rules.activations import activation_name
from octconvert.runtimes import find
from octconvert.runtimes.signature import batch_of, signature_of
from octconvert.samples import Samples, read_samples
from octconvert.system.progress import Progress, silent
from octconvert.text import words
from octconvert.verification import checks
from octconvert.verification.exporting import check_target, export_checked, format_of, written_bytes
from octconvert.verification.saving import check_holds, failure, save_checked

OBJECTIVES = ("macs", "latency")

read = loading.read


@checked
def convert(
    model_or_path,
    alpha: float = 0.5,
    *,
    octave: int = 2,
    alpha_map: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 8,
    preset: str | None = None,
    stride_mode: str = "keep",
    weights: str = "slice",
    portable: bool = False,
    elementwise: Iterable[str | type] = (),
    plan: Plan | str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    calibration: Any = None,
    preprocess: str | Callable | None = None,
    input_range: tuple[float, float] | None = None,
    calibration_samples: int = 2048,
    calibration_budget: float | None = None,
    calibration_steps: Iterable[str] = STEPS,
    target_macs: float | None = None,
    max_drop: float | None = None,
    evaluate: Any = None,
    seed: int = 0,
    for_inference: bool = False,
    runtime: str | None = None,
    objective: str = "macs",
    benchmark: bool = False,
    threads: int = 2,
    verify: str = "quick",
    output: str | Path | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Rewrite a trained Keras CNN as an octave CNN, with its weights.

    Args:
        model_or_path: a Functional or Sequential Keras model (it is not changed), or an .h5 / .keras file.
        alpha: share of the channels that become low, at least 0 and below 1 (paper, section 3.1).
        octave: factor between the two resolutions, a power of two up to 64; 1 changes no resolution: the same function.
        alpha_map: regular expression on layer names -> alpha, in order, for groups that should differ.
        include, exclude: regular expressions on layer names: convert only these; leave these plain.
        min_size: maps with a shorter side stay plain.
        preset: 'paper': the stem stays plain where a max-pooling follows it.
        stride_mode: 'keep', or 'pool': average pooling and a stride-1 convolution (another function; for training).
        weights: 'slice' the kernels, 'fold' them to the low resolution, or leave them 'fresh'.
        portable: built-in Keras layers only, so that the model loads without octconvert.
        elementwise: layers (classes, class names or layer names) and activation functions that act on each channel and
            position alone; they then end no chain. This wins over what octconvert knows of the layer.
        plan: a `Plan` or its file, in place of all options above.
        input_shape: (rows, columns, channels) for a model that leaves them open.
        calibration: inputs to fit the converted model to, a few hundred; labels are ignored: an .npz or .npy file, a
            directory of images, arrays, a dataset, any iterable (see `octconvert.samples.read_samples`).
            None: synthetic images. False: the weights are moved and that is all.
        preprocess: what is done to the data before the model gets them: a name from keras.applications,
            'scale,offset', 'module:function' or a function.
        input_range: (black, white) as the model expects them, for synthetic images; None: found in the model.
        calibration_samples: the most that are used.
        calibration_budget: about how many seconds the calibration may take; None: 60 on synthetic images, 300 on data.
        calibration_steps: a part of 'rotate', 'select', 'solve', 'renormalize', 'refine'.
        target_macs: choose an alpha for every tied group so that this share of the MACs is left, at the least damage.
        max_drop: the same for the least MACs at which no more than this share of the top-1 agreement is lost.
        evaluate: labelled data of the same kinds; the report then tells the accuracy before and after.
        seed: of everything that is drawn at random.
        for_inference: give (and save) the model in its form for inference, see `octconvert.for_inference`: the same
            outputs in less time, and no longer to be trained.
        runtime: what it will run on: 'tf', 'xla', 'litert', 'onnx' or 'openvino'; alone it means ``for_inference``.
        objective: 'macs': convert all that can be; 'latency': only what gains time, measured on this machine and
            ``runtime``, and nothing where the whole gains none.
        benchmark: time the result against the source, both in their form for inference; the report tells.
        threads: that are used for measuring times.
        verify: 'quick', or 'deep': the octave=1 oracle on this very model besides.
        output: file to save to (.keras or .h5); written only if every check passes.
        overwrite: whether an existing ``output`` may be replaced.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        strict: raise where no convolution is converted, instead of returning the model as it was.
        progress: called with (stage, done, total) while working.

    Returns:
        `Conversion`: the new model, its plan, costs before and after, checks; shows itself in terminal and notebook.

    Raises:
        InputError: the model or file can not be read.
        UsageError: an option makes no sense.
        CheckError: the rewritten model failed a check; nothing was written.
        NothingToConvert: with ``strict``, no convolution can be converted.
    """
    started = time.perf_counter()
    tell = progress or silent
    if verify not in ("quick", "deep"):
        raise UsageError(f"verify must be quick or deep, received {shown(verify)}")
    options = _options(locals(), plan)
    settings = _settings(locals(), plan)
    deployment = checked_runtime(runtime) if for_inference or runtime is not None else None
    timing = _timing(locals()) if benchmark or objective != "macs" else None
    measured: Bench | None = None
    if output is not None:
        loading.check_target(output, overwrite=overwrite)
    tell("read", 0, 1)
    loaded = _loaded(model_or_path, input_shape, unsafe, custom_objects)
    tell("plan", 0, 1)
    given = plan
    planned = _planned(runnable_graph(loaded.model), options, plan)
    if strict and not planned.converts:
        raise NothingToConvert(_nothing(loaded, planned.plan, planned.graph))
    if output is not None and deployment is None:  # the form for inference may do without the operations
        check_holds(Path(output), planned.graph)
    example, told_of_source = _comparable(planned.graph, _label(model_or_path, loaded.model))
    told_of_time: list[str] = []
    if timing is not None and objective == "latency" and planned.converts:
        fastest = for_latency(planned, timing, tell)
        planned, measured = fastest.planned, fastest.bench
        told_of_time = list(fastest.notes)
        if strict and not planned.converts:
            raise NothingToConvert(f"{_label(model_or_path, loaded.model)}: {fastest.notes[0]}")
    labelled = _labelled(evaluate, loaded.model, preprocess, seed)
    found = _converted(planned, settings, tell)
    rewritten, options = found.rewritten, planned.options
    planned = rewritten.planned
    layout, plan = planned.layout, planned.plan
    model, lost = carry_class(loaded.model, rewritten.model, custom_objects)
    notes = [
        *lost,
        *told_of_source,
        *told_of_time,
        *_weights_note(options, plan, found),
        *found.notes,
        *_converted_before(plan),
        *_unmatched_patterns(options, plan),
        *_unmatched_names(options, layout.graph),
        *_unseen(layout.graph, options.elementwise),
        *rewritten.notes,
        *(carry_compilation(loaded.model, model, custom_objects) if deployment is None else ()),
    ]
    tell("check", 0, 1)
    checks = _checks(rewritten, example, loaded.model, model, deep=verify == "deep")
    trained = model
    if deployment is not None:
        tell("inference", 0, 1)
        model = _deployed(trained, deployment, notes, checks)
    if benchmark:
        measured = _benchmark(loaded.model, model, timing, tell)
        notes += _slower(measured)
    if labelled is not None:
        tell("evaluate", 0, 1)
    report = partial(
        collect,
        layout,
        plan,
        _told(options, given),
        trained,
        source=_label(model_or_path, loaded.model),
        target=str(output) if output is not None else "",
        repairs=loaded.repairs,
        notes=notes,
        calibration=found.report,
        errors=found.errors,
        evaluation=_evaluation(loaded.model, model, labelled, evaluate),
        bench=measured,
    )
    failed = next((check for check in checks if not check.passed), None)
    if failed is not None:
        told = report(checks=checks, seconds=time.perf_counter() - started)
        raise CheckError(failure(failed), told)
    if output is not None:
        tell("save", 0, 1)
        checks.append(save_checked(model, Path(output), overwrite, custom_objects))
    told = report(checks=checks, seconds=time.perf_counter() - started)
    return Conversion(model=model, plan=plan, report=told, custom_objects=dict(custom_objects or {}))


@checked
def plan(
    model_or_path,
    alpha: float = 0.5,
    *,
    octave: int = 2,
    alpha_map: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 8,
    preset: str | None = None,
    stride_mode: str = "keep",
    weights: str = "slice",
    portable: bool = False,
    elementwise: Iterable[str | type] = (),
    plan: Plan | str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    calibration: Any = None,
    preprocess: str | Callable | None = None,
    input_range: tuple[float, float] | None = None,
    calibration_samples: int = 2048,
    calibration_budget: float | None = None,
    calibration_steps: Iterable[str] = STEPS,
    target_macs: float | None = None,
    max_drop: float | None = None,
    seed: int = 0,
    runtime: str | None = None,
    objective: str = "macs",
    threads: int = 2,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """What `convert` would do with the same arguments: the tied groups and the role of every convolution.

    With ``plan``, what would come of that (edited) plan for this model. Channels and alphas are chosen by the data only
    where ``calibration`` or ``target_macs`` is given; otherwise the last channels of each group are told as low.
    """
    options = _options(locals(), plan)
    settings = _settings(locals(), plan)
    timing = _timing(locals()) if objective != "macs" else None
    tell = progress or silent
    loaded = _loaded(model_or_path, input_shape, unsafe, custom_objects)
    planned = _planned(runnable_graph(loaded.model), options, plan)
    if timing is not None and planned.converts:
        planned = for_latency(planned, timing, tell).planned
    if settings is None or not (settings.data is not None or settings.searches) or not _calibrates(planned):
        return planned.plan
    _comparable(planned.graph, _label(model_or_path, loaded.model))
    return prepared_plan(planned, settings, tell)


@checked
def diff(a, b, *, unsafe: bool = False, custom_objects: Mapping[str, Any] | None = None) -> Report:
    """Two models (or files) side by side: costs, and their convolutions matched by name."""
    first, second = (_loaded(item, None, unsafe, custom_objects).model for item in (a, b))
    return diff_report(first, second, _label(a, first), _label(b, second))


@checked
def bench(
    models,
    *,
    runtimes: str | Iterable[str] = ("tf",),
    threads: int = 2,
    batch: int | None = None,
    rounds: int = 15,
    for_inference: bool = False,
    input_shape: tuple[int, ...] | None = None,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Time models side by side on the CPU, each exported as it would be deployed and in a process of its own.

    The runs are interleaved: round after round every model has its turn, in an order that alternates; and every five
    rounds, up to three times, in new processes.

    Args:
        models: Keras models or files, a list or a mapping from names; the first is what the others are held against.
        runtimes: of 'tf', 'xla', 'litert', 'onnx' and 'openvino'; those that are not installed are left out.
        threads: that a runtime may use.
        batch: samples of one run; None: what a model fixes, else 1.
        rounds: how often every model has its turn, of up to five timed runs.
        for_inference: measure the models in their form for inference, see `octconvert.for_inference`.
        input_shape: (rows, columns, channels) for models that leave them open.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        progress: called with (stage, done, total) while working.

    Returns:
        `Bench`: times, memory and MACs, and how much of the saved MACs is saved time; a model that can not be measured
        has the reason in its row. Shows itself in a terminal or notebook.

    Raises:
        InputError: a model or file can not be read.
        UsageError: an option makes no sense, or no runtime is installed.
    """
    tell = progress or silent
    settings = bench_settings(runtimes, threads=threads, batch=batch, rounds=rounds, for_inference=for_inference)
    names, notes = usable(settings.runtimes)
    given = _by_name(models)
    subjects: dict[str, Subject] = {}
    told = list(notes)
    for number, (name, item) in enumerate(given):
        tell("read", number, len(given))
        model = _loaded(item, input_shape, unsafe, custom_objects).model
        cost = cost_of(runnable_graph(model))
        name = _another(name or _label(item, model), subjects)
        subjects[name], more = _subject(name, model, cost)
        told += more
    batch = batch_of([subject.model for subject in subjects.values()], batch)
    rows, seen = compare(list(subjects.values()), replace(settings, runtimes=names), batch, tell)
    return Bench(rows, threads, batch, rounds, for_inference, (*told, *seen))


@checked
def export(
    model_or_path,
    output: str | Path,
    *,
    format: str | None = None,
    batch: int | None = None,
    for_inference: bool = True,
    input_shape: tuple[int, ...] | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a model for another runtime; it gets its name only after it was run there and gave what Keras gives.

    Args:
        model_or_path: a Functional or Sequential Keras model (it is not changed), or an .h5 / .keras file.
        output: a name that ends in .tflite, .onnx or .xml (OpenVINO, with a .bin beside it), or a directory.
        format: 'litert', 'onnx', 'openvino' or 'tf' (a SavedModel); None: by the ending.
        batch: samples of one run, which the export fixes with all other sizes; None: what the model fixes, else 1.
        for_inference: write the model's form for inference, see `octconvert.for_inference`. Where the runtime refuses
            what is asked for, the model as it is or that form is written, and a note says so.
        input_shape: (rows, columns, channels) for a model that leaves them open.
        overwrite: whether what is at ``output`` may be replaced.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        progress: called with (stage, done, total) while working.

    Returns:
        `Exported`: what was written and how it was checked.

    Raises:
        InputError: the model or file can not be read, or the runtime has not what it needs.
        UsageError: an option makes no sense, the runtime is not installed, or ``output`` can not be written.
        CheckError: the exported file can not be run or gives something else; nothing was written.
    """
    tell = progress or silent
    target = Path(output)
    runtime = format_of(target, format)
    runtime.check_installed()
    check_target(runtime, target, overwrite)
    tell("read", 0, 1)
    loaded = _loaded(model_or_path, input_shape, unsafe, custom_objects)
    graph = runnable_graph(loaded.model)
    batch = batch_of([loaded.model], batch)
    signature_of(loaded.model, batch)
    told_of_source = _comparable(graph, _label(model_or_path, loaded.model))[1]
    tell(f"export for {runtime.name}", 0, 1)
    choice = export_checked(loaded.model, runtime, target, batch, overwrite, for_inference)
    return Exported(
        source=_label(model_or_path, loaded.model),
        target=str(output),
        runtime=runtime.name,
        bytes=written_bytes(runtime, target),
        for_inference=choice.for_inference,
        inputs=tuple(TensorReport(spec.name, spec.shape, spec.dtype) for spec in choice.result.inputs),
        check=choice.result.check,
        notes=(*loaded.repairs, *told_of_source, *choice.notes),
    )


@checked
def load(path, *, unsafe: bool = False, custom_objects: Mapping[str, Any] | None = None, input_shape=None):
    """Load a model file, old formats repaired in memory; the octave layers are known."""
    return loading.load(path, unsafe=unsafe, custom_objects=custom_objects, input_shape=input_shape)


def _options(arguments: dict, plan) -> RewritingOptions | None:
    """The options asked for; None where a plan stands in their place."""
    names = [field.name for field in fields(RewritingOptions)]
    if plan is not None:
        default = RewritingOptions()
        changed = [name for name in names if not _is_default(arguments[name], getattr(default, name))]
        if changed:
            raise UsageError(f"{changed[0]} can not be given together with plan, which fixes it; edit the plan instead")
        return None
    values = {name: arguments[name] for name in names}
    values |= {key: _patterns(key, values[key]) for key in ("include", "exclude")}
    values["elementwise"] = _names(values["elementwise"])
    values["alpha_map"] = _alpha_map(values["alpha_map"])
    return RewritingOptions(**values)


def _is_default(value, default) -> bool:
    """Whether an option was left as it is; an empty list counts as none."""
    try:
        return value is None or bool(value == default) or not len(value)
    except (TypeError, ValueError):  # a number has no length, an array no truth value
        return False


def _settings(arguments: dict, plan) -> Settings | None:
    """What is asked of the calibration; None where it is switched off.

    Raises:
        UsageError: it is switched off, or has nothing to work on, and asked for at once; or alphas are given and to be
            chosen.
    """
    target, drop = arguments["target_macs"], arguments["max_drop"]
    for name, value in (("target_macs", target), ("max_drop", drop)):
        if value is None:
            continue
        if plan is not None or arguments["alpha_map"] or arguments["alpha"] != RewritingOptions().alpha:
            raise UsageError(f"{name} chooses every alpha itself: give no alpha, alpha_map or plan with it")
        if arguments["calibration"] is False:
            raise UsageError(f"{name} needs a calibration to choose by")
    if arguments["calibration"] is False:
        return None
    if arguments.get("weights") == "fresh" and (arguments["calibration"] is not None or target or drop):
        raise UsageError("weights 'fresh' leaves nothing to calibrate: the trained weights are thrown away")
    steps = arguments["calibration_steps"]
    evaluates = arguments.get("evaluate") is not None  # then the preprocessing is for that
    synthetic = arguments["calibration"] is None
    if arguments["input_range"] is not None and not synthetic:
        raise UsageError("input_range is for synthetic images; the values of data are taken as they are")
    return Settings(
        data=arguments["calibration"],
        preprocess=None if synthetic and evaluates else arguments["preprocess"],
        input_range=arguments["input_range"],
        samples=arguments["calibration_samples"],
        budget=arguments["calibration_budget"],
        steps=(steps,) if isinstance(steps, str) else tuple(steps),
        seed=arguments["seed"],
        target_macs=target,
        max_drop=drop,
    )


def _timing(arguments: dict) -> BenchSettings:
    """How times are measured.

    Raises:
        UsageError: an unknown objective, or one that contradicts what else is asked; or the runtime is not installed.
    """
    objective = arguments["objective"]
    if objective not in OBJECTIVES:
        raise UsageError(f"objective must be one of {', '.join(OBJECTIVES)}, received {shown(objective)}")
    for name in ("plan", "target_macs", "max_drop"):
        if objective == "latency" and arguments[name] is not None:
            raise UsageError(f"objective latency chooses what is converted, and so does {name}: give one of them")
    runtime = checked_runtime(arguments["runtime"])
    find(runtime).check_installed()
    return bench_settings(runtime, threads=arguments["threads"], for_inference=True)


def _benchmark(source, model, timing: BenchSettings | None, tell: Progress) -> Bench:
    assert timing is not None  # see convert
    models = {"source": source, "converted": model}
    return bench(models, runtimes=timing.runtimes, threads=timing.threads, for_inference=True, progress=tell)


def _slower(bench: Bench) -> list[str]:
    """What to do where MACs saved are time lost."""
    slower = [row.runtime for row in bench.measured[1:] if row.speedup is not None and row.speedup < 1]
    hint = "objective latency (--objective latency) leaves plain what gains no time"
    return [f"the converted model is slower than its source on {runtime}: {hint}" for runtime in slower]


def _calibrates(planned: Planned) -> bool:
    """Whether there is anything to calibrate: with octave=1 the function is unchanged."""
    return planned.converts and planned.options.octave > 1 and planned.options.weights != "fresh"


def _converted(planned: Planned, settings: Settings | None, tell: Progress) -> Calibrated:
    if settings is not None and _calibrates(planned):
        return calibrate(planned, settings, tell)
    return Calibrated(rewrite(planned, tell), None, {})


def _labelled(data, model, preprocess, seed: int) -> Samples | None:
    """Labelled samples to measure with; read before the long work, so that an error comes early."""
    if data is None:
        return None
    limit = sys.maxsize
    return read_samples(data, model, preprocess=preprocess, limit=limit, seed=seed, where="evaluate", need_labels=True)


def _evaluation(source, model, samples: Samples | None, data) -> Evaluation | None:
    if samples is None:
        return None
    before, after = (accuracy(each, samples) for each in (source, model))
    name = Path(data).name if isinstance(data, (str, Path)) else "the given data"
    return Evaluation(name, samples.count, before, after)


def _patterns(name: str, values) -> tuple[str, ...]:
    if isinstance(values, str):
        return (values,)
    patterns = _items(values)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise UsageError(f"{name} takes regular expressions, received {shown(values)}")
    return patterns


def _items(values) -> tuple[Any, ...]:
    """What an iterable holds; anything else (an array without axes says that it is one, too) is taken for one item."""
    try:
        return tuple(values)
    except TypeError:
        return (values,)


def _names(given) -> tuple[Any, ...]:
    """Layer classes and functions by their names; what has no name is left for the check of the options."""
    items = (given,) if isinstance(given, str) else _items(given)
    return tuple(item if isinstance(item, str) else getattr(item, "__name__", item) for item in items)


def _alpha_map(given) -> tuple[tuple[str, float], ...]:
    if given is None:
        return ()
    try:
        pairs = given.items() if isinstance(given, Mapping) else given
        return tuple((str(pattern), alpha) for pattern, alpha in pairs)
    except (TypeError, ValueError):
        raise UsageError(f"alpha_map takes regular expressions with an alpha each, received {shown(given)}") from None


def _told(options: RewritingOptions, plan) -> tuple[tuple[str, object], ...]:
    """What the report says was asked for; a plan decides alpha and which layers itself."""
    values = tuple((field.name, getattr(options, field.name)) for field in fields(RewritingOptions))
    if plan is None:
        return values
    own = ("alpha", "alpha_map", "include", "exclude", "preset")
    followed = "given" if isinstance(plan, Plan) else str(plan)
    return (("plan", followed), *((name, value) for name, value in values if name not in own))


def _converted_before(plan: Plan) -> list[str]:
    """A portable conversion is made of ordinary layers; only their names tell."""
    names = {entry.name for entry in plan.convolutions}
    paths = [name for name in names if name.endswith("-HH") and names & {f"{name[:-3]}-HL", f"{name[:-3]}-LH"}]
    told = "the source looks like a portable octave model already; convert the model it was made from instead"
    return [told] if paths and plan.converted else []


def _unmatched_patterns(options: RewritingOptions, plan: Plan) -> list[str]:
    """Patterns that name no layer: most often a misspelling."""
    names = [entry.name for entry in plan.convolutions] + [name for group in plan.groups for name in group.producers]
    patterns = (*options.include, *options.exclude, *(pattern for pattern, _ in options.alpha_map))
    missed = [pattern for pattern in patterns if not any(re.search(pattern, name) for name in names)]
    return [f"the pattern '{pattern}' matches no convolution" for pattern in missed]


def _unmatched_names(options: RewritingOptions, graph: CallGraph) -> list[str]:
    """Names of element-wise layers or activations that the model has not."""
    calls = [call for call in graph.calls if call.kind == OPERATION]
    functions = {activation_name(getattr(call.operation, "activation", None)) for call in calls}
    missed = [n for n in options.elementwise if n not in functions and not any(is_named(c, (n,)) for c in calls)]
    return [f"elementwise '{name}' is no layer, class or activation of the model" for name in missed]


def _unseen(graph: CallGraph, elementwise: tuple[str, ...] = ()) -> list[str]:
    """Notes on layers without a rule that are made of convolutions: wrappers of Keras, layers of other packages."""
    wrappers: dict[str, str] = {}
    others: dict[str, str] = {}
    for call in graph.calls:
        is_layer = call.kind == OPERATION and isinstance(call.operation, keras.layers.Layer)
        if is_layer and rule_of(call, elementwise) is None:
            inner = call.operation._flatten_layers(include_self=False)
            if any(getattr(find_rule(layer), "produces", False) for layer in inner):
                kind = wrappers if isinstance(call.operation, keras.layers.Wrapper) else others
                kind[call.layer_name] = call.class_name
    notes = {
        "holds a convolution that is left as it is: no pair goes through a wrapper": wrappers,
        "may hold convolutions inside, which can not be seen; left as it is": others,
    }
    return [f"{_some(names)} {note}" for note, names in notes.items() if names]


def _some(classes: dict[str, str]) -> str:
    """The first layer with its class, and how many more there are."""
    (name, class_name), *more = classes.items()
    return f"'{name}' ({class_name}){f' (and {len(more)} more)' if more else ''}"


def _loaded(model_or_path, input_shape, unsafe: bool, custom_objects) -> loading.Loaded:
    if isinstance(model_or_path, loading.Loaded):
        return model_or_path
    if input_shape is not None:
        input_shape = _checked_shape(input_shape)
    if isinstance(model_or_path, (str, os.PathLike)):
        model_or_path = path_of("a model", model_or_path)
        loaded = read(model_or_path, unsafe=unsafe, custom_objects=custom_objects, input_shape=input_shape)
    elif loading.is_keras2(model_or_path):
        loaded = loading.from_keras2(model_or_path, custom_objects=custom_objects)
    else:
        if not isinstance(model_or_path, keras.Model):
            raise InputError(f"expected a Keras model or the path of one, received {shown(model_or_path)}")
        loaded = loading.Loaded(model=model_or_path, path=Path(), kind="memory", repairs=())
    if input_shape is None:
        return loaded
    return replace(loaded, model=_with_input_shape(loaded.model, input_shape))


def _checked_shape(shape) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(size, (int, np.integer)) and size > 0 for size in sizes):
        raise UsageError(f"input_shape takes positive integers, (rows, columns, channels), received {shown(shape)}")
    return tuple(map(int, sizes))


def _with_input_shape(model, shape: tuple[int, ...]):
    """The model with another input shape, weights and all; the same object where it has that shape already."""
    functional = functional_of(model)
    if functional is None:
        return model
    if len(functional.inputs) != 1:
        raise UsageError(f"input_shape: model '{model.name}' has {len(functional.inputs)} inputs, expected one")
    tensor = functional.inputs[0]
    own = tuple(tensor.shape[1:])
    if own == shape:
        return model
    if len(own) != len(shape) or any(have not in (None, want) for have, want in zip(own, shape, strict=True)):
        raise UsageError(f"input_shape: {shape} does not fit the model's own {own}")
    name = tensor._keras_history.operation.name
    fixed = keras.Input(batch_shape=(tensor.shape[0], *shape), dtype=tensor.dtype, name=name)
    fresh = lambda operation: renamed(operation, operation.name)  # noqa: E731
    try:
        copy = keras.models.clone_model(functional, input_tensors=fixed, clone_function=fresh)
    except Exception as error:  # whatever a layer raises about a shape it can not work on
        raise InputError(f"model '{model.name}' does not work at input_shape {shape}: {first_line(error)}") from error
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers(include_self=False):
        settle(layer)
    return copy


def _planned(graph: CallGraph, options: RewritingOptions | None, plan) -> Planned:
    if plan is None:
        assert options is not None
        return Planned.from_options(graph, options)
    followed = plan if isinstance(plan, Plan) else _read_plan(plan)
    return Planned.from_plan(graph, followed, "plan" if followed is plan else str(plan))


def _read_plan(path: str | Path) -> Plan:
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"plan takes a Plan or the path of one, received {shown(path)}")
    return Plan.from_file(path)


def _nothing(loaded: loading.Loaded, plan: Plan, graph: CallGraph) -> str:
    label = loaded.path if loaded.kind != "memory" else loaded.model.name
    if any(type(layer).__module__.startswith("octconvert.") for layer in loaded.model._flatten_layers()):
        return f"{label}: the model holds octave layers already; convert the model it was made from"
    if not plan.convolutions:
        unseen = "".join(f"; {told}" for told in _unseen(graph, plan.elementwise))
        return f"{label}: the model has no 2-D convolution{unseen}"
    first, total = plan.convolutions[0], len(plan.convolutions)
    return f"{label}: none of {total} convolutions can be converted (first: '{first.name}': {first.reason})"


def _weights_note(options: RewritingOptions, plan: Plan, found: Calibrated) -> list[str]:
    """What became of the accuracy; nothing to say where the function is unchanged, or the report tells."""
    if not plan.converted or options.octave == 1 or found.report is not None:
        return []
    if options.weights == "fresh":
        return ["the weights are fresh: train the model before use"]
    how = {"slice": "sliced", "fold": "folded"}[options.weights]
    return [f"the weights are {how}, not tuned: measure the accuracy, and fine-tune with fit(), before you rely on it"]


def _comparable(graph: CallGraph, label: str) -> tuple[examples.Example, list[str]]:
    """What a conversion is compared with, and notes on it; before any long work.

    Raises:
        InputError: it is nothing to compare with: the source's outputs are not finite.
    """
    example = examples.example(graph)
    return example, finite.check_source(graph, example, label)


def _checks(rewritten: Rewritten, example, source, model, deep: bool) -> list[Check]:
    held = finite.unusable_weights(source)
    passed = [
        checks.check_shapes(source, model),
        checks.check_parameters(source, model, sum(rewritten.parameter_changes.values())),
        checks.check_finite(example, model, f"the source holds such values in {finite.listed(held)}" if held else ""),
    ]
    if deep:
        passed.append(checks.check_oracle(rewritten.planned, example))
    return passed


def _deployed(model, runtime: str, notes: list[str], passed: list[Check]):
    """The model's form for inference; what is to be told of it, and its check, are added."""
    made = deploy(model, runtime)
    notes += made.notes
    passed.append(checks.check_inference(model, made.model))
    return made.model


def _by_name(models) -> list[tuple[str | None, Any]]:
    """(name or None, model or path) of everything that is to be measured.

    Raises:
        UsageError: there is nothing.
    """
    if isinstance(models, (str, os.PathLike, keras.Model, loading.Loaded)):
        models = [models]
    pairs = models.items() if isinstance(models, Mapping) else ((None, item) for item in _items(models))
    found = [(name if name is None else str(name), item) for name, item in pairs]
    if not found:
        raise UsageError("bench needs a model")
    return found


def _another(name: str, taken: Iterable[str]) -> str:
    """The name, or 'name (2)' and so on where it is taken: a converted model is called as its source is."""
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(item for item in names if item not in taken)


def _subject(name: str, model, cost: Cost) -> tuple[Subject, list[str]]:
    """What is measured, and what is to be told of it: sizes that the model leaves open are those its MACs count."""
    if not cost.assumed_shapes:
        return Subject(name, model, cost.macs), []
    shape = cost.assumed_shapes[0]
    told = f"{name}: measured with the input {words.shape(shape)}; the model leaves its size open"
    return Subject(name, _with_input_shape(model, shape), cost.macs), [told]


def _label(item, model) -> str:
    if isinstance(item, loading.Loaded):
        return str(item.path)
    return str(item) if isinstance(item, (str, os.PathLike)) else model.name


__all__ = ["Conversion", "InputError", "bench", "convert", "diff", "export", "load", "plan", "read"]
