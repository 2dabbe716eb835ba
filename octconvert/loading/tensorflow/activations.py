"""TensorFlow's activation functions, as Activation layers where Keras has one."""

from __future__ import annotations

from keras import layers, ops

from octconvert.loading.tensorflow.arithmetic import plus, times
from octconvert.loading.tensorflow.table import REASONS, implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Function,
    Tensor,
    Unsupported,
    is_number,
    require_float,
    require_tensor,
)

ACTIVATIONS = {
    "elu": ("nn.elu", "keras.activations.elu"),
    "exponential": ("exp", "keras.activations.exponential"),
    "selu": ("nn.selu", "keras.activations.selu"),
    "sigmoid": ("sigmoid", "nn.sigmoid", "keras.activations.sigmoid"),
    "softplus": ("softplus", "nn.softplus", "keras.activations.softplus"),
    "softsign": ("softsign", "nn.softsign", "keras.activations.softsign"),
    "tanh": ("tanh", "nn.tanh", "keras.activations.tanh"),
}


def activation(x: Argument, name: str) -> Tensor:
    """An Activation layer in the tensor's own type."""
    return layers.Activation(name, dtype=require_float(require_tensor(x)).dtype)(x)


def _named_activation(name: str) -> Function:
    def function(x: Argument) -> Tensor:
        return activation(x, name)

    return function


for _name, _paths in ACTIVATIONS.items():
    implements(*_paths)(_named_activation(_name))


@implements("nn.relu", "keras.activations.relu", "keras.backend.relu")
def relu(x: Argument, alpha: Argument = 0.0, max_value: Argument = None, threshold: Argument = 0.0) -> Tensor:
    if not all(value is None or is_number(value) for value in (alpha, max_value, threshold)):
        raise Unsupported("the model computes its limits")
    dtype = require_float(require_tensor(x)).dtype
    return layers.ReLU(max_value, negative_slope=alpha, threshold=threshold, dtype=dtype)(x)


@implements("nn.relu6")
def relu6(features: Argument) -> Tensor:
    return relu(features, max_value=6.0)


@implements("nn.leaky_relu")
def leaky_relu(features: Argument, alpha: Argument = 0.2) -> Tensor:
    if not is_number(alpha):
        raise Unsupported("the model computes its slope")
    return layers.LeakyReLU(negative_slope=alpha, dtype=require_float(require_tensor(features)).dtype)(features)


@implements("nn.crelu")
def crelu(features: Argument, axis: Argument = -1) -> Tensor:
    return ops.concatenate([relu(features), relu(ops.negative(features))], axis=axis)


@implements("nn.silu", "nn.swish", "keras.activations.swish", "keras.activations.silu")
def silu(features: Argument, beta: Argument = 1.0) -> Tensor:
    if beta == 1.0:
        return activation(features, "silu")
    return features * ops.sigmoid(times(features, beta))


@implements("nn.gelu", "keras.activations.gelu")
def gelu(features: Argument, approximate: bool = False) -> Tensor:
    if not approximate:
        return activation(features, "gelu")
    return ops.gelu(require_float(require_tensor(features)), approximate=True)


@implements("keras.activations.mish")
def mish(x: Argument) -> Tensor:
    return activation(x, "mish")


@implements("keras.activations.hard_sigmoid", "keras.backend.hard_sigmoid")
def hard_sigmoid(x: Argument) -> Tensor:
    return ops.clip(plus(times(require_float(require_tensor(x)), 0.2), 0.5), 0.0, 1.0)


@implements("nn.softmax", "keras.activations.softmax", "keras.backend.softmax")
def softmax(logits: Argument, axis: Argument = -1, dim: Argument = None) -> Tensor:
    axis = dim if dim is not None else (-1 if axis is None else axis)
    return layers.Softmax(axis=axis, dtype=require_float(require_tensor(logits)).dtype)(logits)


@implements("nn.log_softmax", "keras.activations.log_softmax")
def log_softmax(logits: Argument, axis: Argument = -1, dim: Argument = None) -> Tensor:
    axis = dim if dim is not None else (-1 if axis is None else axis)
    return ops.log_softmax(require_float(require_tensor(logits)), axis=axis)


REASONS["nn.dropout"] = "it drops values at prediction too, which no Keras layer does"
REASONS["compat.v1.nn.dropout"] = REASONS["nn.dropout"]
