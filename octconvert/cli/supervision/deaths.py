"""How a process died: the line that reports it, and whether the task can be repeated without the failing step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from octconvert.cli.console import STARTING
from octconvert.cli.task import Task
from octconvert.options.calibration import STEPS
from octconvert.options.evaluation import only_for_evaluation
from octconvert.system.environment import ONEDNN

_CAUSES = {
    "SIGSEGV": "segmentation fault",
    "SIGABRT": "abort by a library",
    "SIGILL": "instruction unknown to the processor",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic fault",
    "SIGKILL": "killed, most likely out of memory",
    "SIGXCPU": "processor time limit",
    "SIGXFSZ": "file size limit",
}
_CALIBRATE = "calibrate: "
_WITHIN = {"least squares": "solve"}
"""Stages of the calibration that are a part of a step."""
_ACTIVITIES = {
    "read": "reading",
    "plan": "planning",
    "build": "building the model",
    "check": "checking",
    "inference": "writing the form for inference",
    "evaluate": "evaluating",
    "save": "saving",
}
_MEASURING = {"export for ": "exporting for ", "measure on ": "measuring on ", "time layers on ": "timing layers on "}
_MEASURING_STAGES = tuple(_MEASURING)


@dataclass(frozen=True)
class Death:
    """How a process ended without an exit code of its own.

    Attributes:
        signal: the signal that ended it; 0 where the process ended without one.
        stages: those it had begun, in order.
    """

    signal: int
    stages: tuple[str, ...]

    @property
    def stage(self) -> str:
        return self.stages[-1] if self.stages else STARTING

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of the calibration that fail here, the current one first."""
        if not self.stage.startswith(_CALIBRATE):
            return ()
        name = self.stage.removeprefix(_CALIBRATE)
        if name == "sensitivity":  # part of a step whose stage began before
            parent = next((stage for stage in reversed(self.stages) if stage != self.stage), "")
            # Both compute gradients.
            return ("select", "refine") if parent == f"{_CALIBRATE}select" else ()
        name = _WITHIN.get(name, name)
        return (name,) if name in STEPS else ()


@dataclass(frozen=True)
class Retry:
    """A task without the step that its process died in, and the line about that."""

    task: Task
    message: str


@dataclass(frozen=True)
class _Skip:
    """A step that the result can do without.

    Attributes:
        name: of the step.
        arguments: those that change without it.
        hint: 'with' or 'without' the flags that skip it.
    """

    name: str
    arguments: Mapping[str, Any]
    hint: str


def activity(stage: str) -> str:
    """The words after "while"."""
    if stage.startswith(_CALIBRATE):
        return f"calibrating ({stage.removeprefix(_CALIBRATE)})"
    for prefix, words in _MEASURING.items():
        if stage.startswith(prefix):
            return words + stage.removeprefix(prefix)
    return _ACTIVITIES.get(stage, stage)


def retry_of(task: Task, death: Death) -> Retry | None:
    """The task without the step in which the process died; None where there is no result without that step."""
    skip = _skippable(task, death) if death.signal else None
    if skip is None:
        return None
    cause = _cause(death)
    note = f"{skip.name} is left out: {cause} in it"
    message = f"{_models(task)}: {cause} while {activity(death.stage)}; trying again {skip.hint}"
    return Retry(replace(task, arguments={**task.arguments, **skip.arguments}, notes=(*task.notes, note)), message)


def death_message(task: Task, death: Death, outcome: str) -> str:
    """One line: the model, the cause, the stage, the state of the target, and what to try."""
    hints = "; ".join(_hints(task, death))
    message = f"{_models(task)}: {_cause(death)} while {activity(death.stage)}; {outcome}"
    return f"{message}. Try {hints}" if hints else message


def _models(task: Task) -> str:
    return " ".join(task.models)


def _cause(death: Death) -> str:
    if death.signal == 0:
        return "code that it ran ended the process"
    try:
        name = signal.Signals(death.signal).name
    except ValueError:
        return f"signal {death.signal}"
    return f"{_CAUSES.get(name, 'ended by a signal')} ({name})"


def _skippable(task: Task, death: Death) -> _Skip | None:
    if death.steps:
        steps = tuple(step for step in task.arguments.get("calibration_steps", STEPS) if step not in death.steps)
        hint = f"with --calibration-steps {','.join(steps)}" if steps else "with --no-calibration"
        return _Skip(f"step {' and '.join(death.steps)}", {"calibration_steps": steps}, hint)
    if death.stage == "evaluate":
        left_out = dict.fromkeys(only_for_evaluation(task.arguments))
        return _Skip("the evaluation", {**left_out, **_over_own_file(task, death)}, "without --evaluate")
    if _benchmarks(task, death):
        return _Skip("the benchmark", {"benchmark": False}, "without --benchmark")
    return None


def _over_own_file(task: Task, death: Death) -> dict[str, bool]:
    """Where the file was written before the process died, the second try replaces it."""
    exports = task.command == "export"
    written = any(stage.startswith("export for ") if exports else stage == "save" for stage in death.stages)
    return {"overwrite": True} if written else {}


def _benchmarks(task: Task, death: Death) -> bool:
    """Whether the result exists and is being measured; --objective latency measures as well, before."""
    measures = death.stage.startswith(_MEASURING_STAGES) and bool(task.arguments.get("benchmark"))
    return measures and "check" in death.stages


def _hints(task: Task, death: Death) -> Iterator[str]:
    """What to change on the command line or in the environment."""
    if not death.signal:
        return
    yield from _hints_of_stage(task, death)
    if death.stage == "save" and Path(str(task.arguments.get("output"))).suffix.lower() != ".keras":
        yield "a file that ends in .keras, which is written in another way (the disk may be full)"
    if death.signal == getattr(signal, "SIGKILL", None):
        yield from _hints_of_memory(task, death)
    elif os.environ.get(ONEDNN) != "0" and death.stage not in ("read", "plan", "save"):
        yield f"{ONEDNN}=0 in the environment, which computes without oneDNN"


def _hints_of_stage(task: Task, death: Death) -> Iterator[str]:
    arguments = task.arguments
    skip = _skippable(task, death)
    if skip is not None:
        yield skip.hint.removeprefix("with ")
    elif death.stage.startswith(_CALIBRATE):
        searches = next((name for name in ("target_macs", "max_drop") if arguments.get(name) is not None), None)
        yield f"--alpha in place of --{searches.replace('_', '-')}" if searches else "--no-calibration"
    elif death.stage.startswith(_MEASURING_STAGES) and arguments.get("objective") == "latency":
        yield "--objective macs, which measures nothing"
    elif task.command == "export":
        yield "another --format or --no-for-inference"
    elif death.stage == "inference":
        yield "without --for-inference and --runtime"


def _hints_of_memory(task: Task, death: Death) -> Iterator[str]:
    less = [f"a smaller --{name.replace('_', '-')}" for name in ("input_shape", "batch") if task.arguments.get(name)]
    if death.stage.startswith(_CALIBRATE):
        less.insert(0, "fewer --calibration-samples")
    if less:
        yield f"{' or '.join(less)}, to need less memory"
