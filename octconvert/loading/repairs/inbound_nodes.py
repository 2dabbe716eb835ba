"""The calls in a functional model: which call of a nested model is meant, and tensors among keyword arguments."""

from __future__ import annotations

from typing import Any

from octconvert.loading.records import (
    Record,
    all_references,
    children,
    is_functional,
    is_model,
    is_reference,
    name_of,
    walk,
)
from octconvert.loading.tensorflow.translation import LAYER_CLASSES, TensorReference


def renumber(model: Record) -> None:
    """Counts the calls of a nested model from 0, as Keras 3 does, in place.

    Up to tf.keras 2 a model's node 0 is its own definition and its first call is node 1. Keras 3 still subtracts that
    for the outputs of a functional model, and nowhere else.
    """
    for record in walk(model):
        if not is_functional(record):
            continue
        nested = {name_of(layer): layer for layer in children(record) if is_model(layer)}
        outputs = {id(reference) for reference in _outputs(record)}
        for reference in all_references(record):
            inner = nested.get(reference[0])
            if inner is None or (id(reference) in outputs and is_functional(inner)):
                continue
            reference[1] = max(reference[1] - 1, 0)


def _outputs(record: Record) -> list[list[Any]]:
    names = {name_of(layer) for layer in children(record)}
    references, waiting = [], [record["config"]["output_layers"]]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list) and item and isinstance(item[0], str) and item[0] in names:
            references.append(item)
        elif isinstance(item, list | dict):
            waiting += item.values() if isinstance(item, dict) else item
    return references


def convert_keyword_tensors(model: Record) -> None:
    """Writes calls with tensors among their keyword arguments, as of attention layers, in Keras 3's form, in place.

    The old form is a list of ``[layer, node, output, {arguments}]``, where Keras 3 does not look for tensors.
    """
    for record in walk(model):
        if not is_functional(record):
            continue
        names = {name_of(layer) for layer in children(record)}
        for layer in children(record):
            if layer["class_name"] not in LAYER_CLASSES:
                nodes = layer.get("inbound_nodes") or []
                layer["inbound_nodes"] = [_converted(node, names) for node in nodes]


def _converted(node: Any, names: set[str]) -> Any:
    if not isinstance(node, list) or not node:
        return node
    entries = [node] if is_reference(node, names) else node
    keywords: dict[str, Any] = next(
        (entry[3] for entry in entries if isinstance(entry, list) and len(entry) > 3 and entry[3]), {}
    )
    if not any(is_reference(value, names) for value in keywords.values()):
        return node
    tensors = [TensorReference(*entry[:3]).as_keras3() for entry in entries]
    arguments = {
        key: TensorReference(*value[:3]).as_keras3() if is_reference(value, names) else value
        for key, value in keywords.items()
    }
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": arguments}
