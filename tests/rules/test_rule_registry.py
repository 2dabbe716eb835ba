"""Users add rules the way the built-in ones are added; subclasses count as their base where they keep its call."""

import pytest
from doubled import DoubledRule, doubled_net, registered
from keras import layers
from oracle import assert_oracle, ends

from octconvert.rules import find_rule


@pytest.fixture
def doubled_rule():
    with registered(DoubledRule):
        yield


def test_rule_of_a_user(doubled_rule):
    result = assert_oracle(doubled_net(), converted=4)
    assert {"doubled-H", "doubled-L"} <= {layer.name for layer in result.model.layers}


def test_without_the_rule():
    result = assert_oracle(doubled_net(), converted=4)
    assert any("no rule for Doubled" in reason for reason in ends(result).values())
    assert "doubled" in {layer.name for layer in result.model.layers}


def test_subclasses():
    class Renamed(layers.ReLU):
        pass

    class Changed(layers.ReLU):
        def call(self, x):
            return x

    assert find_rule(Renamed()) is find_rule(layers.ReLU())
    assert find_rule(Changed()) is None
    assert find_rule(layers.Softmax()) is None
