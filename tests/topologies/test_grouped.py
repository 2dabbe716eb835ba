"""Grouped convolutions: every group of channels must be split alike."""

import pytest
from grouped_nets import between, conv
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, reasons, roles


@pytest.mark.quick("8-4-16")
@pytest.mark.parametrize(("filters", "groups", "width"), [(8, 2, 8), (8, 4, 16), (16, 4, 8), (12, 3, 6), (12, 6, 12)])
def test_groups(filters, groups, width):
    model = between(filters, groups, width)
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"before": "first", "grouped": "intermediate", "after": "last"}
    assert_portable(model)


@pytest.mark.quick("8-4-0.25", "9-3-0.25")
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
@pytest.mark.parametrize(("filters", "groups"), [(8, 4), (9, 3), (10, 5)])
def test_alpha_that_does_not_divide_evenly(filters, groups, alpha):
    """Each group gets int(alpha * its channels) low ones, if that is any."""
    model = between(filters, groups)
    result = assert_oracle(model, alpha=alpha)
    low = int(alpha * (filters // groups))
    assert result.plan.convolutions[0].alpha_out == pytest.approx(low * groups / filters)


@pytest.mark.long
def test_groups_on_a_plain_input():
    inputs = Input((10, 10, 4))
    model = Model(inputs, conv(conv(inputs, 8, 2, name="first"), 8, 4, name="last"))
    assert roles(assert_oracle(model, converted=2)) == {"first": "first", "last": "last"}
    assert_portable(model)


@pytest.mark.long
@pytest.mark.parametrize("strides", [1, 2])
def test_resnext_block(strides):
    inputs = Input((14, 15, 3))
    x = conv(inputs, 16)
    y = layers.ReLU()(layers.BatchNormalization()(conv(x, 16, kernel=1)))
    y = layers.ReLU()(layers.BatchNormalization()(conv(y, 16, 4, strides=strides)))
    y = layers.BatchNormalization()(conv(y, 16, kernel=1))
    x = conv(x, 16, kernel=1, strides=strides)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.Add()([x, y]))))
    assert_oracle(model, converted=5)
    assert_portable(model)


@pytest.mark.long
def test_two_group_counts_on_one_tensor():
    inputs = Input((9, 9, 3))
    x = conv(inputs, 12)
    model = Model(inputs, conv(layers.Concatenate()([conv(x, 12, 2), conv(x, 12, 3)]), 4))
    assert_oracle(model, converted=4)


def test_groups_across_a_concatenation_with_a_plain_tensor():
    """The plain half is all high, so its groups can not hold as many low channels as the others."""
    inputs = Input((9, 9, 8))
    x = layers.Concatenate()([inputs, conv(inputs, 8, name="a")])
    x = conv(x, 8, 2, name="grouped")
    result = assert_oracle(Model(inputs, conv(x, 4, name="after")))
    assert roles(result)["grouped"] == "plain"
    assert "evenly" in reasons(result)["grouped"]


@pytest.mark.long
def test_grouped_output_tied_to_a_concatenation():
    """The grouped convolution's output is tied to channels that are decided elsewhere."""
    inputs = Input((9, 9, 4))
    parts = layers.Concatenate()([conv(inputs, 2, name="narrow"), conv(inputs, 6, name="wide")])
    x = layers.Add()([parts, conv(inputs, 8, 2, name="grouped")])
    assert_oracle(Model(inputs, conv(x, 4, name="after")))
    assert_oracle(Model(inputs, conv(x, 4, name="after")), alpha=0.75)
