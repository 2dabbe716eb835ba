"""What a model is deployed on: one file a runtime, each writes its format and runs such files on the CPU.

Nothing here imports TensorFlow or a runtime before it is used.
"""

from __future__ import annotations

from octconvert.errors import UsageError
from octconvert.runtimes.base import INSTALL, Runtime, Session
from octconvert.runtimes.litert import LiteRT
from octconvert.runtimes.onnx import Onnx
from octconvert.runtimes.openvino import OpenVino
from octconvert.runtimes.tf import TensorFlow, Xla

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (TensorFlow(), Xla(), LiteRT(), Onnx(), OpenVino())
}


def find(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in RUNTIMES:
        raise UsageError(f"there is no runtime {name!r}; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


__all__ = ["INSTALL", "RUNTIMES", "Runtime", "Session", "find"]
