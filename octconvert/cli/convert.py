"""``octconvert MODEL``, the conversion itself: its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from octconvert.cli.accuracy import DEFAULT_ACCURACY, AccuracyParameters
from octconvert.cli.export_hints import check_model_output, check_rounding
from octconvert.cli.files import check_input, check_model, check_output, check_results, default_output
from octconvert.cli.parameters import (
    DEFAULT_LISTING,
    HOW,
    LOADING,
    OUTPUT,
    WHAT,
    FileName,
    ListingParameters,
    LoadingParameters,
    flag,
    octave_of,
    option,
    sizes,
    typed,
    whole_number,
)
from octconvert.cli.task import Task
from octconvert.errors import UsageError
from octconvert.options.delivery import Thoroughness
from octconvert.options.deployment import Objective
from octconvert.options.evaluation import only_for_evaluation
from octconvert.options.quantization import PrecisionName
from octconvert.options.request import ConversionRequest
from octconvert.options.rewriting import Preset, StrideMode, WeightsMode
from octconvert.options.timing import RuntimeName, default_runtime
from octconvert.results.plan import Plan
from octconvert.runtimes import find
from octconvert.system.targets import check_target


@dataclass(frozen=True, kw_only=True)
class RewritingParameters:
    """Which layers become octave layers, and how; None where nothing was typed."""

    alpha: Annotated[float | None, option("alpha", group=WHAT)] = None
    alpha_map: Annotated[
        list[str] | None, option("alpha_map", "Repeatable.", unset="none", group=WHAT, metavar="REGEX=FLOAT")
    ] = None
    interior: Annotated[float | None, option("interior", unset="that of --alpha", group=WHAT)] = None
    include: Annotated[list[str] | None, option("include", "Repeatable.", unset="all", group=WHAT, metavar="REGEX")] = (
        None
    )
    exclude: Annotated[
        list[str] | None, option("exclude", "Repeatable.", unset="none", group=WHAT, metavar="REGEX")
    ] = None
    min_size: Annotated[str | None, option("min_size", group=WHAT, metavar="INT")] = None
    preset: Annotated[Preset | None, option("preset", unset="none", group=WHAT)] = None
    octave: Annotated[str | None, option("octave", group=HOW, metavar="INT[,INT...]")] = None
    stride_mode: Annotated[StrideMode | None, option("stride_mode", group=HOW)] = None
    weights: Annotated[WeightsMode | None, option("weights", group=HOW)] = None
    portable: Annotated[bool | None, option("portable", group=HOW)] = None
    elementwise: Annotated[
        list[str] | None, option("elementwise", "Repeatable.", unset="none", group=HOW, metavar="NAME")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.convert` has for it.

        Raises:
            UsageError: --alpha-map is not of its form.
        """
        values = {
            **vars(self),
            "alpha_map": _alpha_map(self.alpha_map),
            "min_size": whole_number(self.min_size),
            "octave": octave_of(self.octave),
        }
        return typed(values)


@dataclass(frozen=True, kw_only=True)
class SourceParameters(LoadingParameters):
    """The model file: its input shape, what it may do, and the plan to follow."""

    plan: Annotated[
        FileName | None, flag("Follow a plan that --dry-run --json wrote. Default: none.", group=HOW, metavar="PATH")
    ] = None
    input_shape: Annotated[str | None, option("input_shape", unset="that of the model", group=HOW, metavar="H,W,C")] = (
        None
    )

    def arguments(self) -> dict[str, Any]:
        """All but the plan."""
        return {**super().arguments(), "input_shape": sizes(self.input_shape)}


@dataclass(frozen=True, kw_only=True)
class TargetParameters:
    """What is written, and how it is checked."""

    output: Annotated[
        FileName | None,
        option("output", "", "--output", "-o", unset="MODEL-octave.keras", group=OUTPUT, metavar="PATH"),
    ] = None
    dry_run: Annotated[bool, flag("Print the plan and write no model.", group=OUTPUT)] = False
    verify: Annotated[Thoroughness | None, option("verify", group=LOADING)] = None


