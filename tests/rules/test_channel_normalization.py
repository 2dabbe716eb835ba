"""Normalisations over channels, and ConvNeXt blocks: they join both maps of a pair and end no chain."""

import json

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from keras.src.applications.convnext import LayerScale, StochasticDepth
from oracle import assert_oracle, ends, largest_difference, reasons, roles, run

import octconvert
from octconvert.layers import OctaveGroupNormalization, OctaveLayerNormalization

OVER_CHANNELS = {
    "layer": lambda axis: layers.LayerNormalization(axis=axis, epsilon=1e-6),
    "layer without gain": lambda axis: layers.LayerNormalization(axis=[axis], scale=False),
    "layer without shift": lambda axis: layers.LayerNormalization(axis=axis, center=False, gamma_regularizer="l2"),
    "rms": lambda axis: layers.RMSNormalization(axis=axis),
    "unit": lambda axis: layers.UnitNormalization(axis=axis),
    "one group": lambda axis: layers.GroupNormalization(1, axis=axis),
    "two groups": lambda axis: layers.GroupNormalization(2, axis=axis),
    "instances": lambda axis: layers.GroupNormalization(-1, axis=axis),
}


def around(norm, shape=(11, 10, 3), axis=-1):
    data_format = "channels_last" if axis != 1 else "channels_first"
    inputs = Input(shape)

    def conv(x, filters, name):
        # no bias: Keras adds it along the columns of some channels_first maps
        arguments = {"padding": "same", "use_bias": False, "data_format": data_format, "name": name}
        return layers.Conv2D(filters, 3, **arguments)(x)

    x = layers.ReLU()(norm(axis)(conv(inputs, 8, "a")))
    return Model(inputs, conv(norm(axis)(conv(x, 12, "b")), 4, "c"))


@pytest.mark.quick("layer", "two groups")
@pytest.mark.parametrize("name", OVER_CHANNELS)
def test_both_maps_are_normalised_together(name):
    first = [] if name == "rms" else [((3, 11, 10), 1)]  # Keras' own RMSNormalization takes the last axis only
    for shape, axis in (((11, 10, 3), -1), ((None, None, 3), 3), *first):
        result = assert_oracle(around(OVER_CHANNELS[name], shape, axis), converted=3)
        assert roles(result) == {"a": "first", "b": "intermediate", "c": "last"}


def test_vectors_and_gates():
    inputs = Input((8, 8, 3))
    x = layers.Conv2D(8, 3)(inputs)
    gate = layers.LayerNormalization()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Conv2D(8, 3)(layers.Multiply()([x, gate]))
    vector = layers.GroupNormalization(2)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x)))
    assert_oracle(Model(inputs, layers.Dense(2)(vector)), converted=2)


def test_shared_and_nested():
    norm, again = layers.LayerNormalization(), layers.Conv2D(8, 3, padding="same")
    part = Input((None, None, 8))
    block = Model(part, norm(again(layers.GroupNormalization(4)(part))), name="block")
    inputs = Input((9, 10, 3))
    x = block(block(layers.Conv2D(8, 3)(inputs)))
    assert_oracle(Model(inputs, layers.Conv2D(4, 3)(x)), converted=3)


def test_groups_of_any_channels():
    """A plan may choose the low channels so that groups hold different numbers of them."""
    model = around(OVER_CHANNELS["two groups"])
    plan = octconvert.plan(model, min_size=1)
    data = plan.to_dict()
    for group in data["groups"]:
        group["selection"] = [[0, 1, 2, 7] for _ in group["producers"]]
    text = json.dumps(data)
    for octave in (1, 2):
        edited = octconvert.Plan.from_json(text.replace('"octave": 2', f'"octave": {octave}'))
        result = octconvert.convert(model, plan=edited, calibration=False)
        inputs = np.random.default_rng(0).standard_normal((2, 11, 10, 3)).astype("float32")
        if octave == 1:
            assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5


