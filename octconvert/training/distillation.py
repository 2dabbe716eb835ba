"""Trains a converted model towards its source's outputs: distillation (Hinton et al. 2015, arXiv 1503.02531).

The training is plain Keras: `Distiller` is a model like any other, so mixed precision, `tf.distribute` strategies,
callbacks and every kind of data that ``fit`` takes work as usual.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops, tree

from octconvert.errors import InputError, UsageError
from octconvert.layers.gradients import safe_gradients
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options import limits
from octconvert.system.environment import backend_obstacle
from octconvert.training import losses
from octconvert.training.data import TrainingData, read_training_data
from octconvert.training.distiller import Distiller
from octconvert.training.optimizer import optimizer_for
from octconvert.training.overrides import faster_statistics, frozen_statistics, restored_if_not_finite

NEAR = 0.15
"""Relative squared error of the outputs up to which a converted model is near to its source, as a calibrated one is."""
PROBED = 128
"""Samples of the first batch on which that error is measured."""
NEAR_RATE, FAR_RATE = 1e-3, 5e-3
"""Peak of the default learning rate schedule, for a near start and for a far one."""


def distill(
    source: keras.Model,
    converted: keras.Model,
    data: Any,
    epochs: int = 3,
    *,
    labels_weight: float = 0.0,
    labels_loss: Any = None,
    temperature: float | None = None,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
    optimizer: Any = None,
    batch_statistics: bool | None = None,
    batch_size: int = 64,
    steps_per_epoch: int | None = None,
    validation_data: Any = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    augment: Callable[[Any], Any] | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train ``converted`` in place to have the outputs of ``source``, which is not changed.

    The loss of each output depends on the last layer of the source: after a softmax or sigmoid, it is the
    Kullback-Leibler divergence between both models' probabilities at ``temperature``; for everything else (logits,
    maps, numbers) the squared error relative to the variance of the source's outputs in the batch.

    A calibrated model is near to its source, and the first steps must not lose that: the learning rate is small, and
    BatchNormalization runs as at inference. A model that is far (weights only moved) is trained at a larger rate, with
    BatchNormalization as ``fit`` does it, but in a short training with a shorter memory, so that its running
    statistics are those of the weights at the end.

    Args:
        source, converted: two Functional or Sequential models with the same inputs and outputs that share no weights.
            The optimizer and losses that ``converted`` is compiled with are kept.
        data: an array, or a list or dict of arrays for a model with several inputs; (x, labels) or (x, labels, sample
            weights) of such; a `tf.data.Dataset` of batches, `keras.utils.PyDataset`, or generator or other iterable
            of batches of the same forms. First axis = sample.
        epochs: passes over the data.
        labels_weight: share of the labels in the loss, 0..1; the weight regularisers of the layers count with them. At
            0 the data need no labels.
        labels_loss: as for ``compile``; by default the one that the source is compiled with, else cross-entropy after
            softmax or sigmoid and for class numbers, else the mean squared error.
        temperature: of the probabilities, by default `octconvert.training.losses.TEMPERATURE`; where it is set, linear
            outputs are taken for logits over their last axis and compared as probabilities, too.
        learning_rate: a schedule, or the peak of the default one (`octconvert.training.schedule`). None: `NEAR_RATE` or
            `FAR_RATE`, see above.
        optimizer: in place of `octconvert.training.optimizer.Muon` with this learning rate; a Keras optimizer keeps its
            own rate.
        batch_statistics: whether BatchNormalization uses, and learns, the statistics of the batches. None: only where
            the start is far.
        batch_size: of arrays; all else comes in batches.
        steps_per_epoch: batches of an epoch, needed for data without a length (generators, repeated datasets).
        validation_data: as ``data``, with a length; scored after each epoch, as ``val_loss``.
        callbacks: for ``fit``; their model is the `Distiller`, whose ``converted`` is the model that is trained.
        augment: applied to the inputs of every training batch before both models see them, as tensors in a
            `tf.function`: a function or layer, as `octconvert.training.augmentation.flip_and_shift`. Labels are kept.
        verbose: as for ``fit``.

    Returns:
        The history of ``fit``: ``loss``, and ``val_loss`` with ``validation_data``.

    Raises:
        UsageError: an argument is invalid, the labels are missing, or Keras does not run on TensorFlow.
        InputError: the models do not belong together, there are no data, or outputs are not finite.
        CheckError: the training diverged; the weights are restored.
    """
    if obstacle := backend_obstacle("tensorflow"):
        raise UsageError(f"distill {obstacle}")
    _check_numbers(epochs, labels_weight, temperature, batch_size, steps_per_epoch)
    graph = _check_models(source, converted)
    outputs = [losses.output_kind(graph, number) for number in graph.outputs]
    read = partial(read_training_data, model=converted, batch_size=batch_size, need_labels=labels_weight > 0)
    training = read(data, steps_per_epoch, name="data")
    validation = None if validation_data is None else read(validation_data, None, name="validation_data")
    is_far = _distance_at_start(source, converted, training) > NEAR
    rate = (FAR_RATE if is_far else NEAR_RATE) if learning_rate is None else learning_rate
    with converted.distribute_strategy.scope():
        distances = [kind.distance(temperature) for kind in outputs]
        model = Distiller(source, converted, distances, labels_weight, augment)
        model.compile(
            optimizer_for(optimizer, rate, epochs * training.steps, converted),
            loss=losses.labels_loss(labels_loss, source, outputs) if labels_weight else None,
            jit_compile="auto" if augment is None else False,  # XLA knows few of the operations on images
        )
    learns = is_far if batch_statistics is None else batch_statistics
    statistics = faster_statistics(converted, epochs * training.steps) if learns else frozen_statistics(converted)
    with statistics, safe_gradients(), restored_if_not_finite(converted):
        return model.fit(
            training.x,
            training.y,
            sample_weight=training.sample_weight,
            batch_size=batch_size,
            epochs=epochs,
            steps_per_epoch=training.steps if training.is_endless else steps_per_epoch,
            shuffle=not isinstance(training.x, (tf.data.Dataset, types.GeneratorType)),
            validation_data=validation and validation.for_validation,
            validation_steps=validation.steps if validation and validation.is_endless else None,
            callbacks=list(callbacks),
            verbose=verbose,
        )


