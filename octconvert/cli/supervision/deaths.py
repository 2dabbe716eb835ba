"""What is said of a process that died by a signal, and what is left to do."""

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
from octconvert.system.environment import ONEDNN

_CAUSES = {
    "SIGSEGV": "segmentation fault",
    "SIGABRT": "abort by a library",
    "SIGILL": "instruction that the processor does not know",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic fault",
    "SIGKILL": "killed, most likely for want of memory",
    "SIGXCPU": "limit of processor time",
    "SIGXFSZ": "limit of a file's size",
}
_CALIBRATE = "calibrate: "
_WITHIN = {"least squares": "solve"}
"""Stages of the calibration that are a part of a step."""
_DOING = {
    "read": "reading",
    "plan": "planning",
    "build": "building the model",
    "check": "checking",
    "inference": "writing the form for inference",
    "evaluate": "measuring the accuracy",
    "save": "saving",
}
_MEASURING = ("export for ", "measure on ", "time layers on ")


@dataclass(frozen=True)
class Death:
    """A signal, 0 where the process ended without one and without a word; and the stages it had begun, in order."""

    signal: int
    stages: tuple[str, ...]

    @property
    def stage(self) -> str:
        return self.stages[-1] if self.stages else STARTING

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of the calibration that can not be done here, the one at the time first."""
        if not self.stage.startswith(_CALIBRATE):
            return ()
        name = self.stage.removeprefix(_CALIBRATE)
        if name == "sensitivity":  # part of a step that was named before
            parent = next((stage for stage in reversed(self.stages) if stage != self.stage), "")
            # Both compute gradients.
            return ("select", "refine") if parent == f"{_CALIBRATE}select" else ()
        name = _WITHIN.get(name, name)
        return (name,) if name in STEPS else ()


@dataclass(frozen=True)
class Again:
    """A task without what its process died of, and the line about that."""

    task: Task
    message: str


def doing(stage: str) -> str:
    """After "while"."""
    if stage.startswith(_CALIBRATE):
        return f"calibrating ({stage.removeprefix(_CALIBRATE)})"
    for prefix, words in zip(_MEASURING, ("exporting for ", "measuring on ", "timing layers on "), strict=True):
        if stage.startswith(prefix):
            return words + stage.removeprefix(prefix)
    return _DOING.get(stage, stage)


def second_try(task: Task, death: Death) -> Again | None:
    """The task without the step in which the process died, where it has a result without; None where it has not."""
    left_out = _dispensable(task, death) if death.signal else None
    if left_out is None:
        return None
    name, changed, option = left_out
    cause = _cause(death)
    note = f"{name} is left out: {cause} in it"
    message = f"{_models(task)}: {cause} while {doing(death.stage)}; once more without it ({option})"
    return Again(replace(task, arguments={**task.arguments, **changed}, notes=(*task.notes, note)), message)


def last_words(task: Task, death: Death, outcome: str) -> str:
    """Model, cause, stage, what has become of the target, and ways round."""
    ways = "; ".join(_ways_round(task, death))
    return f"{_models(task)}: {_cause(death)} while {doing(death.stage)}; {outcome}" + (f". {ways}" if ways else "")


def _models(task: Task) -> str:
    return " ".join(task.models)


def _cause(death: Death) -> str:
    if death.signal == 0:
        return "the process was ended by code that it ran"
    try:
        name = signal.Signals(death.signal).name
    except ValueError:
        return f"signal {death.signal}"
    return f"{_CAUSES.get(name, 'ended by a signal')} ({name})"


def _dispensable(task: Task, death: Death) -> tuple[str, Mapping[str, Any], str] | None:
    """(what it is called, the arguments without it, the option that says so)."""
    if death.steps:
        steps = tuple(step for step in task.arguments.get("calibration_steps", STEPS) if step not in death.steps)
        option = f"--calibration-steps {','.join(steps)}" if steps else "--no-calibration"
        return f"step {' and '.join(death.steps)}", {"calibration_steps": steps}, option
    if death.stage == "evaluate":
        return "the accuracy", {"evaluate": None}, "no --evaluate"
    if _benchmarks(task, death):
        return "the benchmark", {"benchmark": False}, "no --benchmark"
    return None


def _benchmarks(task: Task, death: Death) -> bool:
    """Whether the result is there and is measured; --objective latency measures as well, before."""
    return death.stage.startswith(_MEASURING) and bool(task.arguments.get("benchmark")) and "check" in death.stages


def _ways_round(task: Task, death: Death) -> Iterator[str]:
    if not death.signal:
        return
    arguments = task.arguments
    dispensable = _dispensable(task, death)
    if dispensable is not None:
        yield f"{dispensable[2]} leaves that out"
    elif death.stage.startswith(_CALIBRATE):
        searches = next((name for name in ("target_macs", "max_drop") if arguments.get(name) is not None), None)
        yield (
            f"--alpha in place of --{searches.replace('_', '-')} leaves that out"
            if searches
            else ("--no-calibration leaves that out")
        )
    elif death.stage.startswith(_MEASURING) and arguments.get("objective") == "latency":
        yield "--objective macs measures nothing"
    elif task.command == "export":
        yield "another --format or --no-for-inference may do"
    elif death.stage == "inference":
        yield "without --for-inference and --runtime that is left out"
    if death.stage == "save" and Path(str(arguments.get("output"))).suffix.lower() != ".keras":
        yield "the disk may be full; a file that ends in .keras is written in another way"
    if death.signal == getattr(signal, "SIGKILL", None):
        less = [f"a smaller --{name.replace('_', '-')}" for name in ("input_shape", "batch") if arguments.get(name)]
        if death.stage.startswith(_CALIBRATE):
            less.insert(0, "fewer --calibration-samples")
        if less:
            yield f"less memory is needed with {' or '.join(less)}"
    elif os.environ.get(ONEDNN) != "0" and death.stage not in ("read", "plan", "save"):
        yield f"{ONEDNN}=0 in the environment computes without oneDNN"
