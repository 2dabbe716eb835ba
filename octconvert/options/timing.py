"""What is measured, checked before TensorFlow is started for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.runtimes import INSTALL, find


@dataclass(frozen=True)
class BenchSettings:
    """
    Attributes:
        runtimes: their names, each once.
        threads: that a runtime may use.
        batch: samples of one run; None: what a model fixes, else 1.
        rounds: how often every model has its turn.
        for_inference: whether the models are measured in their form for inference.
    """

    runtimes: tuple[str, ...] = ("tf",)
    threads: int = 2
    batch: int | None = None
    rounds: int = 15
    for_inference: bool = False

    def __post_init__(self):
        if not self.runtimes:
            raise UsageError("bench needs a runtime")
        for name in self.runtimes:
            find(name)
        for name in ("threads", "rounds"):
            limits.whole(name, getattr(self, name))
        if self.batch is not None:
            limits.whole("batch", self.batch)


def bench_settings(runtimes: str | Iterable[str] = ("tf",), **others: Any) -> BenchSettings:
    """`BenchSettings` from what users give.

    Raises:
        UsageError: an option makes no sense.
    """
    names = (runtimes,) if isinstance(runtimes, str) else tuple(runtimes)
    return BenchSettings(tuple(dict.fromkeys(names)), **others)


def usable(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runtimes that are installed, and a sentence for each of the others.

    Raises:
        UsageError: none is.
    """
    absent = {name: missing for name in names if (missing := find(name).missing())}
    notes = tuple(
        f"{name} was not measured: it needs {' and '.join(missing)} ({INSTALL})" for name, missing in absent.items()
    )
    found = tuple(name for name in names if name not in absent)
    if not found:
        raise UsageError("; ".join(notes))
    return found, notes
