"""Rounding the numbers of an .onnx file, by the quantiser of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from keras import InputSpec
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from octconvert.runtimes.settings import Quantization
from octconvert.system.temporaries import temporary


def quantize(path: Path, quantization: Quantization, specs: Sequence[InputSpec]) -> None:
    """Round the numbers of a file in its place; ``specs``: of its inputs."""
    if quantization.precision == "float16":
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
        return
    with temporary(path.with_name(f"{path.name}.prepared")) as prepared:
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        if quantization.precision == "dynamic":
            quantize_dynamic(prepared, path, weight_type=QuantType.QUInt8)
            return
        quantize_static(
            prepared,
            path,
            _Reader(quantization.batches(specs)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Iterator[dict[str, np.ndarray]]):
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)
