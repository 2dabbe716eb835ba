"""Kernels that are updated together move as with `Muon`."""

import keras
import numpy as np
from keras import layers

from octconvert.calibration.optimizer import GroupedMuon
from octconvert.training.optimizer import Muon


def test_grouped_updates_are_those_of_muon():
    rng = np.random.default_rng(0)
    kinds = [layers.Conv2D(4, 3), layers.Conv2D(4, 3), layers.DepthwiseConv2D(3), layers.Dense(4), layers.Dense(4)]
    for layer in kinds:
        layer.build((None, 8, 8, 6))
    variables = [variable for layer in kinds for variable in layer.weights]
    before = [np.array(variable) for variable in variables]
    steps = [[rng.normal(size=variable.shape).astype("float32") for variable in variables] for _ in range(3)]
    after = []
    for optimizer in (Muon(0.1), GroupedMuon(0.1)):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        optimizer.build(variables)
        for gradients in steps:
            optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
        after.append([np.array(variable) for variable in variables])
    for start, first, second in zip(before, *after, strict=True):
        assert np.allclose(first, second, atol=1e-5) and not np.allclose(start, first, atol=1e-3)
