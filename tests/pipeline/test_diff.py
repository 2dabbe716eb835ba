"""`octconvert.diff` of a model and its conversion says what the conversion says."""

import keras
import pytest
from keras import layers

import octconvert


def gated():
    """A residual block with a squeeze-and-excite gate, whose convolutions are of maps of one position."""
    inputs = keras.Input((16, 16, 3))
    stem = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="conv")(stem)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(layers.Conv2D(2, 1, name="squeeze")(gate))
    x = layers.Conv2D(8, 3, padding="same", name="last")(layers.Multiply()([x, gate]))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Add()([x, stem])))


@pytest.mark.parametrize("alphas", [{"alpha": 0.5}, {"alpha": 0, "interior": 1}], ids=["pairs", "whole-low"])
def test_the_same_roles(alphas):
    model = gated()
    result = octconvert.convert(model, calibration=False, **alphas)
    compared = octconvert.diff(model, result.model)

    def roles(rows):
        return {row.name: (row.role, row.alpha_in, row.alpha_out, row.high_shape, row.low_shape) for row in rows}

    assert roles(compared.convolutions) == roles(result.convolutions)
    assert {"conv", "last"} <= {row.name for row in compared.converted} <= {"stem", "conv", "last"}
