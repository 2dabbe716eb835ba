"""Runtimes: one file for each, which writes its format and runs such files on the CPU.

In: a Keras model, a path, a batch size. Out: a file or directory, and a `Session` that runs it. The names of the
runtimes are in `octconvert.options.timing`. Nothing here imports TensorFlow or a runtime before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable

from octconvert.errors import UsageError
from octconvert.options.timing import RUNTIMES as NAMES
from octconvert.options.timing import check_runtime
from octconvert.runtimes.base import BENCH, Runtime, Session
from octconvert.runtimes.jax import Jax
from octconvert.runtimes.litert import LiteRT
from octconvert.runtimes.onnx import Onnx
from octconvert.runtimes.openvino import OpenVino
from octconvert.runtimes.tf import TensorFlow, Xla
from octconvert.system.environment import keras_backend

_CLASSES: tuple[type[Runtime], ...] = (TensorFlow, Xla, LiteRT, Onnx, OpenVino)
RUNTIMES: dict[str, Runtime] = {name: next(each for each in _CLASSES if each.name == name)() for name in NAMES}

_JAX = Jax()


def find(name: str) -> Runtime:
    """The runtime of that name; XLA is reached by JAX where Keras runs on JAX.

    Raises:
        UsageError: there is none.
    """
    runtime = RUNTIMES[check_runtime(name)]
    return _JAX if isinstance(runtime, Xla) and keras_backend() == _JAX.backend else runtime


def usable(names: Iterable[str], precision: str | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runtimes that are installed and have the precision, if any, and a note for each of the others.

    Raises:
        UsageError: there is none.
    """
    absent = {name: obstacle for name in names if (obstacle := find(name).obstacle(precision, BENCH))}
    notes = tuple(f"{name} was not measured: it {obstacle}" for name, obstacle in absent.items())
    installed = tuple(name for name in names if name not in absent)
    if not installed:
        raise UsageError("; ".join(notes))
    return installed, notes


__all__ = ["RUNTIMES", "Runtime", "Session", "find", "usable"]
