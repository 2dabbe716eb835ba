"""ONNX Runtime: an .onnx file, on its CPU provider."""

from __future__ import annotations

from pathlib import Path

from octconvert.runtimes.base import Run, Runtime

ERRORS_ONLY = 3


class Onnx(Runtime):
    name = "onnx"
    suffix = ".onnx"
    runs_with = ("onnxruntime",)
    exports_with = ("onnx", "tf2onnx")
    unsupported = r"No Op registered for (\w+)"

    def _write(self, model, signature, path: Path) -> None:
        model.export(path, format="onnx", verbose=False, input_signature=signature)

    def open(self, path: Path, threads: int | None = None) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Else its threads spin on after a run, while another process is being timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda values: session.run(None, dict(values))
