"""Activation of a pair -> the same activation of each map, for activations that act on each element alone.

An activation is a function or a layer. A function is recognised wherever it was imported from (``keras``,
``keras.ops``, TensorFlow, JAX). For a layer its own rule answers, as if it were called after the layer that has it.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import activations
from keras.src.ops.symbolic_arguments import SymbolicArguments

from octconvert.model.graph import OPERATION, Call
from octconvert.model.known_functions import is_elementwise, joins, standard
from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace
from octconvert.rules.protocols import Build, Flow, Value


def elementwise(activation: Any, named: Collection[str] = ()) -> bool:
    """Whether an activation function (or None) is element-wise: known, or ``named``."""
    return activation is None or is_elementwise(activation) or activation_name(activation) in named


def activation_name(activation: Any) -> str:
    """The name of an activation function or layer."""
    while isinstance(activation, functools.partial):
        activation = activation.func
    return getattr(activation, "__name__", type(activation).__name__)


def rectifier_limit(activation: Any) -> float | None:
    """Upper limit (infinity: none) of an activation that is a plain rectifier; None for any other activation."""
    if isinstance(activation, keras.layers.ReLU):
        plain = not float(activation.negative_slope) and not float(activation.threshold)
        return (math.inf if activation.max_value is None else float(activation.max_value)) if plain else None
    known = {activations.relu: math.inf, activations.relu6: 6.0}
    return known.get(standard(activation)) if callable(activation) else None


def is_linear(activation: Any) -> bool:
    """Whether a layer has no activation of its own."""
    return activation is None or standard(activation) is activations.linear


def refusal(activation: Any, flow: Flow, channels: int) -> str:
    """Why a layer with this activation and this number of channels can not write a pair; empty where it can."""
    if isinstance(activation, keras.layers.Layer):
        return _layer_refusal(flow, channels)
    if elementwise(activation, flow.options.elementwise):
        return ""
    name = activation_name(activation)
    if joins(activation):
        return f"its activation {name} joins channels"
    return f"its activation {name} is not known to be element-wise"


def produce(flow: Flow, activation: Any, channels: int, blocks: int = 1) -> tuple[np.ndarray | None, str]:
    """`Flow.produce` for a layer with an activation of its own."""
    reason = refusal(activation, flow, channels)
    return (None, reason) if reason else flow.produce(channels, blocks)


# -- activations that are layers --


def _layer_refusal(flow: Flow, channels: int) -> str:
    layer = flow.call.operation.activation
    if layer.weights and _is_shared(flow, layer):
        return f"its activation '{layer.name}' has weights that other layers share"
    call, numbers = own_call(flow.call), np.arange(channels)
    rule = _rule(call, flow.options.elementwise)
    if rule is None:
        return f"its activation is a layer: no rule for {call.class_name}"
    try:
        trace = rule.trace(call, flow.alone(call, numbers))
    except LookupError:
        trace = Trace((None,), reads=False, reason="joins channels")
    if trace.reads and trace.outputs[0] is numbers:
        return ""
    return f"its activation '{layer.name}' ({call.class_name}): {trace.reason or 'moves channels'}"


def _is_shared(flow: Flow, layer: keras.layers.Layer) -> bool:
    """Whether the activation belongs to another layer as well."""
    operations = {id(call.operation): call.operation for call in flow.graph.calls if call.kind == OPERATION}
    return sum(getattr(operation, "activation", None) is layer for operation in operations.values()) > 1


def _rule(call: Call, named: Collection[str]) -> Rule | None:
    from octconvert.rules.named import rule_of  # that module imports this one

    return rule_of(call, named)


def own_call(call: Call) -> Call:
    """An activation that is a layer, as a call of its own on the output of the layer that has it."""
    layer, output = call.operation.activation, call.node.outputs[0]
    if not layer.built:  # Keras builds it when the model first runs
        layer.build(output.shape)
    node = SimpleNamespace(arguments=SymbolicArguments(output), outputs=[output])
    key, name = ("activation", call.key), f"{call.name}/{layer.name}"
    return replace(call, name=name, operation=layer, node=node, inputs=call.outputs, key=key)


def without_layer(config: dict[str, Any], layer: keras.layers.Layer) -> dict[str, Any]:
    """A layer's configuration without an activation that is a layer: `activated` calls that one afterwards."""
    return {**config, "activation": "linear"} if isinstance(layer.activation, keras.layers.Layer) else config


def activated(call: Call, value: Value, build: Build) -> Value:
    """The output of a layer built by `without_layer`, with its activation applied if that is a layer."""
    if not isinstance(call.operation.activation, keras.layers.Layer):
        return value
    own = own_call(call)
    if isinstance(value, Pair):
        rule = _rule(own, build.options.elementwise)
        assert rule is not None  # else `refusal` would have had a reason
        return rule.rewrite(own, [value], build)[0]
    return build.clone(own, "-act")(value)


@contextlib.contextmanager
def without_activation(layer: keras.layers.Layer) -> Iterator[None]:
    """Meanwhile the layer computes its linear part alone; the attribute is replaced without Keras tracking it."""
    own = vars(layer)["activation"]
    vars(layer)["activation"] = activations.linear
    try:
        yield
    finally:
        vars(layer)["activation"] = own


def linear_part(layer: keras.layers.Layer, inputs: list[Any]) -> Any:
    """`octconvert.rules.Rule.linear_output` of a layer with an activation of its own and one input."""
    with without_activation(layer):
        return layer(inputs[0])
