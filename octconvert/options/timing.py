"""What models are deployed on and how they are timed, checked before TensorFlow is started for it.

The names of the runtimes and of the export formats are written here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.quantization import check_precision
from octconvert.system import environment

RuntimeName = Literal["tf", "xla", "litert", "onnx", "openvino"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
"""What models run on, in the order of reports; `octconvert.runtimes` has a class for each."""
FormatName = Literal["litert", "onnx", "openvino", "tf"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
"""What models are exported to, by the name of the runtime that reads the format."""
EXPORT_SUFFIXES: dict[str, FormatName] = {".tflite": "litert", ".onnx": "onnx", ".xml": "openvino"}
"""The endings of exported files; the other formats, and openvino too, are directories."""
DEFAULT_THREADS = 2
DEFAULT_ROUNDS = 15


def default_runtime() -> RuntimeName:
    """'tf', which is always installed; 'xla' where Keras runs on JAX, and TensorFlow can not run its models."""
    return "xla" if environment.keras_backend() == "jax" else "tf"


def check_runtime(name: str, option: str = "runtime") -> str:
    """``name``, if it is that of a runtime.

    Raises:
        UsageError: it is not; the message names ``option``.
    """
    return limits.one_of(RUNTIMES, name, option)


def check_format(name: str) -> str:
    """``name``, if it is that of an export format.

    Raises:
        UsageError: it is not.
    """
    return limits.one_of(FORMATS, name, "format")


@dataclass(frozen=True)
class BenchSettings:
    """How models are timed.

    Attributes:
        runtimes: their names, each once.
        threads: that a runtime may use.
        batch: samples of one run; None: the size that a model fixes, else 1.
        rounds: how often every model has its turn.
        for_inference: whether the models are measured in their form for inference.
        quantize: the precision to which their numbers are rounded; None: as they are.
    """

    runtimes: tuple[str, ...] = field(default_factory=lambda: (default_runtime(),))
    threads: int = DEFAULT_THREADS
    batch: int | None = None
    rounds: int = DEFAULT_ROUNDS
    for_inference: bool = False
    quantize: str | None = None

    def __post_init__(self) -> None:
        if not self.runtimes:
            raise UsageError("`runtimes` must name at least one runtime; received none")
        for name in self.runtimes:
            check_runtime(name, "runtimes")
        for name in ("threads", "rounds"):
            limits.whole(name, getattr(self, name))
        if self.batch is not None:
            limits.whole("batch", self.batch)
        if self.quantize is not None:
            check_precision(self.quantize)


def bench_settings(runtimes: str | Iterable[str] | None = None, **others: Any) -> BenchSettings:
    """`BenchSettings` from one name, several, or None for the default one; ``others``: its further fields.

    Raises:
        UsageError: an option makes no sense.
    """
    if runtimes is None:
        return BenchSettings(**others)
    names = (runtimes,) if isinstance(runtimes, str) else tuple(runtimes)
    return BenchSettings(tuple(dict.fromkeys(names)), **others)
