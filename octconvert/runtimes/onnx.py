"""ONNX Runtime: an .onnx file, on its CPU provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from octconvert.runtimes.base import Runtime, Session, Signature

if TYPE_CHECKING:
    import keras
    import numpy as np

    from octconvert.runtimes.settings import ExportSettings

ERRORS_ONLY = 3
"""Least severity of what is logged."""


class Onnx(Runtime):
    name = "onnx"
    suffix = ".onnx"
    computes_in = frozenset({"float16", "float32"})
    runs_with = ("onnxruntime",)
    exports_with = ("onnx", "tf2onnx")
    quantizes_with: ClassVar = {"int8": (), "float16": (), "dynamic": ()}
    has_opsets = True
    unsupported = r"No Op registered for (\w+)"

    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
        import keras
        import onnx

        import octconvert.runtimes.onnx_operations  # noqa: F401, registers them
        from octconvert.runtimes.onnx_naming import name_outputs
        from octconvert.runtimes.onnx_resizing import use_asymmetric_upsampling
        from octconvert.runtimes.onnx_weights import FedWeights, set_weights, weights_of

        weights = weights_of(model)
        specs = [keras.InputSpec(shape=each.shape, dtype=each.dtype, name=name) for name, each in weights.items()]
        versions = {} if settings.opset is None else {"opset_version": settings.opset}
        FedWeights(model).export(
            path, format="onnx", verbose=False, input_signature=[[*keras.tree.flatten(signature), *specs]], **versions
        )
        exported = onnx.load(path)
        set_weights(exported, {name: keras.ops.convert_to_numpy(each) for name, each in weights.items()})
        use_asymmetric_upsampling(exported)
        name_outputs(exported)
        onnx.helper.set_model_props(exported, dict(settings.metadata))
        onnx.save(exported, path)
        if settings.quantization is not None:
            from octconvert.runtimes.onnx_quantization import quantize

            quantize(path, settings.quantization, signature[0])

    def open(self, path: Path, threads: int | None = None) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Otherwise its threads spin on after a run, while another process is being timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return _Bound(session)


class _Bound(Session):
    def __init__(self, session: Any):
        self._session, self._binding = session, session.io_binding()
        for output in session.get_outputs():
            self._binding.bind_output(output.name)

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        import numpy as np

        for name, value in values.items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(value))

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def fetch(self) -> list[np.ndarray]:
        return self._binding.copy_outputs_to_cpu()
