"""The optimizer of the trainings: Muon (Jordan 2024; Liu et al. 2025, arXiv 2502.16982), for convolutions as well."""

from __future__ import annotations

import keras
from keras import ops

LEAST_OUTPUTS = 2
"""A kernel with fewer outputs for each input is no matrix: each of its columns stands alone (depthwise kernels)."""


@keras.saving.register_keras_serializable("octconvert")
class Muon(keras.optimizers.Muon):
    """`keras.optimizers.Muon` that takes a convolution's kernel for a matrix, (rows * columns * inputs, outputs).

    Keras' own leaves all but matrices to Adam. Inputs of a convolution are much alike, from place to place and behind
    rectifiers; an update that is orthogonal moves as far along what they do not share, and trainings as short as ours
    come about as near in half of the steps. Vectors, depthwise kernels and the layers named in
    ``exclude_layers`` are left to Adam. No weight decay: the weights are good to begin with.
    """

    def __init__(self, learning_rate=1e-3, **arguments):
        super().__init__(learning_rate, **{"weight_decay": None, "adam_weight_decay": None, **arguments})

    def _should_use_adamw(self, variable):
        kernel = len(variable.shape) in (2, 4) and min(variable.shape[-2:]) >= LEAST_OUTPUTS
        return not kernel or bool(set(self.exclude_layers) & set(variable.path.split("/")))

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, gradient + m * (self.momentum - 1))
        update = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(update, (-1, variable.shape[-1]))
        matrix = self.lr_adjust(self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, lr * ops.reshape(matrix, variable.shape))


def muon_for(model, learning_rate) -> Muon:
    """For a Functional or Sequential model; its output layers, as usual with Muon, are left to Adam."""
    names = [tensor._keras_history.operation.name for tensor in model.outputs]
    return Muon(learning_rate, exclude_layers=names)
