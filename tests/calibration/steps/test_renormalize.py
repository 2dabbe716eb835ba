"""What the step says where it has nothing to do."""

from types import SimpleNamespace
from typing import Any, cast

import calibration_nets as nets
import keras
from keras import layers

from octconvert.calibration.effort import Budget
from octconvert.calibration.state import Candidate, State
from octconvert.calibration.steps.renormalize import Renormalize
from octconvert.rewriting import rewrite


def test_a_model_without_normalisation_has_nothing_to_move():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 3, padding="same")(inputs))
    planned, budget = nets.planned(keras.Model(inputs, nets.head(x, 2))), Budget(60.0)
    state = State(planned, current=Candidate(rewrite(planned)))
    run = SimpleNamespace(
        pace=budget.pace, budget=budget, batch=4, samples_to_fit=lambda: nets.samples(nets.images(4, size=8))
    )
    outcome = Renormalize().apply(cast(Any, run), state)
    assert not outcome.kept and outcome.detail == "no BatchNormalization whose statistics could move"
