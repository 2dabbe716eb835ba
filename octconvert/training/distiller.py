"""The model that is fitted in a distillation: its training step, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import backend, ops, tree

from octconvert.model.functional import functional_of
from octconvert.model.tensors import BackendTensor


class Distiller(keras.Model):
    """``converted`` as a model whose loss is the distance of its outputs from those of ``source``.

    Args:
        source: runs in inference mode; none of its weights belong to this model.
        converted: the model that is trained.
        distances: one loss for each output, of (source's, converted's).
        labels_weight: share of the compiled loss, 0..1.
        augment: applied to the inputs of training batches.
        weights: of the distances; by default their mean counts.
    """

    def __init__(
        self,
        source: Callable[..., Any],
        converted: keras.Model,
        distances: list[keras.losses.Loss],
        labels_weight: float = 0.0,
        augment: Callable[[Any], Any] | None = None,
        weights: Sequence[float] | None = None,
    ):
        super().__init__(dtype="float32", autocast=False)  # the models cast their inputs themselves
        self.converted = converted
        self.labels_weight = labels_weight
        self.output_names = getattr(functional_of(converted), "output_names", None)  # for losses given by name
        self._distances = distances
        self._weights = [1 / len(distances)] * len(distances) if weights is None else list(weights)
        self._target = partial(source, training=False)  # as a plain layer its weights would be this model's
        self._augment = None if augment is None else partial(augment)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.converted(inputs, training=training)

    def make_train_function(self, force: bool = False) -> None:
        """As of Keras, once the optimizer has its variables: where a trace creates any, TensorFlow traces again."""
        if backend.backend() == "tensorflow" and self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        super().make_train_function(force)

    def train_step(self, *arguments: Any) -> Any:
        """``arguments``: the data; on JAX, the state of the training before them."""
        *state, data = arguments
        if self._augment is not None:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            data = (self._augment(x), y, sample_weight)
        return super().train_step(*state, data)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> BackendTensor:
        targets, outputs = tree.flatten(self._target(x)), tree.flatten(y_pred)
        samples = _for_each_output(sample_weight, outputs)
        parts = zip(self._weights, self._distances, targets, outputs, samples, strict=True)
        distance = sum(share * loss(ops.stop_gradient(t), y, weight) for share, loss, t, y, weight in parts)
        if not self.labels_weight:
            return distance
        labels = super().compute_loss(x, y, y_pred, sample_weight, training)
        return (1 - self.labels_weight) * distance + self.labels_weight * labels


def _for_each_output(sample_weight: Any, outputs: list[BackendTensor]) -> list[BackendTensor | None]:
    """The sample weights of every output, with as many axes as its loss."""
    nested = tree.is_nested(sample_weight)
    weights = tree.flatten(sample_weight) if nested else [sample_weight] * len(outputs)
    return [_with_axes(weight, len(output.shape) - 1) for weight, output in zip(weights, outputs, strict=True)]


def _with_axes(weight: BackendTensor | None, count: int) -> BackendTensor | None:
    while weight is not None and len(weight.shape) < count:
        weight = ops.expand_dims(weight, -1)
    return weight
