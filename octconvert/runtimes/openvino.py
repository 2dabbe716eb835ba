"""OpenVINO: an .xml file with its .bin beside it, or a directory with both as model.xml and model.bin."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from octconvert.runtimes.base import Runtime, Session, Signature, in_order
from octconvert.system.temporaries import temporary

if TYPE_CHECKING:
    import keras
    import numpy as np

    from octconvert.runtimes.settings import ExportSettings, Quantization

_OUTPUT = re.compile(r"output_\d+")


class OpenVino(Runtime):
    name = "openvino"
    suffix = ".xml"
    computes_in = frozenset({"float16", "float32", "float64"})
    runs_with = ("openvino",)
    quantizes_with: ClassVar = {"int8": ("nncf",), "float16": ()}
    unsupported = r"No conversion rule found for operations: ([\w, ]+)"

    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
        import openvino

        with temporary(path.with_name(f"{path.name}.tf")) as folder:
            model.export(folder, format="tf_saved_model", verbose=False, input_signature=signature)
            converted = openvino.Core().read_model(folder)
            if settings.quantization is not None and settings.precision == "int8":
                converted = _quantized(converted, settings.quantization, signature[0])
            # By default the weights would be rounded to half precision.
            openvino.save_model(converted, _description(path), compress_to_fp16=settings.precision == "float16")

    def open(self, path: Path, threads: int | None = None) -> Session:
        import openvino

        # By default it computes in bfloat16 where the processor can.
        options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(_description(path), "CPU", options)
        return _InferRequest(compiled)


def _quantized(model: Any, quantization: Quantization, specs: list[keras.InputSpec]) -> Any:
    """Weights and activations in int8, by NNCF."""
    import nncf

    batches = list(quantization.batches(specs))
    # Mixed: activations that are not behind a rectifier have a zero point.
    preset = nncf.QuantizationPreset.MIXED
    # Its correction of biases is a rough one: fixtures/fashion_cnn.h5 has an error of 2.1% with it, of 0.017% without.
    advanced = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints bars of its own
        return nncf.quantize(
            model, nncf.Dataset(batches), subset_size=len(batches), preset=preset, advanced_parameters=advanced
        )


class _InferRequest(Session):
    def __init__(self, compiled: Any):
        self._request = compiled.create_infer_request()
        # A tensor has the names of all outputs, and inputs, that it is.
        names = {name for output in compiled.outputs for name in output.get_names()}
        self._names = in_order(name for name in names if _OUTPUT.fullmatch(name))

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        import numpy as np
        import openvino

        for name, value in values.items():
            self._request.set_tensor(name, openvino.Tensor(np.ascontiguousarray(value)))

    def invoke(self) -> None:
        self._request.infer()

    def fetch(self) -> list[np.ndarray]:
        import numpy as np

        return [np.array(self._request.get_tensor(name).data) for name in self._names]


def _description(path: Path) -> Path:
    return path if path.suffix.lower() == OpenVino.suffix else path / "model.xml"
