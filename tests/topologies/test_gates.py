"""Gates: squeeze-and-excite in every spelling, and spatial attention."""

import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, reasons, roles


def conv(x, filters=8, kernel=3, name=None, **options):
    return layers.Conv2D(filters, kernel, padding="same", name=name, **options)(x)


def dense_gate(x):
    g = layers.GlobalAveragePooling2D()(x)
    g = layers.Dense(3, activation="relu", use_bias=False)(g)
    g = layers.Dense(x.shape[-1], activation="sigmoid")(g)
    return layers.Multiply()([x, layers.Reshape((1, 1, x.shape[-1]))(g)])


def reshape_first_gate(x):
    g = layers.Reshape((1, 1, -1))(layers.GlobalAveragePooling2D()(x))
    g = layers.Dense(3, activation="relu")(g)
    return layers.Multiply()([layers.Dense(x.shape[-1], activation="sigmoid")(g), x])


def convolution_gate(x):
    g = layers.GlobalAveragePooling2D(keepdims=True)(x)
    g = conv(conv(g, 3, 1, activation="swish"), x.shape[-1], 1, activation="sigmoid")
    return layers.Multiply()([x, g])


def raw_gate(x):
    g = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return x * ops.hard_sigmoid(layers.Conv2D(x.shape[-1], 1)(g))


def normalised_gate(x):
    g = layers.GlobalMaxPooling2D(keepdims=True)(x)
    g = layers.Activation("sigmoid")(layers.BatchNormalization()(conv(g, x.shape[-1], 1)))
    return layers.Multiply()([x, g])


@pytest.mark.quick("dense_gate-size0", "convolution_gate-size0")
@pytest.mark.parametrize("size", [(16, 13)])
@pytest.mark.parametrize("gate", [dense_gate, reshape_first_gate, convolution_gate, raw_gate, normalised_gate])
def test_squeeze_and_excite(gate, size):
    inputs = Input((*size, 3))
    model = Model(inputs, conv(gate(conv(inputs, name="before")), name="after"))
    result = assert_oracle(model, converted=2)
    assert (roles(result)["before"], roles(result)["after"]) == ("first", "last")
    assert not [layer for layer in result.model.layers if "merge" in layer.name]
    assert_portable(model)


def test_gate_convolutions_are_plain_for_their_size():
    inputs = Input((12, 12, 3))
    result = assert_oracle(Model(inputs, conv(convolution_gate(conv(inputs)))), converted=2)
    assert set(reasons(result).values()) >= {"1x1 map, nothing to halve"}


def test_gate_in_a_residual_block():
    inputs = Input((14, 14, 3))
    x = conv(inputs)
    for _ in range(2):
        x = layers.Add()([x, dense_gate(layers.BatchNormalization()(conv(x)))])
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_grouped_gate_reads_the_merged_vector():
    inputs = Input((10, 10, 3))
    x = conv(inputs)
    g = layers.GlobalAveragePooling2D(keepdims=True)(x)
    g = conv(g, 8, 1, groups=2, activation="sigmoid")
    assert_oracle(Model(inputs, [conv(layers.Multiply()([x, g])), conv(x)]))


def test_gate_of_another_tensor():
    """The gate comes from a plain tensor, through a Dense whose output is split for it."""
    inputs, side = Input((10, 10, 3)), Input((5,))
    g = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(side))
    model = Model([inputs, side], conv(layers.Multiply()([conv(inputs), g])))
    assert_oracle(model, converted=2)
    assert_portable(model)


def test_plain_gate_of_many_channels_is_cut():
    inputs, gate = Input((10, 10, 3)), Input((1, 1, 8))
    x = conv(inputs)
    gated = layers.Multiply(name="gated")([x, gate])
    result = assert_oracle(Model([inputs, gate], [conv(gated, name="after"), conv(x)]), converted=3)
    assert roles(result)["after"] == "last"


def test_plain_map_of_many_channels_ends_the_pair():
    inputs, other = Input((10, 10, 3)), Input((10, 10, 8))
    x = conv(inputs)
    joined = layers.Multiply(name="joined")([x, other])
    result = assert_oracle(Model([inputs, other], [conv(joined, name="after"), conv(x)]), converted=2)
    assert "plain tensor" in ends(result)["joined"]


def test_two_gates_multiplied():
    inputs = Input((9, 9, 3))
    x = conv(inputs)
    gates = [
        layers.Conv2D(8, 1, activation="sigmoid")(pool(keepdims=True)(x))
        for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    ]
    model = Model(inputs, conv(layers.Multiply()([x, layers.Add()(gates)])))
    assert_oracle(model, converted=2)
    assert_portable(model)


def spatial_attention(x):
    pooled = ops.concatenate([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)], axis=-1)
    return layers.Multiply()([x, conv(pooled, 1, 7, activation="sigmoid", name="attention")])


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(12, 12), (13, 9)])
def test_spatial_attention(size):
    inputs = Input((*size, 3))
    model = Model(inputs, conv(spatial_attention(dense_gate(conv(inputs, name="before"))), name="after"))
    result = assert_oracle(model, converted=2)
    assert roles(result) == {"before": "first", "attention": "plain", "after": "last"}
    assert set(ends(result)) == {"after"}  # mean and maximum read both maps
    assert_portable(model)
