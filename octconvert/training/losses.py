"""Losses of a distillation, and which of them an output of the source model takes.

After a softmax or sigmoid the Kullback-Leibler divergence between the probabilities of both models is taken, for
everything else the squared error relative to the variance of the source's outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops, tree

from octconvert.model.graph import CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.rules import traits_of
from octconvert.rules.outputs import value_maker

TEMPERATURE = 4.0
"""Default for probabilities: the shares of wrong classes then count, too."""


class RelativeSquaredError(keras.losses.Loss):
    """Squared error relative to the variance of the targets in the batch; both (batch, ...)."""

    def call(self, y_true: BackendTensor, y_pred: BackendTensor) -> BackendTensor:
        # The share of the mean square keeps a batch of nearly equal targets from counting beyond measure.
        scale = ops.var(y_true) + 0.01 * ops.mean(ops.square(y_true)) + 1e-7
        error = ops.square(y_pred - y_true) / scale
        return ops.mean(error, axis=-1) if len(error.shape) > 1 else error


class SoftmaxDivergence(keras.losses.Loss):
    """Kullback-Leibler divergence of class probabilities at a temperature (Hinton et al. 2015, section 2).

    Args:
        temperature: logits are divided by it; its square scales the result, so that gradients keep their size.
        axis: of the classes.
        from_logits: whether outputs are logits; else probabilities.
    """

    def __init__(self, temperature: float, axis: int = -1, from_logits: bool = False):
        super().__init__()
        self.temperature, self.axis, self.from_logits = temperature, axis, from_logits

    def call(self, y_true: BackendTensor, y_pred: BackendTensor) -> BackendTensor:
        expected, actual = (self._log_probabilities(y) for y in (y_true, y_pred))
        return self.temperature**2 * ops.sum(ops.exp(expected) * (expected - actual), axis=self.axis)

    def _log_probabilities(self, outputs: BackendTensor) -> BackendTensor:
        # Logarithms of probabilities are logits up to a constant.
        logits = outputs if self.from_logits else ops.log(ops.maximum(outputs, 1e-7))
        return ops.log_softmax(logits / self.temperature, axis=self.axis)


class SigmoidDivergence(keras.losses.Loss):
    """`SoftmaxDivergence` of outputs that are independent probabilities; (batch, ...)."""

    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature

    def call(self, y_true: BackendTensor, y_pred: BackendTensor) -> BackendTensor:
        expected, actual = (self._logits(y) for y in (y_true, y_pred))
        share = ops.sigmoid(expected)
        yes = share * (ops.log_sigmoid(expected) - ops.log_sigmoid(actual))
        no = (1 - share) * (ops.log_sigmoid(-expected) - ops.log_sigmoid(-actual))
        error = self.temperature**2 * (yes + no)
        return ops.mean(error, axis=-1) if len(error.shape) > 1 else error

    def _logits(self, outputs: BackendTensor) -> BackendTensor:
        outputs = ops.clip(outputs, 1e-6, 1 - 1e-6)
        return (ops.log(outputs) - ops.log(1 - outputs)) / self.temperature


@dataclass(frozen=True)
class OutputKind:
    """The kind of an output of the source: 'softmax' over ``axis``, 'sigmoid' or 'linear' (anything else)."""

    name: str
    axis: int = -1

    def distance(self, temperature: float | None) -> keras.losses.Loss:
        """The loss between the outputs of both models; linear outputs are logits where a temperature is set."""
        if self.name == "sigmoid":
            return SigmoidDivergence(temperature or TEMPERATURE)
        if self.name == "softmax":
            return SoftmaxDivergence(temperature or TEMPERATURE, self.axis)
        return RelativeSquaredError() if temperature is None else SoftmaxDivergence(temperature, from_logits=True)


def output_kind(graph: CallGraph, number: int) -> OutputKind:
    """Of the tensor ``number``, by the call that computes it; calls that only reshape or pass on are skipped."""
    shape = graph.tensors[number].shape
    call = value_maker(graph, number)
    activation = traits_of(call.operation).activation
    if activation is None or activation.name not in ("softmax", "sigmoid"):
        return OutputKind("linear")
    if activation.name == "sigmoid":
        return OutputKind("sigmoid")
    axis, own = activation.axis, graph.tensors[call.outputs[0]].shape
    if isinstance(axis, int) and shape == own:
        return OutputKind("softmax", axis)
    if axis in (-1, len(own) - 1) and shape[-1] == own[-1]:
        return OutputKind("softmax")
    return OutputKind("linear")


def labels_loss(requested: Any, source: keras.Model, kinds: list[OutputKind]) -> Any:
    """The loss for labels, for ``compile``: as requested, or the source's own, or by the kinds of the outputs."""
    if requested is not None:
        return requested
    if getattr(source, "compiled", False) and source.loss is not None:
        return source.loss
    return tree.pack_sequence_as(source.output, [_default_labels_loss(kind) for kind in kinds])


def _default_labels_loss(kind: OutputKind) -> Callable[[BackendTensor, BackendTensor], BackendTensor]:
    logits = kind.name == "linear"

    def labels_loss(y_true: BackendTensor, y_pred: BackendTensor) -> BackendTensor:
        """Class numbers are recognised by their shape: one number where the output has several."""
        if kind.name == "sigmoid":
            return keras.losses.binary_crossentropy(y_true, y_pred)
        numbers = len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and y_pred.shape[-1] != 1)
        if numbers:
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=logits, axis=kind.axis)
        if kind.name == "softmax":
            return keras.losses.categorical_crossentropy(y_true, y_pred, axis=kind.axis)
        return keras.losses.mean_squared_error(y_true, y_pred)

    return labels_loss
