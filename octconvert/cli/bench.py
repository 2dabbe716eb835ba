"""``octconvert bench``: its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from octconvert.cli.files import check_model, check_results
from octconvert.cli.help import PAGES
from octconvert.cli.parameters import (
    DEFAULT_LOADING,
    DEFAULT_RESULT,
    DEFAULT_RUN,
    RUN,
    FileName,
    LoadingParameters,
    ResultParameters,
    RunParameters,
    choices_with_commas,
    flag,
    typed,
    whole_number,
)
from octconvert.cli.task import Task
from octconvert.errors import UsageError
from octconvert.options.quantization import PrecisionName
from octconvert.options.timing import DEFAULT_ROUNDS, DEFAULT_THREADS, RUNTIMES, RuntimeName


@dataclass(frozen=True, kw_only=True)
class TimingParameters:
    """How times are measured."""

    runtime: Annotated[
        list[RuntimeName] | None,
        flag(
            "The runtimes to measure on, separated by commas; repeatable. Default: tf, or xla where Keras runs on JAX.",
            group=RUN,
            metavar="CHOICE[,CHOICE...]",
            converter=choices_with_commas,
        ),
    ] = None
    threads: Annotated[
        str | None, flag(f"Threads that a runtime may use. Default: {DEFAULT_THREADS}.", group=RUN, metavar="INT")
    ] = None
    rounds: Annotated[
        str | None,
        flag(f"How many times each model is timed in turn. Default: {DEFAULT_ROUNDS}.", group=RUN, metavar="INT"),
    ] = None
    for_inference: Annotated[
        bool, flag("Measure the models in their form for inference, normalisation folded.", group=RUN)
    ] = False

    quantize: Annotated[
        PrecisionName | None, flag("Measure the models with their numbers rounded. Default: as they are.", group=RUN)
    ] = None

    def arguments(self) -> dict[str, Any]:
        """By the names that `octconvert.bench` has for them.

        Raises:
            UsageError: a value makes no sense.
        """
        settings = {
            "runtimes": self.runtime or None,
            "threads": whole_number(self.threads),
            "rounds": whole_number(self.rounds),
            "quantize": self.quantize,
        }
        return {**typed(settings), "for_inference": self.for_inference}


DEFAULT_TIMING = TimingParameters()


def bench(
    *models: Annotated[FileName, Parameter(help="Models; the others are compared with the first.")],
    timing: Annotated[TimingParameters, Parameter(name="*")] = DEFAULT_TIMING,
    size: Annotated[RunParameters, Parameter(name="*")] = DEFAULT_RUN,
    loading: Annotated[LoadingParameters, Parameter(name="*")] = DEFAULT_LOADING,
    result: Annotated[ResultParameters, Parameter(name="*")] = DEFAULT_RESULT,
) -> Task:
    """Time models side by side, as they would be deployed on the CPU."""
    from octconvert.options.timing import bench_settings
    from octconvert.runtimes import usable

    console = result.console()
    timed, sized = timing.arguments(), size.arguments()
    settings = bench_settings(**timed, batch=sized["batch"])
    usable(settings.runtimes, settings.quantize)
    if not models:
        raise UsageError(f"bench: name a model, for example: octconvert {PAGES['bench'].examples[0]}")
    for model in models:
        if model in RUNTIMES and not Path(model).exists():
            raise UsageError(f"{model}: there is no such file; did you mean --runtime {model}?")
        check_model(model)
    check_results(result, models)
    return Task("bench", models, {**timed, **sized, **loading.arguments()}, console, result.files)
