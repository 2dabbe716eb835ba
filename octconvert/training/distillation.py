"""Trains a converted model to give its source's outputs: distillation (Hinton et al. 2015, arXiv 1503.02531).

The training is plain Keras: `Distiller` is a model like any other, so mixed precision, `tf.distribute` strategies,
callbacks and every kind of data that ``fit`` takes work as they always do.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

from octconvert.errors import CheckError, InputError, UsageError
from octconvert.layers.gradients import safe_gradients
from octconvert.model.functional import functional_of
from octconvert.model.graph import BOUNDARY, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options import limits
from octconvert.rules.activations import activation_name
from octconvert.text.words import plural
from octconvert.training.optimizer import muon_for

NEAR = 0.15
"""Relative squared error of the outputs up to which a converted model is near to its source, as a calibrated one is."""
LOOKED_AT = 128
"""Samples of the first batch by which that is told."""
NEAR_RATE, FAR_RATE = 1e-3, 5e-3
"""Peak of the default schedule, for a near start and for a far one."""
WARM_UP = 0.1
"""Share of all steps in which the learning rate rises: Adam's first steps are large, and the start is a good one."""
TEMPERATURE = 4.0
"""Of probabilities where none is given; the shares of wrong classes then count, too."""


def distill(
    source,
    converted,
    data,
    epochs: int = 3,
    *,
    labels_weight: float = 0.0,
    labels_loss=None,
    temperature: float | None = None,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
    optimizer=None,
    batch_statistics: bool | None = None,
    batch_size: int = 64,
    steps_per_epoch: int | None = None,
    validation_data=None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    augment: Callable[[Any], Any] | None = None,
    verbose="auto",
) -> keras.callbacks.History:
    """Train ``converted`` in place to give the outputs of ``source``, which is not changed.

    What counts as near is decided for each output by the last layer of the source: after a softmax or sigmoid, the
    Kullback-Leibler divergence between both models' probabilities at ``temperature``; for all else, logits as well as
    maps and other numbers, the squared error relative to the variance of the source's outputs in the batch.

    A calibrated model is near to its source, and that must not be lost in the first steps: it is trained in small ones,
    with BatchNormalization as it is at inference. One that is far (weights only moved) is trained in large steps,
    with BatchNormalization as ``fit`` does it, but in a short training with a shorter memory, so that its running
    statistics are those of the weights at the end.

    Args:
        source, converted: two Functional or Sequential models with the same inputs and outputs that share no weights.
            The optimizer and losses that ``converted`` is compiled with stay as they are.
        data: an array, or a list or dict of arrays for a model with several inputs; (x, labels) or (x, labels, sample
            weights) of such; a `tf.data.Dataset` of batches, `keras.utils.PyDataset`, or generator or other iterable
            of batches of the same forms. First axis = sample.
        epochs: how often all data is gone through.
        labels_weight: share of the labels in the loss, 0..1; the weight regularisers of the layers count with them. At
            0 the data need no labels.
        labels_loss: as for ``compile``; by default the one that the source is compiled with, else cross-entropy after
            softmax or sigmoid and for class numbers, else the mean squared error.
        temperature: of the probabilities, `TEMPERATURE` if not given; if it is given, linear outputs are taken for
            logits over their last axis and compared as probabilities, too.
        learning_rate: a schedule, or the peak of the default one: up over the first `WARM_UP` of all steps, then down
            to 0 along a cosine. None: `NEAR_RATE` or `FAR_RATE`, see above.
        optimizer: in place of `octconvert.training.optimizer.Muon` with this learning rate; a Keras optimizer's is then
            its own.
        batch_statistics: whether BatchNormalization uses, and learns, the statistics of the batches. None: only where
            the start is far.
        batch_size: of arrays; all else comes in batches.
        steps_per_epoch: batches of an epoch, needed for data without a length (generators, repeated datasets).
        validation_data: as ``data``, with a length; scored after each epoch, as ``val_loss``.
        callbacks: for ``fit``; the model they see is the `Distiller`, whose ``converted`` is the model trained.
        augment: applied to the inputs of every training batch before both models see them, as tensors in a
            `tf.function`: a function or layer, as `flip_and_shift`. Labels stay as they are.
        verbose: as for ``fit``.

    Returns:
        The history of ``fit``: ``loss``, and ``val_loss`` with ``validation_data``.

    Raises:
        UsageError: an argument makes no sense, or the labels are missing.
        InputError: the models do not belong together, there is no data, or outputs are not finite.
        CheckError: the training diverged; the weights are as before.
    """
    _check_numbers(epochs, labels_weight, temperature, batch_size, steps_per_epoch)
    graph = _check_models(source, converted)
    outputs = [_output_kind(graph, number) for number in graph.outputs]
    read = partial(_read, model=converted, batch_size=batch_size, need_labels=labels_weight > 0)
    training = read(data, steps_per_epoch, name="data")
    validation = None if validation_data is None else read(validation_data, None, name="validation_data")
    is_far = _distance_at_start(source, converted, training) > NEAR
    rate = (FAR_RATE if is_far else NEAR_RATE) if learning_rate is None else learning_rate
    with converted.distribute_strategy.scope():
        distances = [_distance(kind, temperature) for kind in outputs]
        model = Distiller(source, converted, distances, labels_weight, augment)
        model.compile(
            _optimizer(optimizer, rate, epochs * training.steps, converted),
            loss=_labels_loss(labels_loss, source, outputs) if labels_weight else None,
            jit_compile="auto" if augment is None else False,  # XLA knows few of the operations on images
        )
    moving = is_far if batch_statistics is None else batch_statistics
    statistics = _quick_statistics(converted, epochs * training.steps) if moving else _kept_statistics(converted)
    with statistics, safe_gradients(), _finite_or_back(converted):
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


