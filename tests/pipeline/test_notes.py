"""Notes on a conversion."""

from types import SimpleNamespace

import keras
import pytest
from keras import layers

from octconvert.calibration.calibrate import Calibrated
from octconvert.model.graph_reader import build_graph
from octconvert.pipeline.notes import _amplified


def pair(*behind):
    """Two images through one convolution, their difference, and layers behind that."""
    part = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(name="means")],
        name="part",
    )
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = layers.Subtract(name="difference")([part(first), part(second)])
    for layer in behind:
        x = layer(x)
    return keras.Model([first, second], x)


def notes_on(model, **errors):
    planned = SimpleNamespace(graph=build_graph(model))
    return _amplified(Calibrated(SimpleNamespace(planned=planned), None, errors))


ERRORS = {"part/conv": 0.09, "part/means": 0.04, "difference": 0.15, "distance": 0.2}


def test_a_difference_that_makes_more_of_the_errors_is_noted():
    (note,) = notes_on(pair(layers.UnitNormalization(name="distance")), **ERRORS)
    assert note.startswith("the relative error at 'difference' is 0.15, that of what it reads 0.04: ")


@pytest.mark.parametrize(
    "behind, errors", [((), {"difference": 0.07}), ((layers.Dense(1),), {}), ((), {"part/means": 1})]
)
def test_other_errors_are_not(behind, errors):
    assert not notes_on(pair(*behind), **{**ERRORS, **errors})
    assert not notes_on(pair(*behind))
