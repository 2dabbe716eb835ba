"""A layer of a user's own, a net with it, and its rule, which may be registered for a while."""

import contextlib

import keras
from keras import Input, Model, layers

from octconvert.rules import Rule, carry, register
from octconvert.rules.registry import unregister


@keras.saving.register_keras_serializable(package="tests")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


class DoubledRule(Rule):
    """Doubled of a pair -> Doubled of each map."""

    layers = (Doubled,)

    def trace(self, call, flow):
        return carry(flow.channels())

    def rewrite(self, call, values, build):
        return [build.dual(call, values)]


class FailingRule(DoubledRule):
    """Plans the pair, and then can not rewrite it."""

    def rewrite(self, call, values, build):
        raise ValueError("no idea")


@contextlib.contextmanager
def registered(rule_class):
    register(rule_class)
    try:
        yield
    finally:
        unregister(rule_class)


def doubled_net() -> Model:
    """Four convolutions, with the layer between the second and the third."""
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(inputs)
    x = Doubled(name="doubled")(layers.Conv2D(8, 3, padding="same", name="before")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="after")(x)
    return Model(inputs, layers.Conv2D(4, 3, name="last")(x))
