"""The time of a calibration: the work is laid out by the model's arithmetic, and the clock ends it.

The seconds that are laid out are those of a usual machine with two cores, estimated from the model's arithmetic and
activations: so the same command does the same work on every machine, whatever else runs there. The measured time counts
only for a model that is far slower than the estimate (for one with large depthwise kernels). The clock is read before
each unit of work (a batch of samples, a layer), and nothing is started that would end after `OVERTIME` budgets.

What the clock has decided is recorded: without that, the same command has the same weights.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from octconvert.results.report import Cost
from octconvert.system import interrupts

Clock = Callable[[], float]
Item = TypeVar("Item")

MACS_A_SECOND, BYTES_A_SECOND = 5e10, 3e9
"""Measured on keras.applications, call by call: both are needed for every call, so the times add up."""
CALL_SECONDS = 5e-4
"""Of a call from Python, whatever it does; all there is in a tiny model."""
FAR = 4.0
"""The measured time counts where it is more than so many times the estimate."""
OVERTIME = 1.2
"""Budgets after which the clock ends the work."""
LAID_OUT = 0.9
"""Share of the budget that is laid out: so that a machine that others use as well changes nothing."""
INTERRUPTED = "interrupted"
"""What a report says of a step that the user has ended."""
OUT_OF_TIME = "the time was over (`calibration_budget`)"
"""What a report says of a step that the clock has ended."""
NOT_MEASURED = "undone, with no time left to measure it (`calibration_budget`)"
"""The same of one that is done by then."""


def estimated_seconds(costs: Cost, calls: float) -> float:
    """Seconds of one run of a model for one sample; ``calls`` is the share of calls that one sample of a batch has."""
    return costs.macs / MACS_A_SECOND + costs.activation_bytes / BYTES_A_SECOND + calls * CALL_SECONDS + 1e-6


_END = object()


class OutOfTime(Exception):
    """The work can not be finished in time."""


def _nothing() -> None:
    """Nobody asks what the clock has decided."""


class Pace:
    """The time of one step, which is checked before each unit of work.

    Args:
        clock: seconds, never decreasing.
        until: time of the clock at which the step ends.
        on_cut: called where something is left out for lack of time, in a `part` as well.

    Attributes:
        cut: whether something was left out for lack of time.
    """

    def __init__(self, clock: Clock = time.monotonic, until: float = math.inf, on_cut: Callable[[], None] = _nothing):
        self.clock, self.until, self.cut, self._on_cut = clock, until, False, on_cut

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - self.clock()

    def leave_out(self) -> None:
        """Something is left out for lack of time."""
        self.cut = True
        self._on_cut()

    def lacks(self, seconds: float = 0.0) -> bool:
        """Whether there is no time for work of so many seconds, which is left out then."""
        interrupts.check()
        if self.left > seconds:
            return False
        self.leave_out()
        return True

    def units(self, items: Iterable[Item], least: int = 0) -> Iterator[Item]:
        """The items, the ``least`` first ones in any case, for as long as there is time for one more like the last.

        The time of an item ends when the next one is requested, and includes the time to produce it.
        """
        iterator, took = iter(items), 0.0
        for number in itertools.count():
            interrupts.check()
            started = self.clock()
            is_over = number >= least and started + took >= self.until
            item = next(iterator, _END)
            if is_over or item is _END:
                if item is not _END:
                    self.leave_out()
                return
            yield item  # type: ignore[misc]
            took = self.clock() - started

    def part(self, share: float) -> Pace:
        """For a part of the work that may take a share of what is left."""
        now = self.clock()
        return Pace(self.clock, now + min(share, 1.0) * max(self.until - now, 0.0), self._on_cut)


class Budget:
    """The seconds of a calibration: those that are laid out, and those that have passed by the clock.

    Args:
        seconds: to lay out; the clock ends the work after `OVERTIME` times as many.
        clock: seconds, never decreasing.

    Attributes:
        seconds_a_sample: one run of the source for one sample, as it is laid out.
        cut: stages in which the clock has decided what is done, in order.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic):
        self.seconds, self.clock, self.started = seconds, clock, clock()
        self.seconds_a_sample = 1e-6
        self._left = LAID_OUT * seconds
        self._cut: dict[str, None] = {}

    @property
    def left(self) -> float:
        """Seconds that are not yet laid out."""
        return max(self._left, 0.0)

    @property
    def cut(self) -> tuple[str, ...]:
        return tuple(self._cut)

    def lay_out(self, estimate: float, measured: float) -> None:
        """Lay out by the estimated seconds of one run for one sample, or by the measured ones where those are far more.

        These are rounded up to a power of two: so two runs seldom differ by what they measure.
        """
        self.seconds_a_sample = estimate
        if measured > FAR * estimate:
            self.seconds_a_sample *= 2.0 ** math.ceil(math.log2(measured / estimate))
            self._cut.setdefault("samples")

    def spend(self, samples: int, runs: float) -> None:
        """Lay out some samples, each run through the source, or something as long, so many times."""
        self._left -= samples * runs * self.seconds_a_sample

    def spend_seconds(self, seconds: float) -> None:
        """Lay out seconds of other work."""
        self._left -= seconds

    def samples(self, share: float, runs: float, each: float = 0.0) -> int:
        """How many a share of what is left pays for; ``each``: seconds of other work for each of them."""
        return int(share * self.left / (runs * self.seconds_a_sample + each))

    @property
    def elapsed(self) -> float:
        """Seconds by the clock."""
        return self.clock() - self.started

    def pace(self, stage: str = "", share: float = 1.0, reserve: float = 0.0) -> Pace:
        """For a stage that may take a share of the time by the clock that is left, less a reserve for what follows.

        Without a name, nothing that this stage leaves out changes a weight.
        """
        on_cut = partial(self._cut.setdefault, stage) if stage else _nothing
        return Pace(self.clock, self.started + OVERTIME * self.seconds - reserve, on_cut).part(share)
