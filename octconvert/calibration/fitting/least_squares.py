"""Ridge regression from Gram matrices alone: rows come in batches and are not kept.

Two folds are kept apart: the strength of the ridge is chosen on the second, for a fit to the first, and the result is
then fitted to both. The ridge pulls towards prior weights, so with few or empty rows these are the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from octconvert.model.tensors import BackendTensor

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
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


class NormalEquations:
    """Sums over rows: Gram matrix, products with the targets, energy of the targets; (blocks, ...) each, two folds."""

    def __init__(self, blocks: int, features: int, outputs: int):
        self.count = np.zeros(2)
        self.gram = np.zeros((2, blocks, features, features))
        self.product = np.zeros((2, blocks, features, outputs))
        self.energy = np.zeros((2, blocks, outputs))
        self.total = np.zeros((2, blocks, outputs))

    def add(self, rows: BackendTensor, targets: BackendTensor, fold: int) -> None:
        """``rows`` (blocks, n, features), ``targets`` (blocks, n, outputs)."""
        transposed = ops.transpose(rows, (0, 2, 1))
        self.count[fold] += rows.shape[1]
        self.gram[fold] += ops.convert_to_numpy(ops.matmul(transposed, rows))
        self.product[fold] += ops.convert_to_numpy(ops.matmul(transposed, targets))
        self.energy[fold] += ops.convert_to_numpy(ops.sum(ops.square(targets), axis=1))
        self.total[fold] += ops.convert_to_numpy(ops.sum(targets, axis=1))

    def error(self, weights: np.ndarray, fold: int) -> np.ndarray:
        """Squared error of each output, summed over the rows of a fold: (blocks, outputs)."""
        quadratic = np.einsum("bfo,bfo->bo", weights, self.gram[fold] @ weights)
        linear = np.einsum("bfo,bfo->bo", weights, self.product[fold])
        return np.maximum(quadratic - 2 * linear + self.energy[fold], 0.0)

    def variance(self, fold: int) -> float:
        """Squared deviation of the targets from their means, summed."""
        mean = self.total[fold] / max(self.count[fold], 1)
        return float((self.energy[fold] - mean * self.total[fold]).sum())

    def solve(self, priors: list[np.ndarray]) -> Solution:
        """The best weights; ``priors``: the weights before, and others the ridge may pull towards."""
        before = float(self.error(priors[0], 1).sum())
        scale = max(self.variance(1), 1e-30)
        finite = np.isfinite(self.gram).all() and np.isfinite(self.product).all()
        unchanged = Solution(priors[0], before / scale, before / scale, np.inf)
        if not finite or not self.count.all():
            return unchanged
        prior = min(priors, key=lambda weights: float(self.error(weights, 0).sum()))
        error, ridge = self._best_ridge(prior)
        of_prior = float(self.error(prior, 1).sum())
        if not min(error, of_prior) < before:
            return unchanged
        if of_prior <= error:
            return Solution(prior, before / scale, of_prior / scale, np.inf)
        weights = _ridge(self.gram.sum(axis=0), self.product.sum(axis=0), prior, ridge)
        return Solution(weights, before / scale, error / scale, ridge)

    def _best_ridge(self, prior: np.ndarray) -> tuple[float, float]:
        """(error, strength): from the middle down, or up, for as long as the error on the second fold falls."""
        tried: dict[int, float] = {}

        def error(i: int) -> float:
            if i not in tried:
                tried[i] = float(self.error(_ridge(self.gram[0], self.product[0], prior, RIDGES[i]), 1).sum())
            return tried[i]

        best = len(RIDGES) // 2
        for step in (-1, 1):
            while 0 <= best + step < len(RIDGES) and error(best + step) < error(best):
                best += step
        return error(best), RIDGES[best]


def _ridge(gram: np.ndarray, product: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """argmin |rows @ w - targets|^2 + strength * mean diagonal * |w - prior|^2, block by block."""
    features = gram.shape[-1]
    scale = np.trace(gram, axis1=1, axis2=2) / features
    penalty = np.maximum(strength * scale, 1e-12)[:, None, None] * np.eye(features)
    return prior + np.linalg.solve(gram + penalty, product - gram @ prior)
