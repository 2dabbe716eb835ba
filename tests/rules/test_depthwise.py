"""DepthwiseConv2D: every channel stays in its map."""

import pytest
from grouped_nets import between, conv
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, reasons, roles


def normed(x):
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


@pytest.mark.quick("1-same-1", "2-valid-2")
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "same"), (1, "valid"), (2, "valid")])
def test_depthwise_then_pointwise(strides, padding, multiplier):
    inputs = Input((15, 14, 3))
    x = normed(layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(inputs))
    x = normed(layers.DepthwiseConv2D(3, strides, padding, multiplier, name="depthwise")(x))
    x = layers.Conv2D(10, 1, name="pointwise")(x)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    result = assert_oracle(model, converted=3)
    assert roles(result)["depthwise"] == "intermediate"
    assert_portable(model, weights="fold")


def test_depthwise_of_a_plain_tensor_stays_plain():
    inputs = Input((10, 10, 4))
    x = layers.Conv2D(8, 1, name="pointwise")(layers.DepthwiseConv2D(3, name="depthwise")(inputs))
    result = assert_oracle(Model(inputs, layers.Conv2D(4, 3, name="last")(x)), converted=2)
    assert roles(result) == {"depthwise": "plain", "pointwise": "first", "last": "last"}
    assert "its input is plain" in reasons(result)["depthwise"]


def test_small_map_before_depthwise_keeps_the_pair_until_there():
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.DepthwiseConv2D(3, 2, "same", name="b")(x)
    result = assert_oracle(Model(inputs, layers.Conv2D(8, 1, name="c")(x)), converted=1, min_size=9)
    assert roles(result) == {"a": "first", "b": "plain", "c": "plain"}
    assert "min_size" in reasons(result)["b"]


@pytest.mark.quick("1")
@pytest.mark.parametrize("multiplier", [1, 2])
def test_one_group_a_channel_is_depthwise(multiplier):
    model = between(8, 8, 8 * multiplier)
    result = assert_oracle(model, converted=3)
    assert type(result.model.get_layer("grouped")).__name__ == "OctaveDepthwiseConv2D"
    assert_portable(model)


def test_depthwise_of_a_1x1_map_reads_the_merged_tensor():
    inputs = Input((9, 8, 3))
    x = conv(inputs, 8, name="before")
    y = layers.DepthwiseConv2D(1, name="depthwise")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    result = assert_oracle(Model(inputs, [layers.Flatten()(y), conv(x, 4)]), converted=2)
    assert reasons(result)["depthwise"] == "1x1 map, nothing to halve"
