"""LiteRT, once TensorFlow Lite: a .tflite file of built-in operations, which XNNPACK runs where it can."""

from __future__ import annotations

from pathlib import Path

from octconvert.runtimes.base import Run, Runtime, in_order


class LiteRT(Runtime):
    name = "litert"
    suffix = ".tflite"
    runs_with = ("ai_edge_litert.interpreter",)
    unsupported = r"'tf\.(\w+)' op is neither"

    def _write(self, model, signature, path: Path) -> None:
        import tensorflow as tf

        # By default Keras lets operations of TensorFlow through, which LiteRT alone can not run.
        builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        model.export(path, format="litert", verbose=False, input_signature=signature, target_spec=builtin)

    def open(self, path: Path, threads: int | None = None) -> Run:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=threads)
        runner = interpreter.get_signature_runner()
        names = in_order(runner.get_output_details())

        def run(values):
            found = runner(**values)
            return [found[name] for name in names]

        return run
