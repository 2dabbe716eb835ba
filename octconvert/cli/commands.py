"""The commands of the command line, once their arguments are understood: here TensorFlow is started."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from octconvert.cli.console import OnStage
from octconvert.cli.task import Task
from octconvert.errors import CheckError, NothingToConvert
from octconvert.results.bench import Bench
from octconvert.results.export import Exported
from octconvert.results.next_step import OBJECTS
from octconvert.results.report import Report

Result = TypeVar("Result", Report, Bench, Exported)


def perform(task: Task, on_stage: OnStage | None = None) -> None:
    """Do it and print the result; ``on_stage`` is called with the name of each stage when it begins.

    Raises:
        OctconvertError: it can not be done.
    """
    _COMMANDS[task.command](task, on_stage)


def _convert(task: Task, on_stage: OnStage | None) -> None:
    failure = None
    with task.console.session(on_stage) as progress:
        from octconvert import api
        from octconvert.verification.keras_files import check_model_target

        check_model_target(task.arguments["output"], overwrite=task.arguments["overwrite"])
        arguments = _arguments(task)
        try:
            with task.console.exporting(_measures(task)):
                report = api.convert(task.models[0], **arguments, progress=progress).report
        except CheckError as error:
            failure, report = error, error.report
    if report is not None:
        task.console.show_report(_as_typed(task, replace(report, notes=(*task.notes, *report.notes))))
    if failure is not None:
        raise failure


def _plan(task: Task, on_stage: OnStage | None) -> None:
    with task.console.session(on_stage) as progress:
        from octconvert import api

        arguments = _arguments(task)
        with task.console.exporting(_measures(task)):
            plan = api.plan(task.models[0], **arguments, progress=progress)
    task.console.show(plan, plan.to_json)
    if not plan.converted:
        raise NothingToConvert(f"{task.models[0]}: no convolution can be converted with these options")


def _diff(task: Task, on_stage: OnStage | None) -> None:
    with task.console.session(on_stage):
        from octconvert import api

        report = api.diff(*task.models, **_arguments(task))
    task.console.show_report(_as_typed(task, report))


def _bench(task: Task, on_stage: OnStage | None) -> None:
    with task.console.session(on_stage) as progress:
        from octconvert import api

        arguments = _arguments(task)
        with task.console.exporting():
            result = _as_typed(task, api.bench(task.models, **arguments, progress=progress))
    task.console.show(result, lambda: json.dumps(result.to_dict(), indent=2))
    if not result.measured:
        raise CheckError(f"nothing could be measured: {result.rows[0].model}: {result.rows[0].error}")


def _export(task: Task, on_stage: OnStage | None) -> None:
    with task.console.session(on_stage) as progress:
        from octconvert import api

        arguments = _arguments(task)
        with task.console.exporting():
            result = _as_typed(task, api.export(task.models[0], **arguments, progress=progress))
    task.console.show(result, lambda: json.dumps(result.to_dict(), indent=2))


def _show(task: Task, on_stage: OnStage | None) -> None:
    with task.console.session(on_stage):
        from octconvert import api

        result = api.show(task.models[0], **_arguments(task))
    task.console.show(result, lambda: json.dumps(result.to_dict(), indent=2), (task.arguments["output"],))


def _arguments(task: Task) -> dict[str, Any]:
    """Of the function of `octconvert.api`."""
    from octconvert.loading import parse_custom_object

    objects = dict(parse_custom_object(entry) for entry in task.arguments["custom_objects"] or ())
    return {**task.arguments, "custom_objects": objects}


def _as_typed(task: Task, result: Result) -> Result:
    """The result whose next steps name custom objects as the command line did."""
    entries = tuple(task.arguments["custom_objects"] or ())
    steps = tuple(
        replace(step, options=tuple((name, entries if name == OBJECTS else value) for name, value in step.options))
        for step in result.next_steps
    )
    return replace(result, next_steps=steps)


def _measures(task: Task) -> bool:
    """Whether models are exported to other runtimes on the way."""
    arguments = task.arguments
    timed = arguments.get("benchmark", False) or arguments.get("target_time") is not None
    return timed or arguments.get("objective") == "latency"


_COMMANDS: dict[str, Callable[[Task, OnStage | None], None]] = {
    "convert": _convert,
    "plan": _plan,
    "diff": _diff,
    "bench": _bench,
    "export": _export,
    "show": _show,
}
