"""Muon for a short training of a whole model: its kernels of one shape are updated together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.model.tensors import BackendTensor
from octconvert.training.optimizer import Muon, matrix_shape


@dataclass(frozen=True, eq=False)
class _Together:
    """Variables that are updated in one computation, for a graph of few operations is built and run sooner.

    Attributes:
        places: of the variables, among those that are trained.
        shapes: of each as it is stacked or, flat, concatenated.
        momentum: of all, stacked or concatenated alike.
        velocity: the same of Adam; None for Muon.
    """

    places: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    momentum: keras.Variable
    velocity: keras.Variable | None = None

    def joined(self, gradients: Mapping[int, BackendTensor]) -> BackendTensor:
        """The gradients; zeros for variables without one."""
        dtype = self.momentum.dtype
        parts = [
            ops.reshape(ops.cast(gradients[place], dtype), shape) if place in gradients else ops.zeros(shape, dtype)
            for place, shape in zip(self.places, self.shapes, strict=True)
        ]
        return ops.concatenate(parts) if self.velocity is not None else ops.stack(parts)

    def parts(self, joined: BackendTensor) -> list[BackendTensor]:
        if self.velocity is None:
            return list(ops.unstack(joined, len(self.places)))
        sizes = [shape[0] for shape in self.shapes]
        return list(ops.split(joined, np.cumsum(sizes)[:-1].tolist())) if len(sizes) > 1 else [joined]


class GroupedMuon(Muon):
    """`Muon` in a graph of fewer operations, which is built and run sooner.

    Kernels of one shape are updated together, and so is all that Adam optimizes. For one device, and for trainings in
    which every variable has a gradient in every step or in none.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        keras.optimizers.Optimizer.build(self, variables)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, variable in enumerate(variables):
            kind = () if self._should_use_adamw(variable) else matrix_shape(variable)
            groups.setdefault((str(variable.dtype), *kind), []).append(place)
        self._groups = [self._together(dtype, kind, places, variables) for (dtype, *kind), places in groups.items()]

    def _together(
        self, dtype: str, kind: Sequence[int], places: list[int], variables: list[keras.Variable]
    ) -> _Together:
        if kind:
            momentum = self.add_variable((len(places), *kind), dtype=dtype, name="momentum")
            return _Together(tuple(places), (tuple(kind),) * len(places), momentum)
        sizes = [math.prod(variables[place].shape) for place in places]
        momentum, velocity = (
            self.add_variable((sum(sizes),), dtype=dtype, name=name) for name in ("momentum", "velocity")
        )
        return _Together(tuple(places), tuple((size,) for size in sizes), momentum, velocity)

    def _backend_update_step(
        self, gradients: Sequence[BackendTensor], variables: Sequence[keras.Variable], learning_rate: Any
    ) -> None:
        by_place = {self._get_variable_index(v): g for g, v in zip(gradients, variables, strict=True)}
        for group in self._groups:
            gradient, rate = group.joined(by_place), ops.cast(learning_rate, group.momentum.dtype)
            update = self._muon(group, gradient) if group.velocity is None else self._adam(group, gradient)
            for place, part in zip(group.places, group.parts(rate * update), strict=True):
                if place not in by_place:
                    continue
                variable = self._trainable_variables[place]
                self.assign_sub(variable, ops.reshape(part, variable.shape))

    def _muon(self, group: _Together, gradient: BackendTensor) -> BackendTensor:
        self.assign_add(group.momentum, gradient + group.momentum * (self.momentum - 1))
        update = gradient + self.momentum * group.momentum if self.nesterov else ops.convert_to_tensor(group.momentum)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * max(group.shapes[0]) ** 0.5
        return scale * self.zeropower_via_newtonschulz5(update, self.ns_steps)

    def _adam(self, group: _Together, gradient: BackendTensor) -> BackendTensor:
        step = ops.cast(self.iterations + 1, group.momentum.dtype)
        first, second = (
            1 - ops.power(ops.cast(beta, step.dtype), step) for beta in (self.adam_beta_1, self.adam_beta_2)
        )
        self.assign_add(group.momentum, (gradient - group.momentum) * (1 - self.adam_beta_1))
        self.assign_add(group.velocity, (ops.square(gradient) - group.velocity) * (1 - self.adam_beta_2))
        change = self.adam_lr_ratio * ops.sqrt(second) / first * group.momentum
        return change / (ops.sqrt(group.velocity) + self.epsilon)
