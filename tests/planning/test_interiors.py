"""Which tied groups `interior` means, and what is converted there; the whole networks are in the zoo's tests."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, randomise, roles, run

import octconvert

WHOLE = {"alpha": 0.0, "interior": 1.0, "min_size": 1, "calibration": False}


def conv(filters, name, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", name=name, **options)


def low(model, **options):
    """Names of the layers whose output is whole-low."""
    plan = octconvert.plan(model, **{**WHOLE, **options})
    return {name for group in plan.groups if group.alpha == 1.0 for name in group.producers}


def bottleneck(x, name, filters, stride=1):
    y = conv(filters, f"{name}_a", 1, strides=stride, activation="relu")(x)
    y = layers.BatchNormalization()(conv(filters, f"{name}_b", activation="relu")(y))
    y = conv(4 * filters, f"{name}_c", 1)(y)
    shortcut = x if stride == 1 and x.shape[-1] == 4 * filters else conv(4 * filters, f"{name}_s", 1, strides=stride)(x)
    return layers.ReLU()(layers.Add()([y, shortcut]))


def residual():
    inputs = Input((16, 16, 3))
    x = layers.MaxPooling2D(2)(conv(8, "stem")(inputs))
    x = bottleneck(bottleneck(x, "one", 4), "two", 4, stride=2)
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def inverted(name, x, stride=1):
    y = conv(24, f"{name}_expand", 1)(x)
    if stride == 2:
        y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
    y = layers.DepthwiseConv2D(3, stride, "same" if stride == 1 else "valid", name=f"{name}_depthwise")(y)
    gate = conv(24, f"{name}_gate", 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = conv(6, f"{name}_project", 1)(layers.Multiply()([y, gate]))
    return layers.Add()([x, y]) if stride == 1 else y


def mobile():
    inputs = Input((16, 16, 3))
    x = inverted("one", conv(6, "stem")(inputs))
    x = inverted("three", inverted("two", x, stride=2))
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def dense_block():
    inputs = Input((16, 16, 3))
    x = conv(8, "stem")(inputs)
    for i in range(3):
        x = layers.Concatenate()([x, conv(4, f"grow{i}")(conv(8, f"squeeze{i}", 1)(x))])
    return Model(inputs, conv(3, "head", 1)(x))


def unet():
    inputs = Input((16, 16, 3))
    top = conv(8, "top_b")(conv(8, "top_a")(inputs))
    deep = conv(12, "deep_b")(conv(12, "deep_a")(layers.MaxPooling2D(2)(top)))
    x = layers.Concatenate()([top, layers.UpSampling2D(2)(deep)])
    return Model(inputs, conv(3, "out", 1)(conv(8, "up_b")(conv(8, "up_a")(x))))


def chain():
    inputs = Input((16, 16, 3))
    x = conv(8, "a1")(inputs)
    x = layers.MaxPooling2D(2)(conv(8, "a2")(x))
    for name in ("b1", "b2", "b3", "b4"):
        x = conv(12, name, activation="relu")(x)
    return Model(inputs, layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D(2)(x))))


@pytest.mark.parametrize(
    "network, expected",
    [
        (residual, {"one_a", "one_b", "two_a", "two_b"}),
        (mobile, {"one_expand", "one_gate", "three_expand", "three_gate"}),
        (dense_block, {"squeeze0", "squeeze1", "squeeze2"}),
        (unet, {"deep_a", "up_a"}),
        (chain, {"b1", "b3"}),
    ],
)
def test_read_from_the_graph(network, expected):
    model = network()
    assert low(model) == expected
    result = assert_oracle(model, **WHOLE)
    assert result.after.macs < result.before.macs and result.after.parameters == result.before.parameters


def test_the_main_path_follows_alpha_and_names_come_first():
    groups = octconvert.plan(residual(), 0.25, interior=1.0, min_size=1, alpha_map={"two_b": 0.5}).groups
    alphas = {name: group.alpha for group in groups for name in group.producers}
    assert {alphas[name] for name in ("one_c", "one_s", "two_c", "two_s", "stem")} == {0.25}
    assert (alphas["one_a"], alphas["one_b"], alphas["two_a"], alphas["two_b"]) == (1.0, 1.0, 1.0, 0.5)


def test_nothing_but_the_interior_changes_at_alpha_0():
    model = randomise(residual())
    result = octconvert.convert(model, **WHOLE)
    assert roles(result) == {
        **dict.fromkeys(("one_a", "two_a"), "first"),
        **dict.fromkeys(("one_b", "two_b"), "intermediate"),
        **dict.fromkeys(("one_c", "two_c"), "last"),
        **dict.fromkeys(("stem", "one_s", "two_s"), "plain"),
    }
    kernels = {weight.path.split("/")[-1] for weight in result.model.get_layer("one_b").weights}
    assert kernels == {"ll_kernel", "low_bias"}


def test_a_plan_and_a_saved_model_keep_it(tmp_path):
    model = randomise(residual())
    result = octconvert.convert(model, **WHOLE, output=tmp_path / "low.keras")
    again = octconvert.convert(model, plan=result.plan, calibration=False)
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype("float32")
    expected = run(result.model, x)[0]
    assert np.array_equal(run(again.model, x)[0], expected)
    loaded = keras.models.load_model(tmp_path / "low.keras")
    assert np.abs(run(loaded, x)[0] - expected).max() <= 1e-6 * np.abs(expected).max()
