"""LayerScale: its gains are cut with the channels."""

import numpy as np
from keras import Input, Model, layers
from keras.src.applications.convnext import LayerScale
from oracle import assert_oracle, reasons

import octconvert


def net(shape, data_format="channels_last"):
    inputs = Input(shape)
    options = {"padding": "same", "use_bias": False, "data_format": data_format}
    x = LayerScale(0.5, 8, name="scale")(layers.Conv2D(8, 3, name="before", **options)(inputs))
    return Model(inputs, layers.Conv2D(4, 3, name="after", **options)(x))


def test_gains_are_those_of_the_channels():
    model = net((9, 10, 3))
    result = assert_oracle(model, converted=2)
    parts = [np.asarray(result.model.get_layer(f"scale{suffix}").gamma) for suffix in ("-H", "-L")]
    np.testing.assert_array_equal(np.concatenate(parts), model.get_layer("scale").gamma)  # the last channels are low


def test_channels_first_stops_the_pair():
    plan = octconvert.plan(net((3, 9, 8), "channels_first"), min_size=1)
    assert "scales columns, not channels" in reasons(plan)["before"]
