"""How much an architecture may ask for while it is built: about as many weights as its file stores, and sizes that some
network could have."""

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

from octconvert.loading.configuration import Job, Record, children, is_functional, is_reference, name_of, walk
from octconvert.loading.repairs import layer_arguments
from octconvert.loading.tensorflow import translation
from octconvert.text.words import extent

TIMES = 5
"""Weights of each one that is stored: optimizers keep up to four numbers more for every weight, not always stored."""
SLACK = 4_000_000
"""Weights beside those, for what is never stored: random number generators, states of recurrent layers."""


INPUT = 2**31
"""Numbers of one sample; most kernels of TensorFlow count with 32 bits."""
NORMALIZED = 2**26
"""The same where a layer spreads its constants over its input while it is built."""
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
"""Arguments that layers count through, one by one, while they are built or called -> the most.

Of a list it is the length."""
APART = {"unstack", "split", "array_split"}
"""Functions with as many outputs as an axis is long."""
WIDTH = 4096
"""Bytes of an item of an array."""
LENGTH = 10_000
"""The most that any size may be where they are."""
SIZES = {
    *("batch_shape", "shape", "newshape", "target_shape", "units", "filters", "output_dim", "num_tokens", "num_bins"),
    *("size", "height", "width", "n", "repeats", "padding", "pad_width", "num_classes"),
}
"""Arguments that say how long an axis becomes."""
PATCH = 4096
"""Pixels of a patch; to cut patches out takes as many numbers, squared."""
LAYERS = 10_000
"""Of a file, those of all models inside together; a layer called n times counts n times."""
ATTEMPTS = 300_000
"""Keras goes through the layers again and again until each has its inputs: the most calls that may fail on the way."""


def check_sizes(model: Record, job: Job) -> None:
    """Refuses what would take any memory or time before there is a variable to be counted.

    Raises:
        InputError: A size is one that no network has; the line names the layer.
    """
    _check_calls(model, job)
    records = [record for record in walk(model) if isinstance(record.get("config"), dict)]
    for record in records:
        _take_axes(record, job)
    repeats = any(_repeats(record, job) for record in records)
    apart = any(_function(record) in APART for record in records)
    most = NORMALIZED if repeats else INPUT
    longest = LENGTH if apart else NORMALIZED if repeats else None
    for record in records:
        for shape in _shapes([record["config"].get("batch_shape"), record.get("build_config")]):
            if math.prod(n for n in shape[1:] if isinstance(n, int)) > most:
                sizes = extent(n if isinstance(n, int) else None for n in shape[1:])
                what = f"declares an input of {sizes} numbers"
                job.refuse(f"{what}; no network has one, save it with a smaller", name_of(record))
        _check_counts(record, longest, job)


def _check_counts(record: Record, longest: int | None, job: Job) -> None:
    for key, value in _named_values(record["config"]):
        if isinstance(value, dict) and value.get("class_name") == "__numpy__" and _is_wide(value):
            job.refuse(f"has an array of long texts under '{key}'; save the model again", name_of(record))
        count = len(value) if isinstance(value, list) else value
        if key in COUNTS and isinstance(count, int) and count > COUNTS[key]:
            job.refuse(f"has {key}={extent([count])}; the most is {COUNTS[key]:,}", name_of(record))
        sizes = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int)]
        if longest is not None and key in SIZES and max(sizes, default=0) > longest:
            job.refuse(f"has {key}={extent(sizes)}; the most in such a model is {longest:,}", name_of(record))
        if key == "size" and _function(record) in ("extract_patches", "extract_patches3_d"):
            sides = value if isinstance(value, list) else [value, value]
            if math.prod(n for n in sides if isinstance(n, int)) > PATCH:
                job.refuse(f"cuts out patches of {extent(sides)}; the most is {PATCH:,} pixels", name_of(record))


def _function(record: Record) -> str:
    """The function that a raw operation or a Lambda calls, by its name; else the layer's class in that form."""
    function = record["config"].get("function")
    if isinstance(function, dict):
        return str(function.get("config"))
    return naming.to_snake_case(str(record["class_name"]))


