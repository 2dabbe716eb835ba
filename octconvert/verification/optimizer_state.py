"""The state of an optimizer that has not run yet, in a few bytes of a .keras file.

Keras builds the optimizer of a compiled model when it loads the file, and warns where the file holds no state for it.
Written as Keras writes it, the state of Adam would make the file three times as large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

FEWEST = 1024
"""Numbers of a variable from which on it is worth to write one value in the place of all."""


@contextlib.contextmanager
def with_fresh_state(model: keras.Model) -> Iterator[None]:
    """Within the block, Keras writes the state that the model's optimizer starts with.

    An optimizer that has run, or that has a way of its own to be saved, is written as Keras writes it.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built or not _is_saved_by_keras(optimizer):
        yield
        return
    optimizer.save_own_variables = lambda store: _write(optimizer, model.trainable_variables, store)
    try:
        yield
    finally:
        del optimizer.save_own_variables


def _is_saved_by_keras(optimizer: Any) -> bool:
    base = keras.optimizers.Optimizer
    return all(
        getattr(type(optimizer), name) is getattr(base, name) for name in ("save_own_variables", "load_own_variables")
    )


def _write(optimizer: Any, weights: list[Any], store: Any) -> None:
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(weights)
    for number, variable in enumerate(fresh.variables):
        values = keras.ops.convert_to_numpy(variable)
        if values.size < FEWEST or (values != values.flat[0]).any():
            store[str(number)] = variable
        else:  # no chunk of the dataset is written: HDF5 fills it when it is read
            options = {"shape": values.shape, "dtype": values.dtype, "chunks": True, "fillvalue": values.flat[0]}
            store._h5_entry_group.create_dataset(str(number), **options)