@dataclass(frozen=True, kw_only=True)
class DeploymentParameters:
    """What the result will run on."""

    for_inference: Annotated[bool, option("for_inference", group=OUTPUT)] = False
    runtime: Annotated[
        RuntimeName | None,
        option("runtime", unset="tf, or xla where Keras runs on JAX", group=OUTPUT),
    ] = None
    quantize: Annotated[PrecisionName | None, option("quantize", unset="none", group=OUTPUT)] = None
    objective: Annotated[Objective | None, option("objective", group=WHAT)] = None
    benchmark: Annotated[bool, option("benchmark", group=OUTPUT)] = False
    threads: Annotated[str | None, option("threads", group=OUTPUT, metavar="INT")] = None

    def arguments(self) -> dict[str, Any]:
        """The typed flags that a plan depends on, by the names that `octconvert.convert` has for them."""
        values = {
            "objective": self.objective,
            "runtime": self.runtime,
            "quantize": self.quantize,
            "threads": whole_number(self.threads),
        }
        return typed(values)


DEFAULT_REWRITING, DEFAULT_SOURCE, DEFAULT_TARGET, DEFAULT_DEPLOYMENT = (
    RewritingParameters(),
    SourceParameters(),
    TargetParameters(),
    DeploymentParameters(),
)
"""The groups of flags with none of them typed."""


def convert(
    model: Annotated[FileName, Parameter(help="The model to convert: .keras, or .h5 of any Keras.")],
    /,
    *,
    rewriting: Annotated[RewritingParameters, Parameter(name="*")] = DEFAULT_REWRITING,
    accuracy: Annotated[AccuracyParameters, Parameter(name="*")] = DEFAULT_ACCURACY,
    target: Annotated[TargetParameters, Parameter(name="*")] = DEFAULT_TARGET,
    deployment: Annotated[DeploymentParameters, Parameter(name="*")] = DEFAULT_DEPLOYMENT,
    source: Annotated[SourceParameters, Parameter(name="*")] = DEFAULT_SOURCE,
    result: Annotated[ListingParameters, Parameter(name="*")] = DEFAULT_LISTING,
) -> Task:
    """Convert MODEL, check the result and write it."""
    arguments = {**rewriting.arguments(), **accuracy.arguments(), **deployment.arguments(), **source.arguments()}
    console = result.console()
    check_rounding(model, deployment.quantize, deployment.runtime)
    request = {**arguments, "plan": source.plan, "benchmark": deployment.benchmark}
    check_runtime(ConversionRequest.of(typed(request)))  # refused before TensorFlow is started for it
    check_model(model)
    if source.plan is not None:
        _check_plan(source.plan)
    accuracy.check_files()
    check_results(result, (model, source.plan, *accuracy.files))
    if target.dry_run:
        for name in only_for_evaluation(arguments):
            del arguments[name]
        return Task("plan", (model,), {**arguments, "plan": source.plan}, console, result.files)
    output = target.output or default_output(model)
    check_model_output(model, output, deployment.quantize)
    check_target(output, overwrite=True)  # first: the errors that --force does not avoid
    check_output(model, output, result)
    arguments |= typed({"plan": source.plan, "verify": target.verify})
    arguments |= {
        "output": output,
        "overwrite": result.force,
        "strict": True,
        "for_inference": deployment.for_inference,
        "benchmark": deployment.benchmark,
    }
    return Task("convert", (model,), arguments, console, (output, *result.files))


def _alpha_map(entries: list[str] | None) -> list[tuple[str, float]] | None:
    """'REGEX=ALPHA' in the order typed; the regular expression itself may contain a '='."""
    if entries is None:
        return None
    pairs = []
    for entry in entries:
        pattern, _, value = entry.rpartition("=")
        try:
            pairs.append((pattern, float(value)))
        except ValueError:
            pattern = ""
        if not pattern:
            raise UsageError(f"--alpha-map takes REGEX=ALPHA, for example 'block1=0.25'; received '{entry}'")
    return pairs


def check_runtime(request: ConversionRequest) -> None:
    """Raises `UsageError` where the runtime can not round numbers so, or has to be installed to measure times."""
    runtime, precision = find(request.deployment.runtime or default_runtime()), request.deployment.quantize
    if request.is_timed:
        runtime.check_installed(precision)
    elif precision is not None and precision not in runtime.quantizes_with:
        raise UsageError(f"{runtime.name} {runtime.obstacle(precision)}")


def _check_plan(path: str) -> None:
    check_input(path, option="--plan")
    Plan.from_file(path)
