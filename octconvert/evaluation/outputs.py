"""The first output of a model: its shape for one sample, and how classes are read from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octconvert.model.graph import CallGraph, Shape
from octconvert.model.shapes import with_input_shapes
from octconvert.rules import traits_of
from octconvert.rules.outputs import value_maker
from octconvert.samples import Samples


@dataclass(frozen=True)
class OutputForm:
    """What the first output is for one sample.

    Attributes:
        shape: with at least one axis; None for an unknown size.
        axis: of the classes in ``shape``.
        is_probability: whether a sigmoid makes its values.
    """

    shape: Shape
    axis: int
    is_probability: bool

    @classmethod
    def of(cls, graph: CallGraph, samples: Samples) -> OutputForm:
        """Of a model for samples of their size. A map of one pixel is a vector where the labels are no maps.

        Raises:
            InputError: the model does not work at the size of the samples.
        """
        sized = _at_size_of(graph, samples)
        shape = tuple(sized.tensors[sized.outputs[0]].shape[1:]) or (1,)
        axis = graph.axis_of_channels((None, *shape)) - 1
        activation = traits_of(value_maker(graph, graph.outputs[0]).operation).activation
        is_probability = activation is not None and activation.name == "sigmoid"
        form = cls(shape, axis, is_probability)
        of_maps = samples.labels is not None and samples.labels.ndim > 2
        is_vector = all(size == 1 for size in form.positions) and not of_maps
        return cls((shape[axis],), 0, is_probability) if is_vector else form

    @property
    def classes(self) -> int | None:
        """The number of classes, two for a single value; None: unknown."""
        size = self.shape[self.axis]
        return 2 if size == 1 else size

    @property
    def is_single(self) -> bool:
        """Whether there is one value, which says yes or no."""
        return self.shape[self.axis] == 1

    @property
    def positions(self) -> Shape:
        """The shape without the axis of the classes: () for a vector."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    def arranged(self, outputs: np.ndarray) -> np.ndarray:
        """A batch of outputs as (samples, \\*shape)."""
        return outputs.reshape(len(outputs), -1) if len(self.shape) == 1 else outputs

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """The class numbers of a batch, (samples, \\*positions): of the largest value; -1 where one is nan."""
        outputs, axis = self.arranged(outputs), self.axis + 1
        middle = 0.5 if self.is_probability else 0.0  # else it is a logit
        numbers = np.take(outputs, 0, axis) > middle if self.is_single else outputs.argmax(axis)
        return np.where(np.isnan(outputs).any(axis), -1, numbers)


def _at_size_of(graph: CallGraph, samples: Samples) -> CallGraph:
    shapes = [graph.tensors[number].shape for number in graph.inputs]
    if all(None not in shape[1:] for shape in shapes):
        return graph
    own = [(shape[0], *array.shape[1:]) for shape, array in zip(shapes, samples.arrays, strict=True)]
    return with_input_shapes(graph, own)
