"""The activations of layers: which act on each element alone, and so on each map of a pair alone.

An activation is a function or a layer. A function is known by what it is, wherever it was taken from (``keras``,
``keras.ops``, TensorFlow, JAX). For a layer its own rule answers, as if it were called behind the layer that has it.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
from keras import activations
from keras.src.ops.symbolic_arguments import SymbolicArguments

from octconvert.model.graph import OPERATION, Call
from octconvert.model.known_functions import is_elementwise, joins, standard
from octconvert.octave.split import Pair
from octconvert.rules.base import Trace
from octconvert.rules.protocols import Flow


def elementwise(activation, named: Collection[str] = ()) -> bool:
    """Whether an activation function (or None) is element-wise: known, or ``named``."""
    return activation is None or is_elementwise(activation) or activation_name(activation) in named


def activation_name(activation) -> str:
    while isinstance(activation, functools.partial):
        activation = activation.func
    return getattr(activation, "__name__", type(activation).__name__)


def rectifier_limit(activation) -> float | None:
    """Upper limit of a layer's activation that is a plain rectifier; None for any other, or none at all."""
    if isinstance(activation, keras.layers.ReLU):
        plain = not float(activation.negative_slope) and not float(activation.threshold)
        return (math.inf if activation.max_value is None else float(activation.max_value)) if plain else None
    known = {activations.relu: math.inf, activations.relu6: 6.0}
    return known.get(standard(activation)) if callable(activation) else None


def is_linear(activation) -> bool:
    """Whether a layer has no activation of its own."""
    return activation is None or standard(activation) is activations.linear


def refusal(activation, flow: Flow, channels: int) -> str:
    """Why a layer with this activation and as many channels gives no pair; empty where it does."""
    if isinstance(activation, keras.layers.Layer):
        return _layer_refusal(flow, channels)
    if elementwise(activation, flow.options.elementwise):
        return ""
    name = activation_name(activation)
    if joins(activation):
        return f"its activation {name} joins channels"
    return f"its activation {name} is not known to be element-wise"


def produce(flow: Flow, activation, channels: int, blocks: int = 1):
    """`Flow.produce` for a layer with an activation of its own."""
    reason = refusal(activation, flow, channels)
    return (None, reason) if reason else flow.produce(channels, blocks)


# -- activations that are layers ---------------------------------------------------------------------------------------


def _layer_refusal(flow: Flow, channels: int) -> str:
    layer = flow.call.operation.activation
    if layer.weights and _others(flow, layer):
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


def _others(flow: Flow, layer) -> bool:
    """Whether the activation belongs to another layer as well."""
    operations = {id(call.operation): call.operation for call in flow.graph.calls if call.kind == OPERATION}
    return sum(getattr(operation, "activation", None) is layer for operation in operations.values()) > 1


def _rule(call: Call, named: Collection[str]):
    from octconvert.rules.named import rule_of  # it is made of rules that have activations

    return rule_of(call, named)


def own_call(call: Call) -> Call:
    """The activation that is a layer as a call of its own, on the output of the layer that has it."""
    layer, output = call.operation.activation, call.node.outputs[0]
    if not layer.built:  # Keras builds it when the model first runs
        layer.build(output.shape)
    node = SimpleNamespace(arguments=SymbolicArguments(output), outputs=[output])
    key, name = ("activation", call.key), f"{call.name}/{layer.name}"
    return replace(call, name=name, operation=layer, node=node, inputs=call.outputs, key=key)


def without_layer(config: dict, layer) -> dict:
    """A layer's configuration; an activation that is a layer comes behind it, see `activated`."""
    return {**config, "activation": "linear"} if isinstance(layer.activation, keras.layers.Layer) else config


def activated(call: Call, value, build):
    """What a layer without its activation gave, with the activation, if that is a layer; else unchanged."""
    if not isinstance(call.operation.activation, keras.layers.Layer):
        return value
    own = own_call(call)
    if isinstance(value, Pair):
        return _rule(own, build.options.elementwise).rewrite(own, [value], build)[0]
    return build.clone(own, "-act")(value)


@contextlib.contextmanager
def without_activation(layer) -> Iterator[None]:
    """The layer computes its linear part alone for as long; its attribute is swapped past Keras' own tracking."""
    own = vars(layer)["activation"]
    vars(layer)["activation"] = activations.linear
    try:
        yield
    finally:
        vars(layer)["activation"] = own


def linear_part(layer, inputs: list):
    """`octconvert.rules.Rule.linear_output` of a layer with an activation of its own and one input."""
    with without_activation(layer):
        return layer(inputs[0])
