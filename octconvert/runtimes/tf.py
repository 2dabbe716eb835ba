"""TensorFlow: a SavedModel, run as a graph (small variables frozen to constants), or compiled by XLA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from octconvert.runtimes.base import Runtime, Session, Signature, in_order

if TYPE_CHECKING:
    import keras
    import numpy as np

    from octconvert.runtimes.settings import ExportSettings

Function: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Tensors by name -> output tensors by name."""

MOST_FROZEN = 2**28
"""Bytes of variables: freezing needs twenty times as much memory, and saves the less time the larger they are."""


class TensorFlow(Runtime):
    name = "tf"
    runs_with = ("tensorflow",)

    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
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

    def _function(self, served: Any) -> Function:
        """With small variables as constants."""
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        if sum(value.shape.num_elements() * value.dtype.size for value in served.variables) > MOST_FROZEN:
            return tf.function(lambda values: served(**values), autograph=False)
        # TensorFlow flattens dictionaries by sorted keys.
        inputs, outputs = (sorted(names) for names in (served.structured_input_signature[1], served.structured_outputs))
        frozen = convert_variables_to_constants_v2(served)
        # Called directly, a frozen graph is not optimised: BatchNormalization, for example, stays an operation.
        function = tf.function(lambda *values: frozen(*values), autograph=False)
        return lambda values: dict(zip(outputs, function(*(values[name] for name in inputs)), strict=True))


class Xla(TensorFlow):
    name = "xla"

    def _function(self, served: Any) -> Function:
        """Compiled with its variables as arguments: as constants they are copied again and again (VGG16: 9 GB)."""
        import tensorflow as tf

        return tf.function(lambda values: served(**values), jit_compile=True, autograph=False)


class _Graph(Session):
    """A loaded SavedModel; ``loaded`` is kept because its variables live as long as it does."""

    def __init__(self, loaded: Any, function: Function, outputs: list[str]):
        self._loaded, self._function, self._outputs = loaded, function, outputs
        self._values: dict[str, Any] = {}
        self._results: Mapping[str, Any] = {}

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        import tensorflow as tf

        self._values = {name: tf.constant(value) for name, value in values.items()}

    def invoke(self) -> None:
        self._results = self._function(self._values)

    def fetch(self) -> list[np.ndarray]:
        import numpy as np

        return [np.asarray(self._results[name]) for name in self._outputs]
