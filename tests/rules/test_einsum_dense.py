"""EinsumDense over the channels is a 1x1 convolution; with other equations it is left as it is."""

import pytest
from calibration_nets import images
from keras import Input, Model, layers
from oracle import all_layers, assert_oracle, assert_portable, largest_difference, randomise, reasons, roles, run

import octconvert


def net(equation="...c,cd->...d", shape=12, bias_axes="d"):
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layers.EinsumDense(equation, shape, bias_axes=bias_axes, activation="relu", name="mix")(x)
    return Model(inputs, layers.Conv2D(4, 3, padding="same", name="after")(x))


def test_over_the_channels():
    """Its MACs are those of a 1x1 convolution; a quarter of them is saved on each of the three low paths (alpha .5)."""
    result = assert_oracle(net(), converted=3)
    row = next(row for row in result.convolutions if row.name == "mix")
    assert (row.role, row.macs_before) == ("intermediate", 16 * 16 * 8 * 12)
    assert row.macs_after == row.macs_before * (1 + 3 / 4) / 4
    assert_portable(net())


def test_equation_with_a_letter_for_each_axis():
    assert_oracle(net("bhwc,cd->bhwd", (16, 16, 12), None), converted=3)


@pytest.mark.long
def test_calibrated_and_in_its_form_for_inference():
    """Its function is fitted, and its form for inference computes the same."""
    model, data = randomise(net()), images(16)
    result = octconvert.convert(model, min_size=1, calibration=data, calibration_steps=("select", "solve"))
    assert result.report.calibration is not None
    form = octconvert.for_inference(result.model)
    assert largest_difference(run(result.model, data), run(form, data)) < 1e-5
    assert not [layer for layer in all_layers(form) if type(layer).__module__.startswith("octconvert")]


@pytest.mark.parametrize(
    "equation, shape, bias_axes",
    [
        ("bhwc,wv->bhvc", (16, 16, 8), None),  # over columns
        ("bhwc,hwc->bhwc", (16, 16, 8), None),  # no sum
        ("bhwc,cd->bhwd", (16, 16, 8), "hd"),  # a bias for each row
        ("bhwc,dc->bhwd", (16, 16, 8), "d"),  # the kernel transposed
    ],
)
def test_other_equations_stop_the_pair(equation, shape, bias_axes):
    plan = octconvert.plan(net(equation, shape, bias_axes), min_size=1)
    assert "mix" not in roles(plan)
    assert f"its equation {equation} is not a 1x1 convolution of a map" in reasons(plan)["before"]
