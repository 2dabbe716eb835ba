"""Ridge regression whose rows come in batches: from their Gram matrix alone, or from the rows where they are few.

Two folds are kept apart: the strength of the ridge is chosen on the second, for a fit to the first, and the result is
then fitted to both. The ridge pulls towards prior weights, so with few or empty rows these are the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from octconvert.model.tensors import BackendTensor

RIDGES = (1e-5, 3e-4, 1e-2, 0.3, 10.0)
"""Strengths to choose from, in units of the Gram matrix's mean diagonal; the middle one is tried first."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of a fit.

    Attributes:
        weights: (blocks, features, outputs); the last feature is the intercept where there is one.
        before, after: mean squared error on the second fold, relative to the targets' variance, of the weights before
            and of the new ones when fitted to the first fold alone.
        ridge: the strength that was chosen; infinite where the weights are those before.
    """

    weights: np.ndarray
    before: float
    after: float
    ridge: float

    @property
    def changed(self) -> bool:
        return self.ridge != np.inf or self.after < self.before


class Equations(ABC):
    """A ridge regression while its rows come in, in two folds."""

    count: np.ndarray
    """Rows of each fold."""

    @abstractmethod
    def add(self, rows: BackendTensor, targets: BackendTensor, fold: int) -> Equations:
        """With more rows: ``rows`` (blocks, n, features), ``targets`` (blocks, n, outputs)."""

    @abstractmethod
    def error(self, weights: np.ndarray, fold: int) -> np.ndarray:
        """Squared error of each output, summed over the rows of a fold: (blocks, outputs)."""

    @abstractmethod
    def variance(self, fold: int) -> float:
        """Squared deviation of the targets from their means, summed."""

    @abstractmethod
    def is_finite(self) -> bool:
        """Whether all sums are."""

    @abstractmethod
    def ridge(self, prior: np.ndarray, strength: float, folds: Sequence[int] = (0, 1)) -> np.ndarray:
        """argmin |rows @ w - targets|^2 + strength * mean diagonal * |w - prior|^2, block by block; the mean diagonal
        is that of the Gram matrix."""

    def solve(self, priors: list[np.ndarray]) -> Solution:
        """The best weights; ``priors``: the weights before, and others the ridge may pull towards."""
        before = float(self.error(priors[0], 1).sum())
        scale = max(self.variance(1), 1e-30)
        unchanged = Solution(priors[0], before / scale, before / scale, np.inf)
        if not self.is_finite() or not self.count.all():
            return unchanged
        prior = min(priors, key=lambda weights: float(self.error(weights, 0).sum()))
        error, ridge = self._best_ridge(prior)
        of_prior = float(self.error(prior, 1).sum())
        if not min(error, of_prior) < before:
            return unchanged
        if of_prior <= error:
            return Solution(prior, before / scale, of_prior / scale, np.inf)
        return Solution(self.ridge(prior, ridge), before / scale, error / scale, ridge)

    def _best_ridge(self, prior: np.ndarray) -> tuple[float, float]:
        """(error, strength): from the middle down, or up, for as long as the error on the second fold falls."""
        tried: dict[int, float] = {}

        def error(i: int) -> float:
            if i not in tried:
                tried[i] = float(self.error(self.ridge(prior, RIDGES[i], (0,)), 1).sum())
            return tried[i]

        best = len(RIDGES) // 2
        for step in (-1, 1):
            while 0 <= best + step < len(RIDGES) and error(best + step) < error(best):
                best += step
        return error(best), RIDGES[best]


class FewRows(Equations):
    """The rows themselves, for as long as they are fewer than features; then their sums, as `NormalEquations`.

    Solved in as many unknowns as there are rows (Saunders et al. 1998, "Ridge regression learning algorithm in dual
    variables"): a late layer of a large network has thousands of features, and a small map few rows.
    """

    def __init__(self, blocks: int, features: int, outputs: int):
        self.count = np.zeros(2)
        self._shape = blocks, features, outputs
        self._rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self._targets: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self._joined: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._products: dict[tuple[int, ...], np.ndarray] = {}

    def add(self, rows: BackendTensor, targets: BackendTensor, fold: int) -> Equations:
        """With more rows: ``rows`` (blocks, n, features), ``targets`` (blocks, n, outputs)."""
        if self.count.sum() + rows.shape[1] < self._shape[1]:
            self._rows[fold].append(ops.convert_to_numpy(rows))
            self._targets[fold].append(ops.convert_to_numpy(targets))
            self.count[fold] += rows.shape[1]
            self._joined.clear()
            self._products.clear()
            return self
        sums = NormalEquations(*self._shape)
        for each in range(2):
            for own, theirs in zip(self._rows[each], self._targets[each], strict=True):
                sums.add(ops.convert_to_tensor(own), ops.convert_to_tensor(theirs), each)
        return sums.add(rows, targets, fold)

    def error(self, weights: np.ndarray, fold: int) -> np.ndarray:
        rows, targets = self._of((fold,))
        return np.square(rows @ weights - targets).sum(axis=1)

    def variance(self, fold: int) -> float:
        _, targets = self._of((fold,))
        return float(np.square(targets - targets.mean(axis=1, keepdims=True)).sum()) if targets.size else 0.0

    def is_finite(self) -> bool:
        return all(np.isfinite(each).all() for fold in range(2) for each in self._of((fold,)))

    def ridge(self, prior: np.ndarray, strength: float, folds: Sequence[int] = (0, 1)) -> np.ndarray:
        rows, targets = self._of(folds)
        transposed, key = rows.transpose(0, 2, 1), tuple(folds)
        if key not in self._products:
            self._products[key] = rows @ transposed
        products = self._products[key]
        scale = np.trace(products, axis1=1, axis2=2) / rows.shape[-1]
        penalty = _penalty(strength, scale, rows.shape[1])
        return prior + transposed @ np.linalg.solve(products + penalty, targets - rows @ prior)

    def _of(self, folds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(rows, targets), float64."""
        (blocks, features, outputs), key = self._shape, tuple(folds)
        if key not in self._joined:
            rows = [np.empty((blocks, 0, features)), *(part for fold in folds for part in self._rows[fold])]
            targets = [np.empty((blocks, 0, outputs)), *(part for fold in folds for part in self._targets[fold])]
            self._joined[key] = np.concatenate(rows, axis=1), np.concatenate(targets, axis=1)
        return self._joined[key]


class NormalEquations(Equations):
    """Sums over rows: Gram matrix, products with the targets, energy of the targets; (blocks, ...) each, two folds."""

    def __init__(self, blocks: int, features: int, outputs: int):
        self.count = np.zeros(2)
        self.gram = np.zeros((2, blocks, features, features))
        self.product = np.zeros((2, blocks, features, outputs))
        self.energy = np.zeros((2, blocks, outputs))
        self.total = np.zeros((2, blocks, outputs))

    def add(self, rows: BackendTensor, targets: BackendTensor, fold: int) -> NormalEquations:
        transposed = ops.transpose(rows, (0, 2, 1))
        self.count[fold] += rows.shape[1]
        self.gram[fold] += ops.convert_to_numpy(ops.matmul(transposed, rows))
        self.product[fold] += ops.convert_to_numpy(ops.matmul(transposed, targets))
        self.energy[fold] += ops.convert_to_numpy(ops.sum(ops.square(targets), axis=1))
        self.total[fold] += ops.convert_to_numpy(ops.sum(targets, axis=1))
        return self

    def error(self, weights: np.ndarray, fold: int) -> np.ndarray:
        quadratic = np.einsum("bfo,bfo->bo", weights, self.gram[fold] @ weights)
        linear = np.einsum("bfo,bfo->bo", weights, self.product[fold])
        return np.maximum(quadratic - 2 * linear + self.energy[fold], 0.0)

    def variance(self, fold: int) -> float:
        mean = self.total[fold] / max(self.count[fold], 1)
        return float((self.energy[fold] - mean * self.total[fold]).sum())

    def is_finite(self) -> bool:
        return bool(np.isfinite(self.gram).all() and np.isfinite(self.product).all())

    def ridge(self, prior: np.ndarray, strength: float, folds: Sequence[int] = (0, 1)) -> np.ndarray:
        gram, product = (sum(each[fold] for fold in folds) for each in (self.gram, self.product))
        features = gram.shape[-1]
        penalty = _penalty(strength, np.trace(gram, axis1=1, axis2=2) / features, features)
        return prior + np.linalg.solve(gram + penalty, product - gram @ prior)


def _penalty(strength: float, scale: np.ndarray, size: int) -> np.ndarray:
    """Diagonal matrices, one a block."""
    return np.maximum(strength * scale, 1e-12)[:, None, None] * np.eye(size)
