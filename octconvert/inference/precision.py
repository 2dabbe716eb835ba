"""A `Program` that computes in float32 where its model has other precisions, for runtimes that do not have those."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from octconvert.inference.program import CallStep, InputStep, Node, Program
from octconvert.model.graph import CallGraph

FLOAT32 = "float32"
_NOT_OF_NUMPY = "bfloat16"
_OTHERS = ("float16", "bfloat16", "float64")
_POLICIES = (*_OTHERS, *(f"mixed_{name}" for name in _OTHERS))


def others_than(graph: CallGraph, known: frozenset[str]) -> tuple[str, ...]:
    """The precisions, besides those known, that a model computes in. What NumPy has is no matter as an input's."""
    layers = [
        each for each in graph.model._flatten_layers() if not isinstance(each, (keras.Model, keras.layers.InputLayer))
    ]
    used = {each for layer in layers for each in (layer.compute_dtype, layer.variable_dtype)}
    used |= {each.dtype for each in graph.tensors if each.index not in graph.inputs or each.dtype == _NOT_OF_NUMPY}
    return tuple(name for name in _OTHERS if name in used - known)


def in_float32(program: Program) -> Program:
    """The same with float32 for every other precision; of the inputs, for that which NumPy does not have."""

    def change(target: Program, node: Node, inputs: tuple[Node, ...]) -> Node:
        step = node.step
        changes = isinstance(step, (CallStep, InputStep)) or is_other(step.policy)
        return target.add(replace(step, policy=FLOAT32) if changes else step, inputs, node.name)

    return program.mapped(change)


def input_dtype(dtype: str, policy: Any) -> str:
    """What an input of the model has."""
    return FLOAT32 if policy == FLOAT32 and dtype == _NOT_OF_NUMPY else dtype


def is_other(policy: Any) -> bool:
    """Whether a dtype, or a dtype policy as an object, a name or a configuration, has another precision."""
    if isinstance(policy, dict):
        config = policy.get("config")
        policy = config.get("name") if isinstance(config, dict) else None
    return getattr(policy, "name", policy) in _POLICIES


def float32_config(config: Any) -> Any:
    """A layer's configuration with float32 for every dtype of another precision, inner layers' included."""
    if isinstance(config, dict):
        return {
            key: FLOAT32 if key == "dtype" and is_other(each) else float32_config(each) for key, each in config.items()
        }
    if isinstance(config, (list, tuple)) and any(isinstance(each, (dict, list, tuple)) for each in config):
        return type(config)(float32_config(each) for each in config)
    return config
