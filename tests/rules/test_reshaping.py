"""Reshape and Flatten carry a vector's split; anything that mixes positions and channels ends the pair."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, ends


def conv(filters=8):
    return layers.Conv2D(filters, 3, padding="same")


CARRIED = [
    lambda x: layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x)),
    lambda x: layers.Reshape((8,))(layers.GlobalAveragePooling2D(keepdims=True)(x)),
    lambda x: layers.Flatten()(layers.Reshape((1, 1, 8))(layers.GlobalMaxPooling2D()(x))),
    lambda x: layers.Reshape((-1,))(layers.GlobalMaxPooling2D(keepdims=True)(x)),
    lambda x: layers.Reshape((1, 1, -1))(layers.GlobalMaxPooling2D(keepdims=True)(x)),
]


@pytest.mark.quick("<lambda>0", "<lambda>4")
@pytest.mark.parametrize("reshape", CARRIED)
def test_carried(reshape):
    inputs = Input((9, 9, 3))
    model = Model(inputs, layers.Dense(3)(layers.ReLU()(reshape(conv()(inputs)))))
    result = assert_oracle(model, converted=1)
    assert not [layer for layer in result.model.layers if "merge" in layer.name]
    assert_portable(model)


STOPPED = [
    lambda x: layers.Flatten(name="stop")(x),
    lambda x: layers.Reshape((64, 8), name="stop")(x),
    lambda x: layers.Reshape((8, 1, 1), name="stop")(layers.GlobalAveragePooling2D()(x)),
    lambda x: layers.Reshape((1, 8), name="stop")(layers.GlobalAveragePooling2D()(x)),
    lambda x: layers.Reshape((4, 2), name="stop")(layers.GlobalAveragePooling2D()(x)),
]


@pytest.mark.quick("<lambda>0", "<lambda>3")
@pytest.mark.parametrize("reshape", STOPPED)
def test_stopped(reshape):
    inputs = Input((8, 8, 3))
    x = conv()(inputs)
    assert_oracle(Model(inputs, [reshape(x), conv(4)(x)]), converted=2)


def test_reason_of_a_flattened_map():
    inputs = Input((8, 8, 3))
    x = conv()(inputs)
    result = assert_oracle(Model(inputs, [STOPPED[0](x), conv(4)(x)]))
    assert ends(result)["stop"] == "Flatten mixes positions and channels"
