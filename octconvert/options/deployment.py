"""What a model will run on, and how its time is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.fields import option
from octconvert.options.quantization import PRECISIONS, check_precision
from octconvert.options.timing import DEFAULT_THREADS

Objective = Literal["macs", "latency"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)


@dataclass(frozen=True)
class DeploymentOptions:
    """The options for the runtime of a converted model.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    for_inference: bool = option(False, "write the form for inference: faster, the same outputs, not trainable")
    runtime: str | None = option(None, "the runtime that the form for inference is written for; implies that form")
    quantize: str | None = option(
        None, f"the precision, one of {', '.join(PRECISIONS)}, that an export will round the result to"
    )
    objective: str = option("macs", "'latency' converts only what gains time, measured on this machine and `runtime`")
    benchmark: bool = option(False, "time the result against the source, on `runtime`")
    threads: int = option(DEFAULT_THREADS, "threads for measuring times")

    def __post_init__(self) -> None:
        limits.one_of(OBJECTIVES, self.objective, "objective")
        limits.whole("threads", self.threads)
        if self.quantize is not None:
            check_precision(self.quantize)
            if self.runtime is None:
                raise UsageError("`quantize` needs a `runtime`, which rounds the numbers")

    @property
    def is_timed(self) -> bool:
        """Whether any time is measured."""
        return self.benchmark or self.objective != "macs"

    @property
    def is_deployed(self) -> bool:
        """Whether the result is the form for inference."""
        return self.for_inference or self.runtime is not None
