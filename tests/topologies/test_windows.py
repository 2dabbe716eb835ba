"""Every kind of window: kernel sizes odd and even, strides, paddings, dilations, on even and odd maps."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, roles

SIZE = (15, 16)
"""An odd and an even side: rows and columns go through the same arithmetic, each with its own size."""


def sandwich(kernel, **options):
    """The window in question on a pair, between a first and a last convolution."""
    inputs = Input((*SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layers.Conv2D(8, kernel, activation="relu", name="middle", **options)(x)
    return Model(inputs, layers.Conv2D(4, 1, name="after")(x))


def check(model):
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"before": "first", "middle": "intermediate", "after": "last"}
    assert_portable(model, weights="fold")


@pytest.mark.quick("3-2-same", "1-2-valid", "4-1-same")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides"), [(3, 2), (3, 3), (1, 2), (1, 3), (2, 1), (2, 2), (4, 1), (5, 2), ((1, 3), (2, 1))]
)
def test_kernel_and_strides(padding, kernel, strides):
    check(sandwich(kernel, strides=strides, padding=padding))


@pytest.mark.quick("3-2-same")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 2), (3, (1, 3)), (2, 4)])
def test_dilation(padding, kernel, dilation):
    check(sandwich(kernel, dilation_rate=dilation, padding=padding))


@pytest.mark.quick("1-kernel0")
@pytest.mark.parametrize("kernel", [(3, 1), (5, 1)])
@pytest.mark.parametrize("channels", [1, 2])
def test_signals_as_maps_of_one_column(kernel, channels):
    """(rows, 1, 1) has two axes of size one, but it is a map."""
    inputs = Input((32, 1, channels))
    x = layers.Conv2D(8, kernel, padding="same", name="before")(inputs)
    x = layers.MaxPooling2D((2, 1))(x)
    x = layers.Conv2D(8, kernel, padding="same", name="middle")(x)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert_oracle(model, converted=2)
    assert_portable(model)


def test_tiny_maps():
    inputs = Input((5, 5, 3))
    x = layers.Conv2D(8, 3)(inputs)
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.Conv2D(8, 3)(x)
    model = Model(inputs, layers.Conv2D(4, 1)(x))
    result = assert_oracle(model, converted=3)
    assert list(roles(result).values()) == ["first", "intermediate", "last", "plain"]


def test_maps_below_min_size_stay_plain():
    inputs = Input((16, 16, 3))
    x = inputs
    for number in range(4):
        x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{number}")(x)
    result = assert_oracle(Model(inputs, x), converted=2, min_size=8)
    assert list(roles(result).values()) == ["first", "last", "plain", "plain"]
    assert "min_size" in result.plan.convolutions[1].reason
