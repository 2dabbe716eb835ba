"""What the steps of a calibration cost, in seconds of a usual machine with two cores.

Told by the model's arithmetic and activations, not by a clock: so the same command does the same work wherever it runs,
beside whatever else. Only a model that is far slower than that tells (large depthwise kernels, for one) is timed.
"""

from __future__ import annotations

from octconvert.report.result import Cost

MACS_A_SECOND, BYTES_A_SECOND = 5e10, 3e9
"""Measured on keras.applications, call by call: both are needed for every call, so the times add up."""
CALL_SECONDS = 5e-4
"""Of a call from Python, whatever it does; all there is in a tiny model."""
FAR = 4.0
"""The measured time counts where it is more than so many times what was told."""


def told_seconds(costs: Cost, calls: float) -> float:
    """Seconds of one run of a model for one sample; ``calls`` is the share of calls that one sample of a batch has."""
    return costs.macs / MACS_A_SECOND + costs.activation_bytes / BYTES_A_SECOND + calls * CALL_SECONDS + 1e-6


def seconds_a_sample(told: float, measured: float) -> float:
    """As told, or as measured where that is far more."""
    return measured if measured > FAR * told else told


class Allowance:
    """The seconds of a budget, and what of them is spent."""

    def __init__(self, seconds: float, seconds_a_sample: float):
        self._left, self.seconds_a_sample = seconds, seconds_a_sample

    @property
    def left(self) -> float:
        return max(self._left, 0.0)

    def spend(self, samples: int, runs: float) -> None:
        """Some samples, each run through the source, or something as long, so many times."""
        self._left -= samples * runs * self.seconds_a_sample

    def samples(self, share: float, runs: float) -> int:
        """How many a share of what is left pays for."""
        return int(share * self.left / (runs * self.seconds_a_sample))
