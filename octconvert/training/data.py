"""Training data of every form that ``fit`` takes, as one value."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from octconvert.errors import InputError, UsageError
from octconvert.text.words import plural


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Data as ``fit`` takes it.

    Attributes:
        x, y, sample_weight: arrays; or ``x`` alone, which yields batches.
        steps: batches of an epoch; None where the data have no length.
        first: the first batch, or its specification, or all data: (x, labels or None, sample weights or None).
        is_endless: whether ``fit`` needs ``steps``.
    """

    x: Any
    y: Any
    sample_weight: Any
    steps: int
    first: tuple[Any, Any, Any]
    is_endless: bool = False

    def first_inputs(self) -> Any:
        """The inputs of the first batch, or of all samples."""
        if isinstance(self.x, tf.data.Dataset):
            return keras.utils.unpack_x_y_sample_weight(next(iter(self.x)))[0]
        return self.first[0]

    @property
    def for_validation(self) -> Any:
        return self.x if self.y is None else (self.x, self.y, self.sample_weight)


def read_training_data(
    data: Any, steps: int | None, *, name: str, model: keras.Model, batch_size: int, need_labels: bool
) -> TrainingData:
    """
    Args:
        data: arrays, or batches of any kind.
        steps: batches of an epoch; None: all there are.
        name: of the argument, for messages.
        model: takes the data.
        batch_size: of arrays.
        need_labels: whether the data have to contain labels.

    Raises:
        InputError: no samples, or not what the model takes.
        UsageError: no labels, or no length.
    """
    if isinstance(data, tf.data.Dataset):
        result = _batches(data, data.element_spec, steps or _cardinality(data))
    elif isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        result = _batches(data, data[0] if count != 0 else None, steps or count)
    elif isinstance(data, (tuple, list, dict)) or hasattr(data, "dtype"):
        result = _arrays(data, steps, batch_size)
    elif isinstance(data, Iterable) and not isinstance(data, str):
        result = _iterable(data, steps)
    else:
        raise InputError(f"{name}: expected arrays or batches, received {type(data).__name__}")
    if result.steps == 0:
        raise InputError(f"{name}: contains no samples")
    if result.steps is None:
        raise UsageError(f"{name} has no length" + (": give `steps_per_epoch`" if name == "data" else ""))
    _check_first(result.first, model, name, need_labels)
    return result


def _batches(data: Any, first: Any, steps: Any, is_endless: bool = False) -> TrainingData:
    return TrainingData(data, None, None, steps, keras.utils.unpack_x_y_sample_weight(first), is_endless)


def _arrays(data: Any, steps: int | None, batch_size: int) -> TrainingData:
    x, y, sample_weight = parts = keras.utils.unpack_x_y_sample_weight(data if isinstance(data, tuple) else (data,))
    flat = tree.flatten(x)
    count = len(flat[0]) if flat else 0
    return TrainingData(x, y, sample_weight, count and (steps or -(-count // batch_size)), parts)


def _iterable(data: Any, steps: int | None) -> TrainingData:
    """A generator for ``fit``; endless if the data can be iterated over again."""
    if steps is None and hasattr(data, "__len__"):
        steps = len(data)
    batches = iter(data)
    first = next(batches, None)
    if first is None:
        return TrainingData(data, None, None, 0, (None, None, None))
    again = itertools.chain.from_iterable(itertools.repeat(data)) if iter(data) is not data else ()
    return _batches(_generator(itertools.chain([first], batches, again)), first, steps, is_endless=True)


def _generator(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Keras expects tuples of arrays, from a generator and from no other iterator."""
    for batch in batches:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tree.map_structure(np.asarray, batch))
        yield (x,) if y is None else (x, y) if sample_weight is None else (x, y, sample_weight)


def _cardinality(data: tf.data.Dataset) -> int | None:
    """Batches of one epoch; counted where the dataset does not know."""
    count = int(data.cardinality())
    if count == tf.data.UNKNOWN_CARDINALITY:
        return int(data.reduce(np.int64(0), lambda counted, *_: counted + 1))
    return None if count == tf.data.INFINITE_CARDINALITY else count


def _check_first(first: tuple[Any, Any, Any], model: keras.Model, name: str, need_labels: bool) -> None:
    x, y, _ = first
    if need_labels and y is None:
        raise UsageError(f"labels_weight is above 0, but {name} contains no labels")
    parts, inputs = tree.flatten(x), model.inputs
    if len(parts) != len(inputs):
        hint = "" if len(inputs) == 1 else "; give them as a list or dict, with labels as ([x1, x2], labels)"
        raise InputError(f"{name}: the model expects {plural(len(inputs), 'input')}, received {len(parts)}{hint}")
    ranks = [getattr(getattr(part, "shape", None), "rank", np.ndim(part)) for part in parts]
    expected = [len(tensor.shape) for tensor in inputs]
    if None not in ranks and sorted(ranks) != sorted(expected):  # sorted: a dict has an order of its own
        raise InputError(f"{name}: the model expects batches with {expected} axes, received {ranks}")