def flip_and_shift(images, share: float = 0.125):
    """An augmentation for `distill`: half of the images turned left to right, all of them moved.

    Args:
        images: (batch, rows, columns, channels), rows and columns known.
        share: of the rows and columns by which they move at most; what comes in at the borders is mirrored.
    """
    images = tf.image.random_flip_left_right(images)
    rows, columns = (min(max(1, int(share * size)), size - 1) for size in images.shape[1:3])
    padded = tf.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="REFLECT")
    return tf.ensure_shape(tf.image.random_crop(padded, tf.shape(images)), images.shape)


class Distiller(keras.Model):
    """``converted`` as a model whose loss is the distance of its outputs from those of ``source``.

    Args:
        source: runs in inference mode; none of its weights belong to this model.
        converted: the model that is trained.
        distances: one `keras.losses.Loss` for each output, of (source's, converted's).
        labels_weight: share of the compiled loss, 0..1.
        augment: applied to the inputs of training batches.
        weights: of the distances; by default their mean counts.
    """

    def __init__(
        self,
        source,
        converted,
        distances: list,
        labels_weight: float = 0.0,
        augment=None,
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

    def call(self, inputs, training=None):
        return self.converted(inputs, training=training)

    def train_step(self, data):
        if self._augment is not None:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            data = (self._augment(x), y, sample_weight)
        return super().train_step(data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        targets, outputs = tree.flatten(self._target(x)), tree.flatten(y_pred)
        samples = _for_each(sample_weight, outputs)
        parts = zip(self._weights, self._distances, targets, outputs, samples, strict=True)
        distance = sum(share * loss(ops.stop_gradient(t), y, weight) for share, loss, t, y, weight in parts)
        if not self.labels_weight:
            return distance
        labels = super().compute_loss(x, y, y_pred, sample_weight, training)
        return (1 - self.labels_weight) * distance + self.labels_weight * labels


def _for_each(sample_weight, outputs: list) -> list:
    """The sample weights of every output, with as many axes as its loss."""
    nested = tree.is_nested(sample_weight)
    weights = tree.flatten(sample_weight) if nested else [sample_weight] * len(outputs)
    return [_with_axes(weight, len(output.shape) - 1) for weight, output in zip(weights, outputs, strict=True)]


def _with_axes(weight, count: int):
    while weight is not None and len(weight.shape) < count:
        weight = ops.expand_dims(weight, -1)
    return weight


# ---- what is near


class RelativeSquaredError(keras.losses.Loss):
    """Squared error relative to the variance of the targets in the batch; both (batch, ...)."""

    def call(self, y_true, y_pred):
        # The share of the mean square keeps a batch of nearly equal targets from counting beyond measure.
        scale = ops.var(y_true) + 0.01 * ops.mean(ops.square(y_true)) + 1e-7
        error = ops.square(y_pred - y_true) / scale
        return ops.mean(error, axis=-1) if len(error.shape) > 1 else error


class SoftmaxDivergence(keras.losses.Loss):
    """Kullback-Leibler divergence of class shares at a temperature (Hinton et al. 2015, section 2).

    Args:
        temperature: logits are divided by it; its square scales the result, so that gradients stay of one size.
        axis: of the classes.
        from_logits: whether outputs are logits; else probabilities.
    """

    def __init__(self, temperature: float, axis: int = -1, from_logits: bool = False):
        super().__init__()
        self.temperature, self.axis, self.from_logits = temperature, axis, from_logits

    def call(self, y_true, y_pred):
        expected, found = (self._log_shares(y) for y in (y_true, y_pred))
        return self.temperature**2 * ops.sum(ops.exp(expected) * (expected - found), axis=self.axis)

    def _log_shares(self, outputs):
        # Logarithms of shares are logits but for a number added to all of them.
        logits = outputs if self.from_logits else ops.log(ops.maximum(outputs, 1e-7))
        return ops.log_softmax(logits / self.temperature, axis=self.axis)


class SigmoidDivergence(keras.losses.Loss):
    """`SoftmaxDivergence` of outputs that are each a probability of its own; (batch, ...)."""

    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature

    def call(self, y_true, y_pred):
        expected, found = (self._logits(y) for y in (y_true, y_pred))
        share = ops.sigmoid(expected)
        yes = share * (ops.log_sigmoid(expected) - ops.log_sigmoid(found))
        no = (1 - share) * (ops.log_sigmoid(-expected) - ops.log_sigmoid(-found))
        error = self.temperature**2 * (yes + no)
        return ops.mean(error, axis=-1) if len(error.shape) > 1 else error

    def _logits(self, outputs):
        outputs = ops.clip(outputs, 1e-6, 1 - 1e-6)
        return (ops.log(outputs) - ops.log(1 - outputs)) / self.temperature


@dataclass(frozen=True)
class _Kind:
    """What an output of the source is: 'softmax' over ``axis``, 'sigmoid' or 'linear' (anything else)."""

    name: str
    axis: int = -1


def _distance(kind: _Kind, temperature: float | None) -> keras.losses.Loss:
    if kind.name == "sigmoid":
        return SigmoidDivergence(temperature or TEMPERATURE)
    if kind.name == "softmax":
        return SoftmaxDivergence(temperature or TEMPERATURE, kind.axis)
    return RelativeSquaredError() if temperature is None else SoftmaxDivergence(temperature, from_logits=True)


def _output_kind(graph: CallGraph, number: int) -> _Kind:
    """By the call that makes an output; calls that only shape or pass on its values are looked through."""
    shape = graph.tensors[number].shape
    while True:
        call = graph.producer(number)
        if call.kind != BOUNDARY and call.class_name not in ("Reshape", "Flatten", "Dropout", "Identity"):
            break
        number = call.inputs[0]
    name = activation_name(getattr(call.operation, "activation", None))
    name = call.class_name.lower() if call.class_name in ("Softmax", "Sigmoid") else name
    axis = getattr(call.operation, "axis", -1) if call.class_name == "Softmax" else -1
    if name == "sigmoid":
        return _Kind(name)
    made = graph.tensors[number].shape
    same_axis = isinstance(axis, int) and (shape == made or (axis in (-1, len(made) - 1) and shape[-1] == made[-1]))
    if name == "softmax" and same_axis:
        return _Kind(name, axis if shape == made else -1)
    return _Kind("linear")


def _labels_loss(given, source, kinds: list[_Kind]):
    if given is not None:
        return given
    if getattr(source, "compiled", False) and source.loss is not None:
        return source.loss
    guessed = [_guessed_loss(kind) for kind in kinds]
    return tree.pack_sequence_as(source.output, guessed)


def _guessed_loss(kind: _Kind) -> Callable:
    logits = kind.name == "linear"

    def labels_loss(y_true, y_pred):
        """Class numbers are told by their shape: they have one number where the output has several."""
        if kind.name == "sigmoid":
            return keras.losses.binary_crossentropy(y_true, y_pred)
        numbers = len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and y_pred.shape[-1] != 1)
        if numbers:
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=logits, axis=kind.axis)
        if kind.name == "softmax":
            return keras.losses.categorical_crossentropy(y_true, y_pred, axis=kind.axis)
        return keras.losses.mean_squared_error(y_true, y_pred)

    return labels_loss


