"""Which activation functions act on each element alone, and so on each map of a pair alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator

from keras import activations

from octconvert.rules.base import Flow

_ELEMENTWISE_NAMES = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]
_ELEMENTWISE = {getattr(activations, name) for name in _ELEMENTWISE_NAMES if hasattr(activations, name)}


def elementwise(activation, named: Collection[str] = ()) -> bool:
    """Whether a layer's activation (None, function or activation layer) is element-wise: known, or ``named``."""
    known = activation is None or (callable(activation) and activation in _ELEMENTWISE)
    return known or activation_name(activation) in named


def activation_name(activation) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


def rectifier_limit(activation) -> float | None:
    """Upper limit of a layer's activation that is a plain rectifier; None for any other, or none at all."""
    return {activations.relu: math.inf, activations.relu6: 6.0}.get(activation) if callable(activation) else None


def is_linear(activation) -> bool:
    """Whether a layer has no activation of its own."""
    return activation is None or activation is activations.linear


def joins_channels(activation, named: Collection[str] = ()) -> str:
    """Why a layer with this activation gives no pair; empty for an element-wise one."""
    return "" if elementwise(activation, named) else f"its activation {activation_name(activation)} joins channels"


def produce(flow: Flow, activation, channels: int, blocks: int = 1):
    """`Flow.produce` for a layer with an activation of its own."""
    reason = joins_channels(activation, flow.options.elementwise)
    return (None, reason) if reason else flow.produce(channels, blocks)


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
