"""TensorFlow: a SavedModel, run as a graph with its variables frozen to constants, op by op or compiled by XLA."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from octconvert.runtimes.base import Run, Runtime, in_order


class TensorFlow(Runtime):
    name = "tf"
    runs_with = ("tensorflow",)
    compiles: ClassVar[bool] = False

    def _write(self, model, signature, path: Path) -> None:
        model.export(path, format="tf_saved_model", verbose=False, input_signature=signature)

    def open(self, path: Path, threads: int | None = None) -> Run:
        import tensorflow as tf

        if threads is not None:  # only before TensorFlow has run anything
            tf.config.set_visible_devices([], "GPU")
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        frozen, inputs, outputs = _frozen(path)
        # Called by itself, a frozen graph is not optimised: BatchNormalization stays an operation, to begin with.
        function = tf.function(lambda *values: frozen(*values), jit_compile=self.compiles or None, autograph=False)
        places = [outputs.index(name) for name in in_order(outputs)]

        def run(values):
            found = function(*(tf.constant(values[name]) for name in inputs))
            return [np.asarray(found[place]) for place in places]

        return run


class Xla(TensorFlow):
    name = "xla"
    compiles = True


def _frozen(path: Path):
    """(concrete function of flat tensors, names of its inputs, names of its outputs)."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(path))  # a name of its own: it keeps the variables alive
    served = loaded.signatures["serving_default"]
    # TensorFlow flattens dictionaries by sorted keys.
    inputs, outputs = (sorted(names) for names in (served.structured_input_signature[1], served.structured_outputs))
    return convert_variables_to_constants_v2(served), inputs, outputs
