"""Stage 2: `Source` -> `Planned`, by options, by a plan, or by measured times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from octconvert.calibration.calibrate import prepared_plan
from octconvert.errors import NothingToConvert, UsageError
from octconvert.inference.forms import checked_runtime
from octconvert.latency.objective import TimedPlan, for_latency
from octconvert.latency.target import ConversionTimes
from octconvert.model.opening import Closed
from octconvert.options.calibration import CalibrationOptions
from octconvert.options.deployment import DeploymentOptions
from octconvert.options.limits import shown
from octconvert.options.request import ConversionRequest
from octconvert.options.timing import BenchSettings, bench_settings
from octconvert.pipeline.notes import nothing_to_convert
from octconvert.pipeline.source import Source, read_source
from octconvert.planning.planned import Planned
from octconvert.results.plan import Plan
from octconvert.runtimes import find
from octconvert.system.clock import PausableClock
from octconvert.system.progress import Progress, silent


def plan(arguments: Mapping[str, Any]) -> Plan:
    """`octconvert.plan`; see there."""
    arguments = dict(arguments)
    model, progress = arguments.pop("model_or_path"), arguments.pop("progress", silent)
    request = ConversionRequest.of(arguments)
    timing = timing_of(request.deployment) if request.is_timed else None
    source, planned = read_and_plan(model, request, silent)
    planned = choose(planned, request, timing, progress).planned
    options = request.calibration
    if options is None or not (options.data is not None or options.searches) or not calibrates(planned):
        return planned.plan
    source.example()  # an error comes before the long work
    options, times = times_of(planned, options, timing, progress)
    return prepared_plan(planned, options, progress, times)


def read_and_plan(model_or_path: Any, request: ConversionRequest, progress: Progress) -> tuple[Source, Planned]:
    """Read a model and plan it by the options or the plan of the request.

    Raises:
        InputError: the model can not be read, or one run of it does not fit into the memory.
        UsageError: the plan can not be read, or does not fit the model; so does ``input_shape``.
    """
    plan = _given(request.plan)
    progress("read", 0, 1)
    chosen = request.rewriting if plan is None else plan
    assert chosen is not None  # one of them there is
    closed = Closed(tuple(chosen.elementwise), request.delivery.is_hdf5)
    source = read_source(model_or_path, request.loading, closed)
    progress("plan", 0, 1)
    if not isinstance(chosen, Plan):
        return source, Planned.from_options(source.graph, chosen)
    path = (str(request.plan),) if chosen is not request.plan else ()
    return source, Planned.from_plan(source.graph, chosen, *path)


def _given(plan: Any) -> Plan | None:
    if plan is None or isinstance(plan, Plan):
        return plan
    if not isinstance(plan, (str, os.PathLike)):
        raise UsageError(f"plan takes a Plan or the path of one, received {shown(plan)}")
    return Plan.from_file(os.fspath(plan))


def check_converts(source: Source, chosen: TimedPlan, request: ConversionRequest) -> None:
    """Raises `NothingToConvert` where the request is strict and no convolution is converted."""
    if request.delivery.strict and not chosen.planned.converts:
        slow = f"{source.label}: {chosen.notes[0]}" if chosen.notes else ""
        raise NothingToConvert(slow or nothing_to_convert(source, chosen.planned))


def choose(planned: Planned, request: ConversionRequest, timing: BenchSettings | None, progress: Progress) -> TimedPlan:
    """With objective latency, leave plain what gains no time as a pair; else the plan stays as it is."""
    if request.deployment.objective != "latency" or timing is None or not planned.converts:
        return TimedPlan(planned)
    return for_latency(planned, timing, progress)


def times_of(
    planned: Planned, options: CalibrationOptions, timing: BenchSettings | None, progress: Progress
) -> tuple[CalibrationOptions, ConversionTimes | None]:
    """With ``target_time``, the times of conversions, and a budget that measuring them is no part of."""
    if options.target_time is None or timing is None:
        return options, None
    clock = PausableClock()
    return replace(options, clock=clock), ConversionTimes(planned, timing, clock, progress)


def calibrates(planned: Planned) -> bool:
    """Whether there is anything to calibrate: with octave=1 the function is unchanged."""
    return planned.converts and planned.options.octave != 1 and planned.options.weights != "fresh"


def timing_of(options: DeploymentOptions) -> BenchSettings:
    """How times are measured.

    Raises:
        UsageError: the runtime is unknown or not installed.
    """
    runtime = checked_runtime(options.runtime)
    find(runtime).check_installed(options.quantize)
    return replace(bench_settings(runtime), threads=options.threads, for_inference=True, quantize=options.quantize)