def _distance_at_start(source: keras.Model, converted: keras.Model, data: TrainingData) -> float:
    """Relative squared error of the outputs on the first batch.

    Raises:
        InputError: the outputs are not finite.
    """
    x = tree.map_structure(lambda part: part[:PROBED], data.first_inputs())
    pair = [tree.flatten(model(x, training=False)) for model in (source, converted)]
    for whose, outputs in zip(("the source's", "the converted model's"), pair, strict=True):
        if not all(bool(ops.all(ops.isfinite(output))) for output in outputs):
            raise InputError(f"{whose} outputs on the first batch are not finite")
    errors = [float(ops.mean(losses.RelativeSquaredError()(a, b))) for a, b in zip(*pair, strict=True)]
    return sum(errors) / len(errors)


def _check_numbers(
    epochs: int, labels_weight: float, temperature: float | None, batch_size: int, steps_per_epoch: int | None
) -> None:
    limits.whole("epochs", epochs)
    limits.whole("batch_size", batch_size)
    if steps_per_epoch is not None:
        limits.whole("steps_per_epoch", steps_per_epoch)
    if not limits.is_number(labels_weight) or not 0 <= labels_weight <= 1:
        raise UsageError(f"labels_weight must be a share, 0..1, received {limits.shown(labels_weight)}")
    if temperature is not None and not (limits.is_number(temperature) and temperature > 0):
        raise UsageError(f"temperature must be a number above 0, received {limits.shown(temperature)}")


def _check_models(source: keras.Model, converted: keras.Model) -> CallGraph:
    """The source's graph."""
    graph = build_graph(source)
    build_graph(converted)
    for ends in ("inputs", "outputs"):
        shapes = [[tuple(tensor.shape) for tensor in getattr(model, ends)] for model in (source, converted)]
        if shapes[0] != shapes[1]:
            raise InputError(f"the models' {ends} differ: {shapes[0]} in the source, {shapes[1]} in the converted one")
    shared = {id(weight) for weight in source.weights} & {id(weight) for weight in converted.weights}
    if shared:
        raise InputError("source and converted model share weights; the source would be trained, too")
    if not converted.trainable_weights:
        raise InputError(f"model '{converted.name}' has no trainable weights")
    return graph
