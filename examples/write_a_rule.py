"""Adds a rule for a layer that moves channels: the channel shuffle of ShuffleNet (Zhang et al. 2018).

    python examples/write_a_rule.py

Without the rule the two maps are merged before the shuffle. With it, each map is shuffled by itself: a channel that is
low stays low, wherever it moves.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

import octconvert
from octconvert.rules import Build, Flow, Pair, Rule, Trace, Value, carry, register, stop


@keras.saving.register_keras_serializable(package="example")
class TakeChannels(layers.Layer):
    """Output channel ``i`` is input channel ``order[i]``; channels last."""

    def __init__(self, order, **kwargs):
        super().__init__(**kwargs)
        self.order = [int(index) for index in order]

    def call(self, x):
        return keras.ops.take(x, self.order, axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.order))

    def get_config(self):
        return {**super().get_config(), "order": self.order}


class TakeChannelsRule(Rule):
    """TakeChannels of a pair -> TakeChannels of each map, with the positions in that map."""

    layers = (TakeChannels,)

    def trace(self, call, flow: Flow) -> Trace:
        """The output has the channels of the input in another order."""
        channels = flow.channels()
        if channels is None or flow.graph.data_format != "channels_last":
            return stop(call, "only channels last")
        return carry(channels[call.operation.order])

    def rewrite(self, call, values: list[Value], build: Build) -> list[Value]:
        """A TakeChannels for each map: the high and the low one, or the low one alone of a whole-low tensor."""
        (pair,), order = values, np.array(call.operation.order)
        assert isinstance(pair, Pair)  # asked only where the input is one
        pair = build.settled(pair)
        sources = {part.suffix: part.channels for part in pair.split.parts}
        written, maps = build.pair_split(call), []
        for part in written.parts:
            position = {channel: index for index, channel in enumerate(sources[part.suffix])}
            inside = [position[channel] for channel in order[part.channels]]
            layer = TakeChannels(inside, name=build.name(f"{call.operation.name}{part.suffix}"))
            maps.append(layer(pair.part(part.suffix)))
        return [Pair.of(maps, written)]


def source_network() -> keras.Model:
    """Two convolutions with a shuffle of four groups of channels between them."""
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="a")(image)
    x = TakeChannels(np.arange(16).reshape(4, 4).T.ravel(), name="shuffle")(x)
    return keras.Model(image, layers.Conv2D(8, 3, padding="same", name="b")(x))


def roles(source: keras.Model, alpha: float = 0.5) -> list[str]:
    """Of both convolutions after a conversion that is checked with octave=1 as well."""
    result = octconvert.convert(source, alpha, verify="deep", calibration=False)
    return [row.role for row in result.convolutions]


def main() -> None:
    source = source_network()
    print("without the rule:", roles(source))
    register(TakeChannelsRule)
    print("with the rule:   ", roles(source))
    assert roles(source) == roles(source, alpha=1.0) == ["first", "last"]


if __name__ == "__main__":
    main()