def _named_values(config: Record) -> Iterator[tuple[str, Any]]:
    """Every value at any depth, lists too, with the key that it is under."""
    waiting = [(key, value) for key, value in config.items() if key != "layers"]  # those have records of their own
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += [(str(inner), item) for inner, item in value.items()]
        elif isinstance(value, list):
            waiting += [(key, item) for item in value if not isinstance(item, int | float | str)]


def _is_wide(array: Record) -> bool:
    """Whether each item of an array takes much, however short it is: ``<U1000000``."""
    try:
        return np.dtype(array["config"]["dtype"]).itemsize > WIDTH
    except (TypeError, KeyError, ValueError):  # Keras says so
        return False


def _take_axes(record: Record, job: Job) -> None:
    """A Normalization by one number repeats it along its axes, however long; without axes it computes the same."""
    config = record["config"]
    one = all(isinstance(config.get(key), int | float) for key in ("mean", "variance"))
    if one and layer_arguments.own_class(record, job) is keras.layers.Normalization:
        config["axis"] = None


def _repeats(record: Record, job: Job) -> bool:
    """Whether it is a Normalization that repeats its numbers along its axes while it is built."""
    config = record["config"]
    known = config.get("mean") is not None and config.get("axis", -1) is not None
    return known and layer_arguments.own_class(record, job) is keras.layers.Normalization


def _shapes(value: Any) -> Iterator[list]:
    """All lists of sizes in it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list) and any(isinstance(n, int) for n in value):
            yield value
        elif isinstance(value, list | dict):
            waiting += value.values() if isinstance(value, dict) else value


def _check_calls(model: Record, job: Job) -> None:
    """Refuses a graph that takes any time to build, and calls that Keras would carry out while it builds the model."""
    count = 0
    for record in walk(model):
        count += max(1, len(_calls(record)))
        if count > LAYERS:
            job.refuse(f"has more than {LAYERS:,} layers and calls of layers; no model needs so many")
        if is_functional(record):
            names = {name_of(layer) for layer in children(record)}
            for layer in children(record):
                # TensorFlow functions are called by `tfops`, which bounds their constants.
                if layer["class_name"] in translation.OPERATIONS:
                    continue
                if not all(any(True for _ in _sources(call, names)) for call in _calls(layer)):
                    job.refuse("is called with constants alone, which is no part of a network", name_of(layer))
            if _attempts(children(record), names) > ATTEMPTS:
                job.refuse(
                    "has its layers in an order in which Keras can not build them; save it again", name_of(record)
                )


def _calls(record: Record) -> list:
    calls = record.get("inbound_nodes")
    return calls if isinstance(calls, list) else []


def _sources(call: Any, names: set[str]) -> Iterator[tuple[str, int]]:
    """(layer, its call) of each output that a call gets, as Keras finds them: in the form of today or of old files."""
    waiting = [call]
    while waiting:
        value = waiting.pop()
        if isinstance(call, list) and is_reference(value, names):
            yield value[0], value[1]
            waiting += value[3:]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            layer, number, _ = value["config"]["keras_history"]
            yield layer, number
        elif isinstance(value, dict):
            waiting += value.values()


def _attempts(layers: list[Record], names: set[str]) -> int:
    """How many calls fail before all are made, or none can be: a call waits for the calls that it needs."""
    calls = {name_of(layer): [set(_sources(call, names)) for call in _calls(layer)] for layer in layers}
    called = {name: 0 if needed else 1 for name, needed in calls.items()}
    total = {name: max(1, len(needed)) for name, needed in calls.items()}

    def is_made(source: tuple[str, int]) -> bool:
        name, number = source
        return name in called and called[name] >= min(number + 1, total[name])  # models inside count from 1

    waiting, attempts, goes_on = [name for name in calls if calls[name]], 0, True
    while waiting and goes_on and attempts <= ATTEMPTS:
        goes_on = False
        for name in waiting:
            while called[name] < total[name] and all(map(is_made, calls[name][called[name]])):
                called[name] += 1
                goes_on = True
        waiting = [name for name in waiting if called[name] < total[name]]
        attempts += len(waiting)
    return attempts


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
