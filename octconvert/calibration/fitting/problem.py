"""One regression of one layer while its rows come in, and where its intercept goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from octconvert.calibration.alignment import AlignedCall, Alignment
from octconvert.calibration.fitting.least_squares import Equations, FewRows, Solution
from octconvert.calibration.fitting.linear import Regression, draw_positions
from octconvert.model.tensors import BackendTensor


class Intercept:
    """Where an intercept is stored: the layer's bias, or the moving mean of the normalisation behind the layer.

    Args:
        variable: the bias or the moving mean.
        mean: the moving mean in the source; None for a bias.
    """

    def __init__(self, variable: keras.Variable, mean: np.ndarray | None = None):
        self._variable, self._mean = variable, mean

    def get(self) -> np.ndarray:
        value = np.asarray(ops.convert_to_numpy(self._variable), dtype="float64")
        return value if self._mean is None else self._mean - value

    def put(self, values: np.ndarray) -> None:
        self._variable.assign(values if self._mean is None else self._mean - values)


@dataclass(eq=False)
class Problem:
    """One output of one layer as equations.

    Attributes:
        regression: the output, written as a regression.
        intercept: where its intercept is stored; None: it has none.
        equations: of the rows so far; None before the first.
    """

    regression: Regression
    intercept: Intercept | None
    equations: Equations | None = None

    def add(
        self, rng: np.random.Generator, inputs: Sequence[BackendTensor], target: BackendTensor, limit: int, fold: int
    ) -> None:
        """Add rows at no more than ``limit`` positions of one batch; ``target``: see `Target.compute`."""
        regression = self.regression
        positions = draw_positions(rng, regression.last(target).shape, limit)
        rows = ops.cast(regression.rows(inputs, positions), "float32")
        targets = ops.cast(regression.targets(target, positions), "float32")
        if self.intercept is not None:
            rows = ops.concatenate([rows, ops.ones((*rows.shape[:2], 1))], axis=-1)
        importance = regression.importance(inputs, positions)
        if importance.min(initial=1.0) < 1.0:
            root = np.sqrt(importance)[:, None]
            rows, targets = rows * root, targets * root
        if self.equations is None:
            self.equations = FewRows(rows.shape[0], rows.shape[-1], targets.shape[-1])
        self.equations = self.equations.add(rows, targets, fold)

    def prior(self, values: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """The layer's weights, or ``values`` in their place, as the regression has them; with the intercept."""
        weights = self.regression.weights(values)
        if self.intercept is None:
            return weights
        return np.concatenate([weights, self.intercept.get().reshape(len(weights), 1, -1)], axis=1)

    def solve(self, others: Sequence[Mapping[str, np.ndarray]]) -> Solution | None:
        """Solve, and assign the weights where that changes them; None where there are no rows.

        Args:
            others: further weights by name that the ridge may pull to.
        """
        if self.equations is None:
            return None
        solution = self.equations.solve([self.prior(), *map(self.prior, others)])
        if solution.changed:
            weights = solution.weights
            if self.intercept is not None:
                self.intercept.put(weights[:, -1].reshape(-1))
                weights = weights[:, :-1]
            self.regression.assign(weights)
        return solution


def intercept_of(alignment: Alignment, calls: Sequence[AlignedCall], regression: Regression) -> Intercept | None:
    """Where the intercept of a regression is stored; None: it has none. ``calls``: all those of its layer."""
    if regression.bias_variable is not None:
        return Intercept(regression.bias_variable)
    behind = [_normalization_behind(alignment, aligned, regression.output) for aligned in calls]
    first = behind[0]
    if first is None or any(other is None or other.layer is not first.layer for other in behind):
        return None
    if not any(group[0].layer is first.layer and len(group) == len(calls) for group in alignment.layers):
        return None  # it normalises the outputs of other layers as well
    mean = alignment.own_channels(first, first.source.operation.moving_mean)
    variable = first.layer.moving_mean
    return Intercept(variable, mean) if mean.shape == tuple(variable.shape) else None


def _normalization_behind(alignment: Alignment, aligned: AlignedCall, output: int) -> AlignedCall | None:
    """The BatchNormalization that alone reads an output of a call."""
    tensor = aligned.call.outputs[output]
    consumers = alignment.converted.consumers.get(tensor, ())
    if len(consumers) != 1 or tensor in alignment.converted.outputs:
        return None
    behind = next((each for each in alignment.calls if each.call is consumers[0]), None)
    is_one = behind is not None and isinstance(behind.layer, keras.layers.BatchNormalization)
    return behind if is_one else None