# ---- the optimizer


def _optimizer(given, rate, steps: int, converted):
    if given is None:
        given = muon_for(converted, rate if callable(rate) else falling_rate(rate, steps))
    given = keras.optimizers.get(given)
    half = any(layer.compute_dtype == "float16" for layer in converted._flatten_layers())
    if half and not isinstance(given, keras.optimizers.LossScaleOptimizer):
        # compile() would do so for a model that computes in float16; the Distiller only holds such a one.
        return keras.optimizers.LossScaleOptimizer(given)
    return given


def falling_rate(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up to ``peak`` over the first `WARM_UP` of the steps, then down to 0 along a cosine."""
    rising = math.ceil(WARM_UP * steps)
    falling = max(1, steps - rising)
    return keras.optimizers.schedules.CosineDecay(0.0, falling, warmup_target=peak, warmup_steps=rising)


@contextlib.contextmanager
def changed(layers: Iterable, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Gives an attribute of every layer another value, ``change`` of what it is, and puts back what was."""
    found = [(layer, getattr(layer, name)) for layer in layers]
    try:
        for layer, value in found:
            setattr(layer, name, change(value))
        yield
    finally:
        for layer, value in found:  # in the order as given: a model's ``trainable`` reaches into its layers
            setattr(layer, name, value)


def _normalizations(model) -> list:
    return [each for each in model._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]


def _quick_statistics(model, steps: int):
    """BatchNormalization's running statistics remember a twentieth of the steps, if not fewer of their own accord.

    With Keras' default momentum they take some hundred steps to follow the weights; a short training ends before.
    """
    return changed(_normalizations(model), "momentum", lambda momentum: min(momentum, max(0.0, 1 - 20 / steps)))


def _kept_statistics(model):
    """BatchNormalization as at inference; its scale and offset stay with the statistics that they belong to."""
    return changed(_normalizations(model), "trainable", lambda trainable: False)


@contextlib.contextmanager
def _finite_or_back(model) -> Iterator[None]:
    """Puts the weights back where they are no numbers in the end."""
    before = model.get_weights()
    yield
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        model.set_weights(before)
        raise CheckError(
            "the loss is no number: the training diverged, or the data hold nan; the weights are as before"
        )


def _distance_at_start(source, converted, data: _Data) -> float:
    """Relative squared error of the outputs on the first batch.

    Raises:
        InputError: the outputs are no numbers.
    """
    x = tree.map_structure(lambda part: part[:LOOKED_AT], data.first_inputs())
    found = [tree.flatten(model(x, training=False)) for model in (source, converted)]
    for whose, outputs in zip(("the source's", "the converted model's"), found, strict=True):
        if not all(bool(ops.all(ops.isfinite(output))) for output in outputs):
            raise InputError(f"{whose} outputs on the first batch are not finite")
    errors = [float(ops.mean(RelativeSquaredError()(a, b))) for a, b in zip(*found, strict=True)]
    return sum(errors) / len(errors)


# ---- the data


@dataclass(frozen=True, eq=False)
class _Data:
    """Data as ``fit`` takes it.

    Attributes:
        x, y, sample_weight: arrays; or ``x`` alone, which gives batches.
        steps: batches of an epoch.
        first: the first batch, what is known of it, or all data: (x, labels or None, sample weights or None).
        is_endless: whether ``fit`` must be told ``steps``.
    """

    x: Any
    y: Any
    sample_weight: Any
    steps: int
    first: tuple
    is_endless: bool = False

    def first_inputs(self):
        """The inputs of the first batch, or all there are."""
        if isinstance(self.x, tf.data.Dataset):
            return keras.utils.unpack_x_y_sample_weight(next(iter(self.x)))[0]
        return self.first[0]

    @property
    def for_validation(self):
        return self.x if self.y is None else (self.x, self.y, self.sample_weight)


def _read(data, steps: int | None, *, name: str, model, batch_size: int, need_labels: bool) -> _Data:
    if isinstance(data, tf.data.Dataset):
        found = _batches(data, data.element_spec, steps or _cardinality(data))
    elif isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        found = _batches(data, data[0] if count != 0 else None, steps or count)
    elif isinstance(data, (tuple, list, dict)) or hasattr(data, "dtype"):
        found = _arrays(data, steps, batch_size)
    elif isinstance(data, Iterable) and not isinstance(data, str):
        found = _iterable(data, steps)
    else:
        raise InputError(f"{name}: expected arrays or batches, received {type(data).__name__}")
    if found.steps == 0:
        raise InputError(f"{name}: holds no samples")
    if found.steps is None:
        raise UsageError(f"{name} has no length" + (": give steps_per_epoch" if name == "data" else ""))
    _check_first(found.first, model, name, need_labels)
    return found


def _batches(data, first, steps, is_endless: bool = False) -> _Data:
    return _Data(data, None, None, steps, keras.utils.unpack_x_y_sample_weight(first), is_endless)


def _arrays(data, steps: int | None, batch_size: int) -> _Data:
    x, y, sample_weight = parts = keras.utils.unpack_x_y_sample_weight(data if isinstance(data, tuple) else (data,))
    flat = tree.flatten(x)
    count = len(flat[0]) if flat else 0
    return _Data(x, y, sample_weight, count and (steps or -(-count // batch_size)), parts)


def _iterable(data, steps: int | None) -> _Data:
    """A generator for ``fit``, endless if the data can be gone through again."""
    if steps is None and hasattr(data, "__len__"):
        steps = len(data)
    batches = iter(data)
    first = next(batches, None)
    if first is None:
        return _Data(data, None, None, 0, (None, None, None))
    again = itertools.chain.from_iterable(itertools.repeat(data)) if iter(data) is not data else ()
    return _batches(_generator(itertools.chain([first], batches, again)), first, steps, is_endless=True)


def _generator(batches: Iterable) -> Iterator[tuple]:
    """Keras wants tuples, of arrays, from a generator in the narrow sense."""
    for batch in batches:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tree.map_structure(np.asarray, batch))
        yield (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)


def _cardinality(data: tf.data.Dataset) -> int | None:
    """Batches of one epoch; counted, where the dataset does not know."""
    count = int(data.cardinality())
    if count == tf.data.UNKNOWN_CARDINALITY:
        return int(data.reduce(np.int64(0), lambda counted, *_: counted + 1))
    return None if count == tf.data.INFINITE_CARDINALITY else count


# ---- checks


def _check_first(first: tuple, model, name: str, need_labels: bool) -> None:
    x, y, _ = first
    if need_labels and y is None:
        raise UsageError(f"labels_weight is above 0, but {name} holds no labels")
    parts, inputs = tree.flatten(x), model.inputs
    if len(parts) != len(inputs):
        how = "" if len(inputs) == 1 else "; give them as a list or dict, with labels as ([x1, x2], labels)"
        raise InputError(f"{name}: the model takes {plural(len(inputs), 'input')}, received {len(parts)}{how}")
    ranks = [getattr(getattr(part, "shape", None), "rank", np.ndim(part)) for part in parts]
    expected = [len(tensor.shape) for tensor in inputs]
    if None not in ranks and sorted(ranks) != sorted(expected):  # sorted: a dict has an order of its own
        raise InputError(f"{name}: the model takes batches with {expected} axes, received {ranks}")


def _check_numbers(epochs, labels_weight, temperature, batch_size, steps_per_epoch) -> None:
    limits.whole("epochs", epochs)
    limits.whole("batch_size", batch_size)
    if steps_per_epoch is not None:
        limits.whole("steps_per_epoch", steps_per_epoch)
    if not limits.is_number(labels_weight) or not 0 <= labels_weight <= 1:
        raise UsageError(f"labels_weight takes a share, 0..1, received {limits.shown(labels_weight)}")
    if temperature is not None and not (limits.is_number(temperature) and temperature > 0):
        raise UsageError(f"temperature takes a number above 0, received {limits.shown(temperature)}")


def _check_models(source, converted) -> CallGraph:
    """The source's graph."""
    graph = build_graph(source)
    build_graph(converted)
    for what in ("inputs", "outputs"):
        shapes = [[tuple(tensor.shape) for tensor in getattr(model, what)] for model in (source, converted)]
        if shapes[0] != shapes[1]:
            raise InputError(f"the models' {what} differ: {shapes[0]} in the source, {shapes[1]} in the converted one")
    shared = {id(weight) for weight in source.weights} & {id(weight) for weight in converted.weights}
    if shared:
        raise InputError("source and converted model share weights; the source would be trained, too")
    if not converted.trainable_weights:
        raise InputError(f"model '{converted.name}' has no trainable weights")
    return graph
