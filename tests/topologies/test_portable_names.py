"""Built-in layers: several stand for one convolution, and outputs still have the source's names."""

from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable

import octconvert


def test_last_convolution_is_an_output():
    inputs = Input((9, 9, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    model = Model(inputs, [layers.Conv2D(4, 3, name="b")(x), layers.Conv2D(4, 3, activation="relu", name="c")(x)])
    result = assert_oracle(model, converted=3, portable=True)
    assert {"a-HH", "a-HL", "b-HH", "b-LH", "b", "c"} <= {layer.name for layer in result.model.layers}
    assert_portable(model)


def test_parameters_are_those_of_the_octave_layers():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.SeparableConv2D(8, 3, padding="same", name="b")(layers.DepthwiseConv2D(3, name="d")(x))
    model = Model(inputs, layers.Conv2D(4, 3, name="c")(x))
    portable = octconvert.convert(model, min_size=1, portable=True, calibration=False)
    assert portable.model.count_params() == model.count_params()
    assert portable.after.macs == octconvert.convert(model, min_size=1, calibration=False).after.macs
