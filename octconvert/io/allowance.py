"""How much an architecture may ask for while it is built: about as many weights as its file stores, and sizes that some
network could have."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from octconvert.io.text import extent
from octconvert.io.tree import Job, Record, name_of, walk

TIMES = 5
"""Weights of each one that is stored: optimizers keep up to four numbers more for every weight, not always stored."""
SLACK = 4_000_000
"""Weights beside those, for what is never stored: random number generators, states of recurrent layers."""


INPUT = 2**31
"""Numbers of one sample; most kernels of TensorFlow count with 32 bits."""
NORMALIZED = 2**26
"""The same where a layer spreads its constants over its input while it is built."""
COUNTS = {"num_oov_indices": 10**6, "num_ops": 1000, "num_chains": 1000, "chain_depth": 1000, "ngrams": 1000}
"""Arguments that layers count through, one by one, while they are built or called -> the most."""


def check_sizes(model: Record, job: Job) -> None:
    """Refuses what would take any memory or time before there is a variable to be counted.

    Raises:
        InputError: A size is one that no network has; the line names the layer.
    """
    records = [record for record in walk(model) if isinstance(record.get("config"), dict)]
    spreads = any(r["class_name"] == "Normalization" and r["config"].get("mean") is not None for r in records)
    most = NORMALIZED if spreads else INPUT
    for record in records:
        config = record["config"]
        shape = config.get("batch_shape")
        if isinstance(shape, list) and math.prod(n for n in shape[1:] if isinstance(n, int)) > most:
            sizes = extent(n if isinstance(n, int) else None for n in shape[1:])
            job.refuse(
                f"declares an input of {sizes} numbers; no network has one, save it with a smaller", name_of(record)
            )
        for key, count in COUNTS.items():
            if isinstance(config.get(key), int) and config[key] > count:
                job.refuse(f"has {key}={extent([config[key]])}; the most is {count:,}", name_of(record))


@contextlib.contextmanager
def bounded_variables(stored: int, job: Job) -> Iterator[None]:
    """Variables that Keras creates inside are counted before they get any memory.

    A file of a few KB may declare a layer of any size, and Keras creates all variables before it looks for their
    values.

    Raises:
        InputError: They are more than a file with ``stored`` numbers can fill; the line names the layer.
    """
    left = TIMES * stored + SLACK

    def create(next_creator: Callable, **settings: Any) -> Any:
        nonlocal left
        variable = _variable_of(settings.get("initial_value"))
        if variable is not None:
            left -= math.prod(variable.shape)
            if left < 0:
                layer, _, name = variable.path.rpartition("/")
                what = (
                    f"declares '{name}' of shape {extent(variable.shape)}, and the whole file holds {stored:,} numbers"
                )
                job.refuse(f"{what}; save the whole model again", layer)
        return next_creator(**settings)

    with tf.variable_creator_scope(create):
        yield


def _variable_of(value: Any) -> Any:
    """The Keras variable whose first value a function calculates; None where the value is there already."""
    if not callable(value):
        return None
    try:
        found = inspect.getclosurevars(value).nonlocals.get("self")
    except TypeError:  # no Python function
        return None
    return found if hasattr(found, "path") and hasattr(found, "shape") else None
