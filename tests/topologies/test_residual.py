"""Residual blocks: tensors that an Add ties share one split, over any number of blocks."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, reasons, roles


def conv(x, filters, kernel=3, name=None, **options):
    return layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=name, **options)(x)


def block(x, filters, strides=1, project=False):
    y = layers.ReLU()(layers.BatchNormalization()(conv(x, filters, strides=strides)))
    y = layers.BatchNormalization()(conv(y, filters))
    if project:
        x = layers.BatchNormalization()(conv(x, filters, 1, strides=strides))
    return layers.ReLU()(layers.Add()([x, y]))


def head(x):
    return layers.Dense(3)(layers.GlobalAveragePooling2D()(x))


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (13, 17)])
def test_identity_shortcuts(size):
    inputs = Input((*size, 3))
    x = conv(inputs, 8)
    model = Model(inputs, head(block(block(x, 8), 8)))
    result = assert_oracle(model, converted=5)
    assert len(result.plan.groups) == 3, "the stem and both second convolutions are tied"
    assert_portable(model)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (15, 18)])
def test_projection_shortcut(size):
    inputs = Input((*size, 3))
    x = block(conv(inputs, 6), 6)
    model = Model(inputs, head(block(block(x, 10, strides=2, project=True), 10)))
    assert_oracle(model, converted=8)
    assert_portable(model)


def test_bottleneck_with_strided_1x1():
    inputs = Input((17, 15, 3))
    x = conv(inputs, 16)
    y = layers.ReLU()(layers.BatchNormalization()(conv(x, 4, 1, strides=2)))
    y = layers.ReLU()(layers.BatchNormalization()(conv(y, 4)))
    y = layers.BatchNormalization()(conv(y, 16, 1))
    x = layers.BatchNormalization()(conv(x, 16, 1, strides=2))
    model = Model(inputs, head(layers.Add()([x, y])))
    assert_oracle(model, converted=5)
    assert_portable(model, weights="fold")


def test_pre_activation():
    inputs = Input((14, 14, 3))
    x = conv(inputs, 8)
    for _ in range(2):
        y = conv(layers.ReLU()(layers.BatchNormalization()(x)), 8)
        y = conv(layers.ReLU()(layers.BatchNormalization()(y)), 8)
        x = layers.Add()([x, y])
    assert_oracle(Model(inputs, head(layers.ReLU()(layers.BatchNormalization()(x)))), converted=5)


def test_tensor_added_to_itself():
    inputs = Input((9, 9, 3))
    x = conv(inputs, 8)
    x = layers.Add()([x, x])
    x = layers.Add()([x, x, x])
    assert_oracle(Model(inputs, conv(x, 4)), converted=2)


def test_shortcut_from_a_plain_tensor_ends_the_pair():
    inputs = Input((10, 10, 8))
    x = conv(inputs, 8, name="a")
    x = conv(x, 8, name="b")
    x = layers.Add()([inputs, x])
    result = assert_oracle(Model(inputs, conv(x, 8, name="c")), converted=2)
    assert roles(result) == {"a": "first", "b": "last", "c": "plain"}
    assert "plain tensor" in reasons(result)["b"]


def test_shortcut_over_a_layer_without_rule():
    inputs = Input((10, 10, 3))
    x = conv(inputs, 8, name="a")
    y = layers.Softmax()(conv(x, 8, name="b"))
    x = layers.Add()([x, y])
    result = assert_oracle(Model(inputs, conv(x, 8, name="c")), converted=2)
    assert roles(result)["c"] == "plain"


def test_one_frozen_branch_keeps_the_others():
    inputs = Input((12, 12, 3))
    x = conv(inputs, 8, name="stem")
    y = conv(conv(x, 8, name="branch_a"), 8, name="branch_b")
    x = layers.Add()([x, y])
    result = assert_oracle(Model(inputs, conv(x, 8, name="last")), converted=2, exclude="branch_b")
    assert roles(result) == {"stem": "first", "branch_a": "last", "branch_b": "plain", "last": "plain"}
