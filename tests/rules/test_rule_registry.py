"""Users add rules the way the built-in ones are added; subclasses count as their base where they keep its call."""

import keras
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle

import octconvert
from octconvert.rules import Rule, carry, find_rule, register
from octconvert.rules.registry import unregister


@keras.saving.register_keras_serializable(package="tests")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.fixture
def doubled_rule():
    @register
    class DoubledRule(Rule):
        layers = (Doubled,)

        def trace(self, call, flow):
            return carry(flow.channels())

        def rewrite(self, call, values, build):
            return [build.dual(call, values)]

    yield
    unregister(DoubledRule)


def model():
    inputs = Input((8, 8, 3))
    x = Doubled(name="doubled")(layers.Conv2D(8, 3, padding="same")(inputs))
    return Model(inputs, layers.Conv2D(4, 3)(x))


def test_rule_of_a_user(doubled_rule):
    result = assert_oracle(model(), converted=2)
    assert {"doubled-H", "doubled-L"} <= {layer.name for layer in result.model.layers}


def test_without_the_rule():
    assert_oracle(model(), converted=0)


def test_error_inside_a_rule_ends_the_pair_there(doubled_rule):
    def broken(call, values, build):
        raise ValueError("no idea")

    find_rule(Doubled()).rewrite = broken
    plan = octconvert.convert(model(), min_size=1, calibration=False).plan
    assert "could not be rewritten: no idea" in plan.convolutions[0].reason


def test_subclasses():
    class Renamed(layers.ReLU):
        pass

    class Changed(layers.ReLU):
        def call(self, x):
            return x

    assert find_rule(Renamed()) is find_rule(layers.ReLU())
    assert find_rule(Changed()) is None
    assert find_rule(layers.Softmax()) is None
