"""All stages of a conversion, in order: `Source` -> `Planned` -> `Rewritten` -> `Delivered` -> `Report`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from octconvert.calibration.calibrate import Calibrated, calibrate
from octconvert.errors import CheckError
from octconvert.evaluation import first_outputs
from octconvert.inference.forms import checked_runtime, inference_form
from octconvert.inference.step_forms import Forms, forms_for
from octconvert.latency.objective import TimedPlan
from octconvert.model import finite
from octconvert.model.examples import Example
from octconvert.model.functions import held
from octconvert.model.graph_reader import build_graph
from octconvert.options.request import ConversionRequest
from octconvert.options.timing import BenchSettings
from octconvert.pipeline import notes
from octconvert.pipeline.bench import bench
from octconvert.pipeline.conversion import Conversion
from octconvert.pipeline.evaluating import SourceEvaluation, reason_of
from octconvert.pipeline.next_steps import Converted, after_conversion, path_of
from octconvert.pipeline.planning import calibrates, check_converts, choose, read_and_plan, times_of, timing_of
from octconvert.pipeline.reporting import Outcome, collect
from octconvert.pipeline.smaller_images import on_smaller_images
from octconvert.pipeline.source import Source
from octconvert.planning.planned import Planned
from octconvert.results.bench import Bench
from octconvert.results.next_step import NextStep
from octconvert.results.report import Check, Evaluation
from octconvert.rewriting import rewrite
from octconvert.rewriting.compilation import carry_class, carry_compilation
from octconvert.system.progress import Progress, silent
from octconvert.verification import checks
from octconvert.verification.keras_files import check_model_target
from octconvert.verification.saving import check_holds, failure, save_checked


def convert(arguments: Mapping[str, Any]) -> Conversion:
    """`octconvert.convert`; see there."""
    started, arguments = time.perf_counter(), dict(arguments)
    model, progress = arguments.pop("model_or_path"), arguments.pop("progress", silent)
    request = ConversionRequest.of(arguments)
    runtime = checked_runtime(request.deployment.runtime) if request.deployment.is_deployed else None
    timing = timing_of(request.deployment) if request.is_timed else None
    if request.delivery.output is not None:
        check_model_target(request.delivery.output, overwrite=request.delivery.overwrite)
    source, planned = read_and_plan(model, request, progress)
    check_converts(source, TimedPlan(planned), request)
    if request.delivery.output is not None and runtime is None:  # the form for inference may not need the operations
        check_holds(Path(request.delivery.output), source.graph)
    example, source_notes = source.example()
    evaluating = SourceEvaluation.of(request.delivery, source.graph, request.preprocess, request.seed, progress)
    chosen = choose(planned, request, timing, progress)
    check_converts(source, chosen, request)  # again: the times may have left nothing to convert
    result = _calibrated(chosen.planned, request, timing, progress)
    delivered = _delivered(source, result, example, runtime, request, progress)
    measured = chosen.bench
    if timing is not None and request.deployment.benchmark:
        measured = _measured(source, delivered, timing, progress)
    saved = _saved(delivered, request, progress)
    evaluation, remarks = _evaluated(source, delivered, evaluating, progress)
    outcome = Outcome(
        notes=(
            *(*delivered.class_notes, *source_notes, *chosen.notes, *notes.on_conversion(result, planned.options)),
            *delivered.notes,
            *(notes.slower(measured) if measured is not None and request.deployment.benchmark else ()),
            *remarks,
        ),
        checks=(*delivered.checks, *saved),
        options=request.described(planned.options),
        evaluation=evaluation,
        bench=measured,
        target="" if request.delivery.output is None else str(request.delivery.output),
        seconds=time.perf_counter() - started,
        next_steps=_next_steps(model, delivered, request, evaluation, measured),
    )
    return _finished(source, result, delivered, outcome, request)


def _calibrated(
    planned: Planned, request: ConversionRequest, timing: BenchSettings | None, progress: Progress
) -> Calibrated:
    if request.calibration is not None and calibrates(planned):
        options, times = times_of(planned, request.calibration, timing, progress)
        result = calibrate(planned, options, progress, times)
        return result if times is None else replace(result, notes=(*result.notes, *times.notes))
    return Calibrated(rewrite(planned, progress), None, {})


@dataclass(frozen=True, eq=False)
class Delivered:
    """The model that the user gets.

    Attributes:
        model: the converted model, or its form for inference.
        trained: the converted model itself, which can be trained on.
        checks: of both.
        class_notes: on what is lost of a model class of the source's own.
        notes: on the training settings, and on the form for inference.
    """

    model: Any
    trained: Any
    checks: tuple[Check, ...]
    class_notes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> Check | None:
        """The first check that has failed."""
        return next((check for check in self.checks if not check.passed), None)


def _delivered(
    source: Source,
    result: Calibrated,
    example: Example,
    runtime: str | None,
    request: ConversionRequest,
    progress: Progress,
) -> Delivered:
    """The converted model with the class and training settings of the source, or its form for inference; checked."""
    objects, rewritten = request.loading.custom_objects, result.rewritten
    trained, class_notes = carry_class(source.model, rewritten.model, objects)
    notes = list(carry_compilation(source.model, trained, objects)) if runtime is None else []
    progress("check", 0, 1)
    unusable = finite.unusable_weights(source.model)
    reason = f"the source has such values in {finite.listed(unusable)}" if unusable else ""
    passed = [
        checks.check_shapes(source.model, trained),
        checks.check_parameters(source.model, trained, sum(rewritten.parameter_changes.values())),
        checks.check_finite(example, trained, reason),
    ]
    if request.delivery.verify == "deep":
        passed.append(checks.check_oracle(rewritten.planned, example))
    model = trained
    if runtime is not None:
        progress("inference", 0, 1)
        deployed = inference_form(trained, runtime, forms=_forms(request, runtime))
        model, notes = deployed.model, [*notes, *deployed.notes]
        passed.append(checks.check_inference(trained, model))
    return Delivered(model, trained, tuple(passed), tuple(class_notes), tuple(notes))


def _forms(request: ConversionRequest, runtime: str) -> Forms:
    """Of the model that is saved."""
    forms = forms_for(runtime, request.deployment.quantize)
    return replace(forms, reshaping="layer", transposing="layer") if request.delivery.is_hdf5 else forms


def _measured(source: Source, delivered: Delivered, timing: BenchSettings, progress: Progress) -> Bench:
    models = {"source": source.model, "converted": delivered.model}
    options = {"runtimes": timing.runtimes, "threads": timing.threads, "quantize": timing.quantize}
    options["for_inference"] = True
    return bench({"models": models, **options, "progress": progress})


def _saved(delivered: Delivered, request: ConversionRequest, progress: Progress) -> tuple[Check, ...]:
    """The check of the file, which is written if every check before has passed; nothing where none is written."""
    delivery, objects = request.delivery, dict(request.loading.custom_objects or {})
    if delivery.output is None or delivered.failed is not None:
        return ()
    progress("save", 0, 1)
    return (save_checked(delivered.model, Path(delivery.output), delivery.overwrite, objects),)


def _evaluated(
    source: Source, delivered: Delivered, evaluating: SourceEvaluation | None, progress: Progress
) -> tuple[Evaluation | None, tuple[str, ...]]:
    """The evaluation, and notes on it and on what of it has failed; the model is saved by then."""
    if evaluating is None:
        return None, ()
    progress("evaluate", 1, 2)
    evaluator = evaluating.evaluator
    outputs = lambda: first_outputs(build_graph(delivered.model), evaluator.samples)  # noqa: E731
    evaluation, remarks = evaluating.compared("converted model", outputs)
    if not evaluating.is_accuracy or math.isnan(evaluation.after):
        return evaluation, remarks
    shape = evaluator.samples.arrays[0].shape[1:]
    try:
        smaller = on_smaller_images(source.graph, delivered.trained, shape, lambda model: evaluator.measure(model)[0])
    except Exception as error:  # another model, which the result can do without
        return evaluation, (*remarks, f"the source on smaller images could not be evaluated: {reason_of(error)}")
    return replace(evaluation, smaller=smaller), remarks


def _next_steps(
    model: Any, delivered: Delivered, request: ConversionRequest, evaluation: Evaluation | None, bench: Bench | None
) -> tuple[NextStep, ...]:
    """Behind this conversion; none where a check has failed."""
    if delivered.failed is not None:
        return ()
    target = None if request.delivery.output is None else str(request.delivery.output)
    needs_trust = request.loading.unsafe or bool(held(delivered.model).codes)
    return after_conversion(Converted(path_of(model), target, request, evaluation, bench, needs_trust))


def _finished(
    source: Source, result: Calibrated, delivered: Delivered, outcome: Outcome, request: ConversionRequest
) -> Conversion:
    """The conversion with its report.

    Raises:
        CheckError: a check has failed; nothing was written.
    """
    report = collect(source, result, delivered.trained, outcome)
    if delivered.failed is not None:
        raise CheckError(failure(delivered.failed), report)
    objects = dict(request.loading.custom_objects or {})
    return Conversion(model=delivered.model, plan=result.rewritten.plan, report=report, custom_objects=objects)
