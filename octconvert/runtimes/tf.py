"""TensorFlow: a SavedModel, run as a graph with its variables frozen to constants, or compiled by XLA."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from octconvert.runtimes.base import Run, Runtime, in_order


class TensorFlow(Runtime):
    name = "tf"
    runs_with = ("tensorflow",)

    def _write(self, model, signature, path: Path) -> None:
        model.export(path, format="tf_saved_model", verbose=False, input_signature=signature)

    def open(self, path: Path, threads: int | None = None) -> Run:
        import tensorflow as tf

        if threads is not None:  # only before TensorFlow has run anything
            tf.config.set_visible_devices([], "GPU")
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        served = tf.saved_model.load(str(path))
        run = self._function(served.signatures["serving_default"])

        return partial(_call, served, run)

    def _function(self, served):
        """Named tensors -> output tensors."""
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        # TensorFlow flattens dictionaries by sorted keys.
        inputs, outputs = (sorted(names) for names in (served.structured_input_signature[1], served.structured_outputs))
        frozen = convert_variables_to_constants_v2(served)
        # Called by itself, a frozen graph is not optimised: BatchNormalization stays an operation, to begin with.
        function = tf.function(lambda *values: frozen(*values), autograph=False)
        places = [outputs.index(name) for name in in_order(outputs)]

        def run(values):
            found = function(*(values[name] for name in inputs))
            return [found[place] for place in places]

        return run


class Xla(TensorFlow):
    name = "xla"

    def _function(self, served):
        """Compiled with its variables as arguments: as constants they are copied again and again (VGG16: 9 GB)."""
        import tensorflow as tf

        function = tf.function(lambda values: served(**values), jit_compile=True, autograph=False)
        names = in_order(served.structured_outputs)

        def run(values):
            found = function(values)
            return [found[name] for name in names]

        return run


def _call(served, run, values):
    """``served`` is held here, for its variables live as long as it does."""
    import tensorflow as tf

    return [np.asarray(value) for value in run({name: tf.constant(value) for name, value in values.items()})]
