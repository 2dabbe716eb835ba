"""TensorFlow: a SavedModel, run as a graph (small variables frozen to constants), or compiled by XLA."""

from __future__ import annotations

from pathlib import Path

from octconvert.runtimes.base import Runtime, Session, in_order

MOST_FROZEN = 2**28
"""Bytes of variables: freezing takes twenty times as much memory while it lasts, and saves less the larger they are."""


class TensorFlow(Runtime):
    name = "tf"
    runs_with = ("tensorflow",)

    def _write(self, model, signature, path: Path) -> None:
        model.export(path, format="tf_saved_model", verbose=False, input_signature=signature)

    def open(self, path: Path, threads: int | None = None) -> Session:
        import tensorflow as tf

        if threads is not None:  # only before TensorFlow has run anything
            tf.config.set_visible_devices([], "GPU")
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        loaded = tf.saved_model.load(str(path))
        served = loaded.signatures["serving_default"]
        return _Graph(loaded, self._function(served), in_order(served.structured_outputs))

    def _function(self, served):
        """Tensors by name -> output tensors by name."""
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        if sum(value.shape.num_elements() * value.dtype.size for value in served.variables) > MOST_FROZEN:
            return tf.function(lambda values: served(**values), autograph=False)
        # TensorFlow flattens dictionaries by sorted keys.
        inputs, outputs = (sorted(names) for names in (served.structured_input_signature[1], served.structured_outputs))
        frozen = convert_variables_to_constants_v2(served)
        # Called by itself, a frozen graph is not optimised: BatchNormalization stays an operation, to begin with.
        function = tf.function(lambda *values: frozen(*values), autograph=False)
        return lambda values: dict(zip(outputs, function(*(values[name] for name in inputs)), strict=True))


class Xla(TensorFlow):
    name = "xla"

    def _function(self, served):
        """Compiled with its variables as arguments: as constants they are copied again and again (VGG16: 9 GB)."""
        import tensorflow as tf

        return tf.function(lambda values: served(**values), jit_compile=True, autograph=False)


class _Graph(Session):
    """``loaded`` is held here, for its variables live as long as it does."""

    def __init__(self, loaded, function, outputs: list[str]):
        self._loaded, self._function, self._outputs = loaded, function, outputs
        self._values: dict = {}
        self._found: dict = {}

    def feed(self, values) -> None:
        import tensorflow as tf

        self._values = {name: tf.constant(value) for name, value in values.items()}

    def invoke(self) -> None:
        self._found = self._function(self._values)

    def fetch(self):
        import numpy as np

        return [np.asarray(self._found[name]) for name in self._outputs]
