"""How many weights an architecture may ask for: about as many as its file stores."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from octconvert.io.text import extent
from octconvert.io.tree import Job

TIMES = 5
"""Weights of each one that is stored: optimizers keep up to four numbers more for every weight, not always stored."""
SLACK = 4_000_000
"""Weights beside those, for what is never stored: random number generators, states of recurrent layers."""


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
