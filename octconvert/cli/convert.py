"""``octconvert MODEL``, the conversion itself: its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from octconvert.cli.accuracy import ANY_ACCURACY, AccuracyParameters
from octconvert.cli.files import check_input, check_json, check_output, default_output
from octconvert.cli.parameters import (
    ANY_LISTING,
    HOW,
    LOADING,
    OUTPUT,
    WHAT,
    ListingParameters,
    LoadingParameters,
    flag,
    option,
    sizes,
    whole_number,
)
from octconvert.cli.task import Task
from octconvert.errors import UsageError
from octconvert.options.rewriting import RewritingOptions
from octconvert.options.timing import DEFAULT_THREADS, RuntimeName
from octconvert.results.plan import Plan
from octconvert.system.targets import check_target


@dataclass(frozen=True, kw_only=True)
class RewritingParameters:
    """Which layers become octave layers, and how; None where nothing was typed."""

    alpha: Annotated[float | None, option("Share of the channels that become low. Default: 0.5.", group=WHAT)] = None
    alpha_map: Annotated[
        list[str] | None,
        option("Another alpha for the layers whose name matches; repeatable.", group=WHAT, metavar="REGEX=ALPHA"),
    ] = None
    include: Annotated[
        list[str] | None,
        option("Convert only layers whose name matches; repeatable.", group=WHAT, metavar="REGEX"),
    ] = None
    exclude: Annotated[
        list[str] | None,
        option("Leave layers plain whose name matches; repeatable.", group=WHAT, metavar="REGEX"),
    ] = None
    min_size: Annotated[
        str | None,
        option("Leave feature maps plain whose shorter side is smaller. Default: 8.", group=WHAT, metavar="N"),
    ] = None
    preset: Annotated[
        Literal["paper"] | None, option("'paper' leaves the layers plain that the paper leaves plain.", group=WHAT)
    ] = None
    octave: Annotated[
        str | None,
        option("Factor between the resolutions, a power of two. Default: 2.", group=HOW, metavar="N"),
    ] = None
    stride_mode: Annotated[
        Literal["keep", "pool"] | None,
        option("'keep' strides (default), or 'pool': average pooling and a stride of 1.", group=HOW),
    ] = None
    weights: Annotated[
        Literal["slice", "fold", "fresh"] | None,
        option("How the trained weights move: sliced (default), folded, or not at all.", group=HOW),
    ] = None
    portable: Annotated[
        bool | None, option("Use built-in Keras layers only; the file then loads without octconvert.", group=HOW)
    ] = None
    elementwise: Annotated[
        list[str] | None,
        option(
            "A layer, class or activation without a rule that acts on each element independently; repeatable.",
            group=HOW,
            metavar="NAME",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.convert` has for it.

        Raises:
            UsageError: a value makes no sense; before TensorFlow is started for it.
        """
        values = {
            **vars(self),
            "alpha_map": _alpha_map(self.alpha_map),
            "min_size": whole_number("min_size", self.min_size),
            "octave": whole_number("octave", self.octave),
        }
        typed = {name: value for name, value in values.items() if value is not None}
        frozen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()
        }
        RewritingOptions(**frozen)
        return typed


@dataclass(frozen=True, kw_only=True)
class SourceParameters(LoadingParameters):
    """The model file: its input shape, what it may do, and the plan to follow."""

    plan: Annotated[str | None, option("Follow a plan that --dry-run --json wrote.", group=HOW, metavar="FILE")] = None
    input_shape: Annotated[
        str | None, option("For models that leave the size of their input open.", group=HOW, metavar="H,W,C")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """All but the plan."""
        shape = sizes(self.input_shape)
        return {"unsafe": self.unsafe, "custom_objects": self.custom_objects, "input_shape": shape}


@dataclass(frozen=True, kw_only=True)
class TargetParameters:
    """What is written, and how it is checked."""

    output: Annotated[
        str | None,
        option("The file to write. Default: MODEL-octave.keras.", "--output", "-o", group=OUTPUT, metavar="PATH"),
    ] = None
    dry_run: Annotated[bool, option("Print the plan and write no model.", group=OUTPUT)] = False
    verify: Annotated[
        Literal["quick", "deep"], option("How thoroughly the result is checked. Default: quick.", group=LOADING)
    ] = "quick"


@dataclass(frozen=True, kw_only=True)
class DeploymentParameters:
    """What the result will run on."""

    for_inference: Annotated[
        bool,
        option("Write the form for inference: faster, the same outputs, can not be trained further.", group=OUTPUT),
    ] = False
    runtime: Annotated[
        RuntimeName | None,
        option("The runtime to write for; implies --for-inference. Default: tf.", group=OUTPUT),
    ] = None
    objective: Annotated[
        Literal["macs", "latency"],
        option(
            "'latency' converts only what saves time on --runtime, measured on this machine. Default: macs.",
            group=WHAT,
        ),
    ] = "macs"
    benchmark: Annotated[bool, option("Time the result against the source, on --runtime.", group=OUTPUT)] = False
    threads: Annotated[str | None, option("Threads for measuring times. Default: 2.", group=OUTPUT, metavar="N")] = None

    def arguments(self) -> dict[str, Any]:
        """What a plan depends on, by the names that `octconvert.convert` has for it.

        Raises:
            UsageError: a value makes no sense.
        """
        threads = whole_number("threads", self.threads) or DEFAULT_THREADS
        return {"objective": self.objective, "runtime": self.runtime, "threads": threads}


ANY_REWRITING, ANY_SOURCE, ANY_TARGET, ANY_DEPLOYMENT = (
    RewritingParameters(),
    SourceParameters(),
    TargetParameters(),
    DeploymentParameters(),
)
"""The defaults."""


def convert(
    model: Annotated[str, Parameter(help="The model to convert: .keras, or .h5 of any Keras.")],
    /,
    *,
    rewriting: Annotated[RewritingParameters, Parameter(name="*")] = ANY_REWRITING,
    accuracy: Annotated[AccuracyParameters, Parameter(name="*")] = ANY_ACCURACY,
    target: Annotated[TargetParameters, Parameter(name="*")] = ANY_TARGET,
    deployment: Annotated[DeploymentParameters, Parameter(name="*")] = ANY_DEPLOYMENT,
    source: Annotated[SourceParameters, Parameter(name="*")] = ANY_SOURCE,
    result: Annotated[ListingParameters, Parameter(name="*")] = ANY_LISTING,
) -> Task:
    """Convert MODEL."""
    options, loading = rewriting.arguments(), source.arguments()
    console = result.console()
    _check_plan(source.plan, options)
    calibration = accuracy.arguments({**options, "plan": source.plan})
    timing = deployment.arguments()
    check_input(model)
    accuracy.check_files()
    check_json(result, (model, source.plan, *accuracy.files))
    arguments = {**options, **calibration, **timing, **loading}
    if target.dry_run:
        arguments.pop("evaluate", None)
        return Task("plan", (model,), {**arguments, "plan": _read_plan(source.plan)}, console, result.files)
    output = target.output or default_output(model)
    check_target(output, overwrite=True)  # first what no --force would help against
    check_output(model, output, result.force)
    arguments |= {
        "plan": _read_plan(source.plan),
        "verify": target.verify,
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


def _check_plan(plan: str | None, options: dict[str, Any]) -> None:
    """Refuse options that the plan fixes."""
    if plan is not None and options:
        name = flag(next(iter(options)))
        raise UsageError(f"{name} can not be combined with --plan, which fixes it; edit the plan instead")


def _read_plan(path: str | None) -> Plan | None:
    return None if path is None else Plan.from_file(path)
