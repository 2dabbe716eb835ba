"""LiteRT, once TensorFlow Lite: a .tflite file of built-in operations, which XNNPACK runs where it can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octconvert.runtimes.base import Runtime, Session, in_order

if TYPE_CHECKING:
    import keras
    import numpy as np


class LiteRT(Runtime):
    name = "litert"
    suffix = ".tflite"
    computes_in = frozenset({"float32"})
    runs_with = ("ai_edge_litert.interpreter",)
    unsupported = r"'tf\.(\w+)' op is neither"

    def _write(self, model: keras.Model, signature: list[list[keras.InputSpec]], path: Path) -> None:
        import tensorflow as tf

        # By default Keras lets operations of TensorFlow through, which LiteRT alone can not run.
        builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        model.export(path, format="litert", verbose=False, input_signature=signature, target_spec=builtin)

    def open(self, path: Path, threads: int | None = None) -> Session:
        from ai_edge_litert.interpreter import Interpreter

        return _Interpreted(Interpreter(str(path), num_threads=threads))


class _Interpreted(Session):
    def __init__(self, interpreter: Any):
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        self._inputs = {name: details["index"] for name, details in runner.get_input_details().items()}
        outputs = runner.get_output_details()
        self._outputs = [outputs[name]["index"] for name in in_order(outputs)]

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            self._interpreter.set_tensor(self._inputs[name], value)

    def invoke(self) -> None:
        self._interpreter.invoke()

    def fetch(self) -> list[np.ndarray]:
        return [self._interpreter.get_tensor(index) for index in self._outputs]
