"""What every runtime does."""

from __future__ import annotations

import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from octconvert.errors import InputError, UsageError, first_line

if TYPE_CHECKING:
    import numpy as np

INSTALL = "pip install 'octconvert[bench]'"
"""What brings every package that a runtime needs."""

LONGEST_REASON = 240


class Refused(InputError):
    """A model can not be exported; ``reason`` says why, without the model's name."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Session(ABC):
    """A model that is ready to run. Called: inputs by the names of its signature -> its outputs, flat."""

    @abstractmethod
    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        """Hand over the inputs."""

    @abstractmethod
    def invoke(self) -> None:
        """Run once, and wait for it."""

    @abstractmethod
    def fetch(self) -> list[np.ndarray]:
        """The outputs of the last run."""

    def __call__(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.feed(values)
        self.invoke()
        return self.fetch()


class Runtime(ABC):
    """One runtime; has no state.

    Attributes:
        name: as users type it.
        suffix: the ending of its files; empty where they are directories.
        runs_with: modules that must be importable to run a file.
        exports_with: those that must be to write one, besides TensorFlow.
        unsupported: finds the operation that the runtime has not in what it says about a model.
        computes_in: the precisions of floating point in which it can run all layers.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ""
    runs_with: ClassVar[tuple[str, ...]] = ()
    exports_with: ClassVar[tuple[str, ...]] = ()
    unsupported: ClassVar[str] = "$^"
    computes_in: ClassVar[frozenset[str]] = frozenset({"float16", "bfloat16", "float32", "float64"})

    def missing(self) -> tuple[str, ...]:
        """Those of its modules that are not installed."""
        needed = dict.fromkeys((*self.runs_with, *self.exports_with))
        return tuple(module for module in needed if not _is_installed(module))

    def check_installed(self) -> None:
        """Raises `UsageError` with the command that installs what is missing."""
        if missing := self.missing():
            raise UsageError(f"{self.name} needs {' and '.join(missing)}: {INSTALL}")

    def export(self, model, path: Path, batch: int) -> None:
        """Write a Functional or Sequential model, with that batch size and all other sizes fixed.

        Its inputs have the names of `signature_of`; inputs and outputs are flat.

        Raises:
            UsageError: sizes are open, or the model fixes another batch size.
            Refused: the runtime has not what the model needs.
        """
        import keras

        from octconvert.runtimes.signature import signature_of
        from octconvert.system.quiet import quiet

        signature = signature_of(model, batch)
        try:
            with quiet():
                self._write(keras.Model(model.inputs, list(model.outputs)), [signature], path)
        except Exception as error:  # converters raise of every kind
            reason = self.reason(error)
            raise Refused(f"model '{model.name}' can not be exported for {self.name}: {reason}", reason) from error

    @abstractmethod
    def _write(self, model, signature: list, path: Path) -> None:
        """Write a model with flat inputs and outputs; ``signature`` as ``keras.Model.export`` takes it."""

    @abstractmethod
    def open(self, path: Path, threads: int | None = None) -> Session:
        """Make ready to run what `export` wrote, on so many threads (None: as it likes), in float32 where it was."""

    def reason(self, error: Exception) -> str:
        """Why the runtime refused a model, in one line."""
        missing = dict.fromkeys(re.findall(self.unsupported, str(error)))
        return f"it has no {', '.join(missing)}" if missing else first_line(error)[:LONGEST_REASON]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it lies in
        return False


def in_order(names: Iterable[str]) -> list[str]:
    """'output_0', 'output_1' ... 'output_10': SavedModels and what is made of them keep their outputs by name."""
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))
