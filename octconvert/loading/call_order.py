"""Limits of the graph of an architecture: the number of calls, and the order in which Keras can make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, children, is_functional, is_reference, name_of, walk
from octconvert.loading.tensorflow.translation import LAYER_CLASSES

LAYERS = 10_000
"""Layers of a file, including those of models inside; a layer called n times counts n times."""
ATTEMPTS = 300_000
"""Keras visits the layers again and again until each has its inputs: the most calls that may fail on the way."""


def check(model: Record, context: LoadingContext) -> None:
    """Refuses a graph that takes any amount of time to build, and calls that Keras would run while it builds.

    Raises:
        InputError: With the layer, or the model whose layers have an impossible order.
    """
    count = 0
    for record in walk(model):
        count += max(1, len(_calls(record)))
        if count > LAYERS:
            context.refuse(f"has more than {LAYERS:,} layers and calls of layers; no model needs so many")
        if is_functional(record):
            _check_graph(record, context)


def _check_graph(record: Record, context: LoadingContext) -> None:
    names = {name_of(layer) for layer in children(record)}
    for layer in children(record):
        # TensorFlow functions may be called with constants; `tensorflow.values` bounds those.
        if layer["class_name"] in LAYER_CLASSES:
            continue
        if not all(any(True for _ in _sources(call, names)) for call in _calls(layer)):
            context.refuse("is called with constants only, which is not a part of a network", name_of(layer))
    if _failed_attempts(children(record), names) > ATTEMPTS:
        context.refuse("has its layers in an order in which Keras can not build them; save it again", name_of(record))


def _calls(record: Record) -> list[Any]:
    calls = record.get("inbound_nodes")
    return calls if isinstance(calls, list) else []


def _sources(call: Any, names: set[str]) -> Iterator[tuple[str, int]]:
    """(layer, index of its call) of each input of a call, as Keras finds them in the present and in the old form."""
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


def _failed_attempts(layers: list[Record], names: set[str]) -> int:
    """How many calls fail before all succeed, or none can: a call has to wait for the calls that it depends on."""
    calls = {name_of(layer): [set(_sources(call, names)) for call in _calls(layer)] for layer in layers}
    called = {name: 0 if needed else 1 for name, needed in calls.items()}
    total = {name: max(1, len(needed)) for name, needed in calls.items()}

    def is_available(source: tuple[str, int]) -> bool:
        name, number = source
        return name in called and called[name] >= min(number + 1, total[name])  # models inside count from 1

    waiting, attempts, progressing = [name for name in calls if calls[name]], 0, True
    while waiting and progressing and attempts <= ATTEMPTS:
        progressing = False
        for name in waiting:
            while called[name] < total[name] and all(map(is_available, calls[name][called[name]])):
                called[name] += 1
                progressing = True
        waiting = [name for name in waiting if called[name] < total[name]]
        attempts += len(waiting)
    return attempts
