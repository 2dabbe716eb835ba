"""Limits of what an architecture may request while it is built.

These are about as many weights as its file stores, sizes that a network could have, and a number of steps that ends.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils import naming

from octconvert.loading import call_order
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, name_of, walk
from octconvert.loading.repairs import layer_arguments
from octconvert.text.words import extent

WEIGHTS_PER_STORED = 5
"""Weights for each one that is stored: optimizers have up to four numbers more for each, not always stored."""
UNSTORED_WEIGHTS = 4_000_000
"""Weights beside those, for what is never stored: random number generators, states of recurrent layers."""

INPUT = 2**31
"""Numbers of one sample; most kernels of TensorFlow count with 32 bits."""
NORMALIZED = 2**26
"""The same where a layer repeats its constants over its input while it is built."""
COUNTS = {
    "num_oov_indices": 10**6,
    "num_ops": 1000,
    "num_chains": 1000,
    "chain_depth": 1000,
    "ngrams": 1000,
    "cells": 100,
    "indices_or_sections": 10_000,
    "num": 10_000,
}
"""Arguments that layers count through, one by one, while they are built or called -> largest value.

Of a list it is the length.
"""
SPLITTING = {"unstack", "split", "array_split"}
"""Functions with as many outputs as an axis is long."""
ITEM_BYTES = 4096
"""Bytes of an item of an array."""
LENGTH = 10_000
"""Largest size in a model with a function of `SPLITTING`."""
SIZES = {
    *("batch_shape", "shape", "newshape", "target_shape", "units", "filters", "output_dim", "num_tokens", "num_bins"),
    *("size", "height", "width", "n", "repeats", "padding", "pad_width", "num_classes"),
}
"""Arguments that determine the length of an axis."""
PATCH = 4096
"""Pixels of a patch; extracting patches takes the square of that many numbers."""


def check_sizes(model: Record, context: LoadingContext) -> None:
    """Refuses what would take any amount of memory or time before a variable is created that could be counted.

    Raises:
        InputError: A size is too large for a network; the line names the layer.
    """
    call_order.check(model, context)
    records = [record for record in walk(model) if isinstance(record.get("config"), dict)]
    for record in records:
        _drop_axes(record, context)
    repeats = any(_repeats_constants(record, context) for record in records)
    splits = any(_function(record) in SPLITTING for record in records)
    most = NORMALIZED if repeats else INPUT
    longest = LENGTH if splits else NORMALIZED if repeats else None
    for record in records:
        for shape in _shapes([record["config"].get("batch_shape"), record.get("build_config")]):
            if math.prod(n for n in shape[1:] if isinstance(n, int)) > most:
                sizes = extent(n if isinstance(n, int) else None for n in shape[1:])
                message = f"declares an input of {sizes} numbers; no network has one, save it with a smaller input"
                context.refuse(message, name_of(record))
        _check_arguments(record, longest, context)


def _check_arguments(record: Record, longest: int | None, context: LoadingContext) -> None:
    for key, value in _named_values(record["config"]):
        if isinstance(value, dict) and value.get("class_name") == "__numpy__" and _has_large_items(value):
            context.refuse(f"has an array of long texts under '{key}'; save the model again", name_of(record))
        count = len(value) if isinstance(value, list) else value
        if key in COUNTS and isinstance(count, int) and count > COUNTS[key]:
            context.refuse(f"has {key}={extent([count])}; the most is {COUNTS[key]:,}", name_of(record))
        sizes = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int)]
        if longest is not None and key in SIZES and max(sizes, default=0) > longest:
            context.refuse(f"has {key}={extent(sizes)}; the most in such a model is {longest:,}", name_of(record))
        if key == "size" and _function(record) in ("extract_patches", "extract_patches3_d"):
            sides = value if isinstance(value, list) else [value, value]
            if math.prod(n for n in sides if isinstance(n, int)) > PATCH:
                message = f"extracts patches of {extent(sides)} pixels; the most is {PATCH:,} pixels"
                context.refuse(message, name_of(record))


def _function(record: Record) -> str:
    """Name of the function that a raw operation or a Lambda calls; else the layer's class in the same style."""
    function = record["config"].get("function")
    if isinstance(function, dict):
        return str(function.get("config"))
    return naming.to_snake_case(str(record["class_name"]))


def _named_values(config: Record) -> Iterator[tuple[str, Any]]:
    """Every value at any depth, lists too, with its key."""
    waiting = [(key, value) for key, value in config.items() if key != "layers"]  # layers have records of their own
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += [(str(inner), item) for inner, item in value.items()]
        elif isinstance(value, list):
            waiting += [(key, item) for item in value if not isinstance(item, int | float | str)]


def _has_large_items(array: Record) -> bool:
    """Whether one item of an array takes much memory, however short the array is: ``<U1000000``."""
    try:
        return np.dtype(array["config"]["dtype"]).itemsize > ITEM_BYTES
    except (TypeError, KeyError, ValueError):  # Keras reports it
        return False


def _drop_axes(record: Record, context: LoadingContext) -> None:
    """Drops the axes of a Normalization by one number: it would repeat the number along them, to the same effect."""
    config = record["config"]
    single = all(isinstance(config.get(key), int | float) for key in ("mean", "variance"))
    if single and layer_arguments.own_class(record, context) is keras.layers.Normalization:
        config["axis"] = None


def _repeats_constants(record: Record, context: LoadingContext) -> bool:
    """Whether it is a Normalization that repeats its numbers along its axes while it is built."""
    config = record["config"]
    known = config.get("mean") is not None and config.get("axis", -1) is not None
    return known and layer_arguments.own_class(record, context) is keras.layers.Normalization


def _shapes(value: Any) -> Iterator[list[Any]]:
    """All lists of sizes inside it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list) and any(isinstance(n, int) for n in value):
            yield value
        elif isinstance(value, list | dict):
            waiting += value.values() if isinstance(value, dict) else value


@contextlib.contextmanager
def bounded_variables(stored: int, context: LoadingContext) -> Iterator[None]:
    """Counts the variables that Keras creates inside, before they get memory.

    A file of a few KB may declare a layer of any size, and Keras creates all variables before it reads their values.

    Raises:
        InputError: They are more than a file with ``stored`` numbers can fill; the line names the layer.
    """
    left = WEIGHTS_PER_STORED * stored + UNSTORED_WEIGHTS

    def create(next_creator: Callable[..., Any], **settings: Any) -> Any:
        nonlocal left
        variable = _variable_of(settings.get("initial_value"))
        if variable is not None:
            left -= math.prod(variable.shape)
            if left < 0:
                layer, _, name = variable.path.rpartition("/")
                message = (
                    f"declares '{name}' of shape {extent(variable.shape)}, but the file holds {stored:,} numbers; "
                    "save the complete model again"
                )
                context.refuse(message, layer)
        return next_creator(**settings)

    with tf.variable_creator_scope(create):
        yield


def _variable_of(value: Any) -> Any:
    """The Keras variable whose initial value a function computes; None if the value exists already."""
    if not callable(value):
        return None
    try:
        variable = inspect.getclosurevars(value).nonlocals.get("self")
    except TypeError:  # not a Python function
        return None
    return variable if hasattr(variable, "path") and hasattr(variable, "shape") else None
