"""Labels: what they are beside a model's first output, and how a metric reads a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from octconvert.errors import InputError
from octconvert.evaluation.outputs import OutputForm
from octconvert.model.graph import Shape
from octconvert.samples.chunks import CHUNK, pieces
from octconvert.samples.inputs import fits

Reader: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A batch of labels -> the same as a metric takes them."""
VOID = 255
"""Label of positions that belong to no class, as in PASCAL VOC and Cityscapes."""
_CLOSE = 1e-3
"""How far a sum of probabilities may be from 1."""


@dataclass(frozen=True)
class LabelFacts:
    """What is known of all labels.

    Attributes:
        shape: for one sample.
        whole: whether all are whole numbers.
        least, most: of all, but for `VOID` where that is no class.
        one_hot: whether they are of the outputs' shape, with the sum 1 over the classes.
        varies: whether they are not the same for all samples.
        has_void: whether some are `VOID`, beside the numbers of at least two classes.
    """

    shape: Shape
    whole: bool
    least: float
    most: float
    one_hot: bool
    varies: bool
    has_void: bool = False

    @classmethod
    def of(cls, labels: np.ndarray, form: OutputForm, origin: str) -> LabelFacts:
        """Read all labels once, some at a time.

        Raises:
            InputError: there are none, or some are nan or infinite; the message names ``origin``.
        """
        if not labels.size:
            raise InputError(f"{origin}: the labels are empty, of shape {labels.shape[1:]} for each sample")
        whole, one_hot = True, not form.is_single and fits(form.shape, labels.shape[1:])
        least, most, most_of_others, varies = np.inf, -np.inf, -np.inf, False
        for part in pieces(labels, CHUNK):
            values = np.asarray(part, "float64")
            if not np.isfinite(values).all():
                raise InputError(f"{origin}: labels hold nan or infinity")
            whole = whole and bool((values == np.rint(values)).all())
            varies = varies or bool((values != np.asarray(labels[0])).any())
            least, most = min(least, float(values.min())), max(most, float(values.max()))
            most_of_others = max(most_of_others, float(values.max(initial=-np.inf, where=values != VOID)))
            one_hot = one_hot and bool((np.abs(values.sum(form.axis + 1) - 1) < _CLOSE).all())
        last = VOID if len(form.shape) == 1 or form.classes is None else form.classes - 1
        if most == VOID and 1 <= most_of_others <= last < VOID:
            return cls(labels.shape[1:], whole, least, most_of_others, one_hot, varies, has_void=True)
        return cls(labels.shape[1:], whole, least, most, one_hot, varies)

    def within(self, least: float, most: float) -> bool:
        """Whether all are from ``least`` to ``most``."""
        return least <= self.least and self.most <= most

    @property
    def span(self) -> str:
        """In words."""
        return f"from {self.least:g} to {self.most:g}"


def class_reader(facts: LabelFacts, form: OutputForm) -> Reader | None:
    """Reads class numbers, (samples, \\*positions), from numbers or one-hot; None where the labels are no classes."""
    if form.classes is not None and facts.whole and facts.within(0, form.classes - 1):
        for shape, axis in _number_shapes(form):
            if fits(shape, facts.shape):
                return partial(_numbers, axis)
    vectors = len(form.shape) == 1  # of those the rows may be probabilities; maps of such are images
    if facts.one_hot and facts.within(0, 1) and (facts.whole or vectors):
        return lambda labels: labels.argmax(form.axis + 1)
    return None


def flag_reader(facts: LabelFacts, form: OutputForm) -> Reader | None:
    """Reads labels that say yes or no of each output, (samples, outputs); None where they do not."""
    is_vector = len(form.shape) == 1 and fits(form.shape, facts.shape)
    return _as_they_are if is_vector and facts.whole and facts.within(0, 1) else None


def value_reader(facts: LabelFacts, form: OutputForm) -> Reader | None:
    """Reads labels of the outputs' own shape, (samples, \\*shape); None where they have another one, or another range
    than a sigmoid has."""
    if form.is_probability and not facts.within(0, 1):
        return None
    if fits(form.shape, facts.shape):
        return _as_they_are
    if form.is_single and fits(form.positions, facts.shape):
        return lambda labels: np.expand_dims(labels, form.axis + 1)
    return None


def misfit(facts: LabelFacts, form: OutputForm) -> str:
    """Why labels can be read neither as classes nor as values."""
    output = f"the model's output is {form.shape}"
    if any(fits(shape, facts.shape) for shape, _ in _number_shapes(form)):
        if form.is_single:
            return f"the labels are {facts.span}, and the model's output is a probability"
        if not facts.whole:
            return f"the labels are no class numbers: some are no whole numbers ({facts.span})"
        last = "" if form.classes is None else f"the classes 0 to {form.classes - 1}"
        return f"the labels are {facts.span}, and the model's output has {last or 'an unknown number of classes'}"
    if fits(form.shape, facts.shape):
        return f"the labels are {facts.span}, and the model's output is from 0 to 1"
    return f"labels of shape {facts.shape} for each sample do not fit the model: {output}"


def _number_shapes(form: OutputForm) -> Iterator[tuple[Shape, int | None]]:
    """Shapes of class numbers for one sample, with the axis of size 1 that they have more than the positions."""
    positions = form.positions
    yield positions, None
    for axis in dict.fromkeys((form.axis, len(positions))):
        yield (*positions[:axis], 1, *positions[axis:]), axis


def _numbers(axis: int | None, labels: np.ndarray) -> np.ndarray:
    whole = np.asarray(labels).astype("int64")
    return whole if axis is None else whole.squeeze(axis + 1)


def _as_they_are(labels: np.ndarray) -> np.ndarray:
    return np.asarray(labels, "float32")
