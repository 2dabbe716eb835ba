"""JAX: a Keras file, run as one function that XLA compiles. It stands for `xla` where Keras runs on JAX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octconvert.runtimes.base import Runtime, Session, Signature

if TYPE_CHECKING:
    import keras
    import numpy as np

    from octconvert.runtimes.settings import ExportSettings

THREADS = "NPROC"
"""The environment variable that XLA takes the number of its threads on a CPU from; read when a device is first used."""


class Jax(Runtime):
    name = "xla"
    suffix = ".keras"
    runs_with = ("jax",)
    backend = "jax"

    def _write(self, model: keras.Model, signature: Signature, path: Path, settings: ExportSettings) -> None:
        model.save(path)

    def open(self, path: Path, threads: int | None = None) -> Session:
        if threads is not None:
            os.environ[THREADS] = str(threads)
        import keras

        import octconvert.layers  # noqa: F401  the file may hold them
        from octconvert.runtimes.signature import batch_of, signature_of

        model = keras.saving.load_model(path, compile=False)
        return _Compiled(model, [spec.name for spec in signature_of(model, batch_of([model]))])


class _Compiled(Session):
    """A model without state, on JAX's first device."""

    def __init__(self, model: keras.Model, names: list[str]):
        import jax

        self._names = names
        variables = model.trainable_variables, model.non_trainable_variables
        self._weights = [[variable.value for variable in each] for each in variables]
        self._function = jax.jit(lambda weights, inputs: model.stateless_call(*weights, inputs, training=False)[0])
        self._values: list[Any] = []
        self._results: Any = ()

    def feed(self, values: Mapping[str, np.ndarray]) -> None:
        import jax

        self._values = jax.device_put([values[name] for name in self._names])

    def invoke(self) -> None:
        import jax

        self._results = jax.block_until_ready(self._function(self._weights, self._values))

    def fetch(self) -> list[np.ndarray]:
        import jax
        import numpy as np

        return [np.asarray(output) for output in jax.tree.leaves(self._results)]
