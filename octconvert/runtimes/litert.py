"""LiteRT, once TensorFlow Lite: a .tflite file of built-in operations, which XNNPACK runs where it can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from octconvert.runtimes.base import Runtime, Session, Signature, in_order

if TYPE_CHECKING:
    import keras
    import numpy as np

    from octconvert.runtimes.settings import ExportSettings, Quantization

_DELEGATE = "DELEGATE"
"""The operation that stands for a part of the model that XNNPACK runs."""


class LiteRT(Runtime):
    name = "litert"
    suffix = ".tflite"
    computes_in = frozenset({"float32"})
    runs_with = ("ai_edge_litert.interpreter",)
    quantizes_with: ClassVar = {"int8": (), "float16": (), "dynamic": ()}
    has_integer_io = True
    unsupported = r"'tf\.(\w+)' op is neither"

    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
        import tensorflow as tf

        # By default Keras lets operations of TensorFlow through, which LiteRT alone can not run.
        options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
        if settings.quantization is not None:
            options = _quantized(options, settings.quantization, signature[0])
        model.export(path, format="litert", verbose=False, input_signature=signature, **options)

    def open(self, path: Path, threads: int | None = None) -> Session:
        from ai_edge_litert.interpreter import Interpreter

        return _Interpreted(Interpreter(str(path), num_threads=threads))


def _quantized(options: dict[str, Any], quantization: Quantization, specs: list[keras.InputSpec]) -> dict[str, Any]:
    """The converter's settings for a precision; operations that it does not have in int8 stay in float32."""
    import tensorflow as tf

    options = {**options, "optimizations": [tf.lite.Optimize.DEFAULT]}
    if quantization.precision == "float16":
        options["target_spec"] = {**options["target_spec"], "supported_types": [tf.float16]}
    if quantization.precision != "int8":
        return options
    options["representative_dataset"] = lambda: quantization.batches(specs)
    operations = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    options["target_spec"] = {"supported_ops": operations}
    if quantization.integer_io:
        options |= {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    return options


class _Interpreted(Session):
    """Takes and returns floating-point numbers, whatever the file has at its ends."""

    def __init__(self, interpreter: Any):
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        self._inputs = dict(runner.get_input_details())
        outputs = runner.get_output_details()
        self._outputs = [outputs[name] for name in in_order(outputs)]

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            details = self._inputs[name]
            self._interpreter.set_tensor(details["index"], _rounded(value, details))

    def invoke(self) -> None:
        self._interpreter.invoke()

    def fetch(self) -> list[np.ndarray]:
        return [_scaled(self._interpreter.get_tensor(each["index"]), each) for each in self._outputs]

    @property
    def partitions(self) -> int:
        return sum(operation["op_name"] == _DELEGATE for operation in self._interpreter._get_ops_details())


def _rounded(value: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Numbers as an input takes them: ``value / scale + zero_point``."""
    import numpy as np

    if not _is_scaled(details):
        return value
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(value / scale) + zero_point, limits.min, limits.max).astype(details["dtype"])


def _scaled(value: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    if not _is_scaled(details):
        return value
    scale, zero_point = details["quantization"]
    return ((value.astype("float32") - zero_point) * scale).astype("float32")


def _is_scaled(details: dict[str, Any]) -> bool:
    """Whether an end of the model is int8 for numbers that are not whole; a scale of 0: there is none."""
    return details["quantization"][0] != 0.0
