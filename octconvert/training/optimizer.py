"""The optimizer of the trainings: Muon (Jordan 2024; Liu et al. 2025, arXiv 2502.16982), for convolutions as well."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from octconvert.model.tensors import BackendTensor
from octconvert.training.schedule import warm_up_cosine

LEAST_OUTPUTS = 2
"""A kernel with fewer outputs for each input is no matrix: its columns are independent (depthwise kernels)."""


@keras.saving.register_keras_serializable("octconvert")
class Muon(keras.optimizers.Muon):
    """`keras.optimizers.Muon` that takes a convolution's kernel for a matrix, (rows * columns * inputs, outputs).

    Keras' own optimizes everything but matrices with Adam. The inputs of a convolution are strongly correlated, from
    position to position and behind rectifiers; an orthogonal update moves as far along the directions that they do not
    share, and short trainings come about as near in half of the steps. Vectors and depthwise kernels are optimized with
    Adam, and so is what Keras' own leaves to it. No weight decay: the weights are good to begin with.
    """

    def __init__(self, learning_rate: Any = 1e-3, **arguments: Any):
        super().__init__(learning_rate, **{"weight_decay": None, "adam_weight_decay": None, **arguments})

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        if len(variable.shape) == 2:
            return min(variable.shape) < LEAST_OUTPUTS or super()._should_use_adamw(variable)
        is_kernel = len(variable.shape) > 2 and min(variable.shape[-2:]) >= LEAST_OUTPUTS
        return not is_kernel or any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def _muon_update_step(
        self, gradient: BackendTensor, variable: keras.Variable, lr: BackendTensor, m: keras.Variable
    ) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        update = gradient + self.momentum * m if self.nesterov else ops.convert_to_tensor(m)
        matrix = self.lr_adjust(
            self.zeropower_via_newtonschulz5(ops.reshape(update, matrix_shape(variable)), self.ns_steps)
        )
        self.assign_sub(variable, lr * ops.reshape(matrix, variable.shape))


def matrix_shape(variable: keras.Variable) -> tuple[int, int]:
    """(rows, columns) of a kernel as a matrix."""
    return math.prod(variable.shape[:-1]), variable.shape[-1]


def output_layers(model: keras.Model) -> list[str]:
    """Of a Functional or Sequential model, as ``exclude_layers``: as usual with Muon, they are optimized with Adam."""
    names = (tensor._keras_history.operation.name for tensor in model.outputs)
    return [rf"(^|/){re.escape(name)}/" for name in names]


def optimizer_for(requested: Any, rate: Any, steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """``requested``, as for ``compile``; by default `Muon` with ``rate``, a schedule or the peak of the default one."""
    if requested is None:
        schedule = rate if callable(rate) else warm_up_cosine(rate, steps)
        requested = Muon(schedule, exclude_layers=output_layers(model))
    optimizer = keras.optimizers.get(requested)
    half = any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # compile() does so for a model that computes in float16; the Distiller only contains such a model.
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
