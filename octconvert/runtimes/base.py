"""`Runtime` and `Session`: what every runtime does with a model."""

from __future__ import annotations

import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from octconvert.errors import InputError, UsageError, first_line
from octconvert.runtimes.settings import ExportSettings
from octconvert.system import environment
from octconvert.system.installation import install_command

if TYPE_CHECKING:
    import keras
    import numpy as np

Signature: TypeAlias = "list[list[keras.InputSpec]]"
"""As ``keras.Model.export`` takes it."""

EXPORT, BENCH = "export", "bench"
"""The extras of octconvert that bring the packages of all runtimes."""

LONGEST_REASON = 240
"""Characters of an error message that a reason keeps."""


class Refused(InputError):
    """A model can not be exported; ``reason`` says why, without the model's name."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Session(ABC):
    """A model that is ready to run; called with its inputs by name, it returns its outputs, flat.

    The names are those of `octconvert.runtimes.signature.signature_of`.
    """

    @abstractmethod
    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        """Set the inputs."""

    @abstractmethod
    def invoke(self) -> None:
        """Run once, and wait for the end."""

    @abstractmethod
    def fetch(self) -> list[np.ndarray]:
        """The outputs of the last run."""

    @property
    def partitions(self) -> int | None:
        """Parts of the model that run in one piece in the runtime's fast library; None where there is no such thing."""
        return None

    def __call__(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.feed(values)
        self.invoke()
        return self.fetch()


class Runtime(ABC):
    """One runtime, without state.

    Attributes:
        name: as in `octconvert.options.timing.RUNTIMES`.
        suffix: the ending of its files; empty where they are directories.
        backend: of Keras, which writes the files.
        runs_with: modules that are needed to run a file.
        exports_with: modules that are needed to write one, besides TensorFlow.
        quantizes_with: precision -> modules that are needed to write it; the other precisions it does not have.
        unsupported: regular expression that finds the names of unsupported operations in its error messages.
        has_opsets: whether its operations come in several versions.
        has_integer_io: whether the inputs and outputs of its files can be rounded too.
        computes_in: the floating-point types in which it can run all layers.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ""
    backend: ClassVar[str] = "tensorflow"
    runs_with: ClassVar[tuple[str, ...]] = ()
    exports_with: ClassVar[tuple[str, ...]] = ()
    quantizes_with: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    has_opsets: ClassVar[bool] = False
    has_integer_io: ClassVar[bool] = False
    unsupported: ClassVar[str] = "$^"
    computes_in: ClassVar[frozenset[str]] = frozenset({"float16", "bfloat16", "float32", "float64"})

    def missing(self, precision: str | None = None) -> tuple[str, ...]:
        """Those of the modules it needs, to round numbers to ``precision`` as well, that are not installed."""
        needed = dict.fromkeys((*self.runs_with, *self.exports_with, *self.quantizes_with.get(precision or "", ())))
        return tuple(module for module in needed if not _is_installed(module))

    def check_installed(self, precision: str | None = None) -> None:
        """Check that it has the precision, if any, that Keras runs on its backend, and that its modules are installed.

        Raises:
            UsageError: it has not, or with the command that installs what is missing.
        """
        if obstacle := self.obstacle(precision):
            raise UsageError(f"{self.name} {obstacle}")

    def obstacle(self, precision: str | None = None, extra: str = EXPORT) -> str:
        """Why it can not be used; empty where it can.

        Args:
            extra: of octconvert, named where packages are missing.
        """
        if precision is not None and precision not in self.quantizes_with:
            others = f"only with {', '.join(self.quantizes_with)}" if self.quantizes_with else "choose another runtime"
            return f"can not be exported with `quantize={precision!r}`; {others}"
        if obstacle := environment.backend_obstacle(self.backend):
            return obstacle
        missing = self.missing(precision)
        return f"needs {' and '.join(missing)}: {install_command(extra)}" if missing else ""

    def export(self, model: keras.Model, path: Path, settings: ExportSettings | None = None) -> None:
        """Write a Functional or Sequential model with all sizes fixed, and the batch's too unless it is left open.

        Its inputs have the names of `signature_of`; inputs and outputs are flat.

        Raises:
            UsageError: sizes are open, or the model fixes another batch size.
            Refused: the runtime lacks an operation that the model needs.
        """
        import keras

        from octconvert.runtimes.signature import signature_of
        from octconvert.system.quiet import quiet

        settings = settings or ExportSettings()
        signature = signature_of(model, settings.batch)
        try:
            with quiet():
                self._write(keras.Model(model.inputs, list(model.outputs)), [signature], path, settings)
        except Exception as error:  # converters raise errors of every kind
            reason = self.reason(error)
            raise Refused(f"model '{model.name}' can not be exported for {self.name}: {reason}", reason) from error

    @abstractmethod
    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
        """Write a model with flat inputs and outputs; its precision is one of `quantizes_with`."""

    @abstractmethod
    def open(self, path: Path, threads: int | None = None) -> Session:
        """Open a file that `export` wrote, to be run in float32 where it was float32.

        Args:
            threads: that it may use; None: the runtime's own choice.
        """

    def reason(self, error: Exception) -> str:
        """Why the runtime refused a model, in one line of at most `LONGEST_REASON` characters."""
        missing = dict.fromkeys(re.findall(self.unsupported, str(error)))
        return f"it does not support {', '.join(missing)}" if missing else first_line(error)[:LONGEST_REASON]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that contains it
        return False


def in_order(names: Iterable[str]) -> list[str]:
    """'output_0', 'output_1' ... 'output_10': SavedModels, and files converted from them, have named outputs."""
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))
