"""DenseNet blocks, and concatenations whose blocks do not line up with what they are tied to."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, roles


def conv(x, filters, kernel=3, name=None):
    return layers.Conv2D(filters, kernel, padding="same", name=name)(x)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (15, 13)])
def test_dense_block_and_transition(size):
    inputs = Input((*size, 3))
    x = conv(inputs, 8)
    for _ in range(3):
        y = conv(layers.ReLU()(layers.BatchNormalization()(x)), 8, 1)
        y = conv(layers.ReLU()(layers.BatchNormalization()(y)), 4)
        x = layers.Concatenate()([x, y])
    x = layers.AveragePooling2D(2)(conv(layers.ReLU()(layers.BatchNormalization()(x)), 10, 1))
    y = conv(layers.ReLU()(layers.BatchNormalization()(x)), 4)
    x = layers.GlobalAveragePooling2D()(layers.Concatenate()([x, y]))
    model = Model(inputs, layers.Dense(3)(x))
    assert_oracle(model, converted=9)
    assert_portable(model)


@pytest.mark.quick("True-widths1-0.75", "False-widths3-0.25")
@pytest.mark.parametrize("alpha", [0.25, 0.75])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5), (2, 2, 4), (1, 7)])
@pytest.mark.parametrize("wide_first", [True, False])
def test_concatenation_tied_to_one_wide_tensor(widths, wide_first, alpha):
    inputs = Input((10, 10, 3))
    stem = conv(inputs, 6, name="stem")
    wide = conv(stem, 8, name="wide") if wide_first else None
    parts = layers.Concatenate()(
        [conv(stem if wide is None else wide, w, name=f"part{i}") for i, w in enumerate(widths)]
    )
    wide = conv(stem, 8, name="wide") if wide is None else wide
    model = Model(inputs, conv(layers.Add()([wide, parts]), 4, name="last"))
    result = assert_oracle(model, alpha=alpha)
    assert "plain" not in roles(result).values()


def test_two_concatenations_with_different_blocks():
    inputs = Input((9, 9, 3))
    first = layers.Concatenate()([conv(inputs, 3), conv(inputs, 5)])
    second = layers.Concatenate()([conv(inputs, 5), conv(inputs, 3)])
    assert_oracle(Model(inputs, conv(layers.Add()([first, second]), 4)), converted=5)


def test_concatenation_of_a_sum_with_its_own_part():
    inputs = Input((9, 9, 3))
    a, b = conv(inputs, 4), conv(inputs, 4)
    x = layers.Concatenate()([layers.Add()([a, b]), a])
    assert_oracle(Model(inputs, conv(layers.ReLU()(x), 4)), converted=3)


def test_channels_tied_to_the_next_ones():
    """add([concat(a, b), concat(b, a)]) ties channel i of a to channel i of b."""
    inputs = Input((9, 9, 3))
    a, b = conv(inputs, 4), conv(inputs, 4)
    x = layers.Add()([layers.Concatenate()([a, b]), layers.Concatenate()([b, a])])
    assert_oracle(Model(inputs, conv(x, 4)), converted=3)