def test_instances_of_rows_are_no_instances_of_channels():
    """As many groups as channels, along the rows of a map that has as many of them."""
    inputs = Input((8, 10, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.GroupNormalization(-1, axis=1, center=False, scale=False)(x)
    result = assert_oracle(Model(inputs, layers.Conv2D(4, 3, name="b")(x)), converted=0)
    assert "normalises axes [1]" in reasons(result)["a"]


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = around(OVER_CHANNELS["layer"])
    finally:
        keras.config.set_dtype_policy("float32")
    inputs = np.random.default_rng(0).standard_normal((2, 11, 10, 3)).astype("float32")
    twin = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    assert largest_difference(run(model, inputs), run(twin.model, inputs)) <= 2e-2
    assert np.isfinite(run(octconvert.convert(model, min_size=1, calibration=False).model, inputs)[0]).all()


def test_no_portable_form():
    model = around(OVER_CHANNELS["layer"])
    result = assert_oracle(model, portable=True, converted=0)
    assert "no built-in layer normalises over both maps" in reasons(result)["a"]


@pytest.mark.parametrize("name", ["layer", "rms", "unit", "two groups"])
def test_maps_of_whole_cells_are_normalised_exactly(name):
    """Where every block of the high map is constant, a pair is normalised as the plain map would be."""
    rng = np.random.default_rng(0)
    low, cells = rng.standard_normal((2, 4, 5, 4)), rng.standard_normal((2, 4, 5, 6))
    high = cells.repeat(2, 1).repeat(2, 2)
    plain = layers.GroupNormalization(2) if name == "two groups" else OVER_CHANNELS[name](-1)
    if name == "two groups":  # channels 0-4 and 5-9; low are 3, 4 and 8, 9
        order = [0, 1, 2, 5, 6, 7, 3, 4, 8, 9]
        pair = OctaveGroupNormalization([3, 3], [2, 2])
    else:
        order = list(range(10))
        options = {"layer": {"epsilon": 1e-6}, "rms": {"epsilon": 1e-6, "center": False}}
        unit = {"epsilon": 1e-12, "center": False, "scale": False}
        pair = OctaveLayerNormalization(mode=name, **options.get(name, unit))
    joined = np.concatenate([high, low.repeat(2, 1).repeat(2, 2)], -1)
    source = np.empty_like(joined)
    source[..., order] = joined
    expected = np.array(plain(source.astype("float32")))[..., order]
    found = [np.array(part) for part in pair([high.astype("float32"), low.astype("float32")])]
    np.testing.assert_allclose(found[0], expected[..., :6], atol=2e-5)
    np.testing.assert_allclose(found[1].repeat(2, 1).repeat(2, 2), expected[..., 6:], atol=2e-5)
    copy = type(pair).from_config(pair.get_config())
    assert copy.get_config() == pair.get_config()


def test_what_the_layers_refuse():
    with pytest.raises(ValueError, match="mode"):
        OctaveLayerNormalization(mode="batch")
    with pytest.raises(ValueError, match="pair"):
        OctaveLayerNormalization()(np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="groups have"):
        OctaveGroupNormalization([1, 1], [1, 1])([np.zeros((1, 4, 4, 3)), np.zeros((1, 2, 2, 2))])
    with pytest.raises(TypeError, match="gamma_size"):
        OctaveLayerNormalization(gamma_size=3)


def convnext(rate=0.0):
    inputs = Input((32, 32, 3))
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(8, 4, strides=4, name="stem")(inputs))
    for i in range(2):
        y = layers.Conv2D(8, 7, padding="same", groups=8, name=f"depthwise{i}")(x)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Activation("gelu")(layers.Dense(32, name=f"wide{i}")(y))
        y = LayerScale(0.5, 8)(layers.Dense(8, name=f"narrow{i}")(y))
        x = layers.Add()([x, StochasticDepth(rate, name=f"drop{i}")(y)])
    x = layers.Conv2D(16, 2, strides=2, name="down")(layers.LayerNormalization()(x))
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return Model(inputs, layers.Dense(3, name="head")(x))


@pytest.mark.long
def test_convnext():
    """A Dense on a map is a 1x1 convolution, and counted as one; the head's Dense is none."""
    result = assert_oracle(convnext(), converted=8)
    assert "head" not in roles(result)
    assert result.report.octave_mac_share == 1.0
    assert set(ends(result).values()) == {"reads both maps as they are"}
