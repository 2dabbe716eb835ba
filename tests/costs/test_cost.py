"""MACs, parameters and activation memory against numbers worked out by hand."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import octconvert
from octconvert.costs.cost import cost_of
from octconvert.costs.macs import uses_a_sample
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import ASSUMED_SIZES


def model_of(shape, *stack):
    inputs = keras.Input(shape)
    x = inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "layer, shape, macs",
    [
        (layers.Conv2D(8, 3, padding="same"), (10, 12, 4), 10 * 12 * 9 * 4 * 8),
        (layers.Conv2D(8, (3, 5), padding="valid", strides=2), (11, 13, 4), 5 * 5 * 15 * 4 * 8),
        (layers.Conv2D(8, 3, padding="same", groups=4), (10, 12, 4), 10 * 12 * 9 * 1 * 8),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (10, 12, 4), 10 * 12 * 9 * 4 * 2),
        (layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2), (10, 12, 4), 120 * (9 * 8 + 8 * 6)),
        (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), (10, 12, 4), 10 * 12 * 9 * 4 * 6),
        (layers.Conv1D(8, 3, padding="same"), (10, 4), 10 * 3 * 4 * 8),
        (layers.Dense(7), (5,), 35),
        (layers.Dense(7), (10, 12, 5), 10 * 12 * 35),
        (layers.MaxPooling2D(), (10, 12, 4), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_macs_of_layers(layer, shape, macs):
    assert cost_of(model_of(shape, layer)).macs == macs


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_macs_of_octave_convolutions_follow_the_closed_form(alpha):
    stack = [layers.Conv2D(16, 3, padding="same") for _ in range(3)]
    result = octconvert.convert(model_of((32, 32, 16), *stack), alpha=alpha, calibration=False)
    ratios = [row.macs_after / row.macs_before for row in result.convolutions]
    edge = 1 - 3 * alpha / 4
    assert ratios == pytest.approx([edge, 1 - 3 * alpha * (2 - alpha) / 4, edge])


def test_whole_low_convolutions_cost_what_they_cost_on_a_quarter_of_the_cells():
    stack = [
        layers.Conv2D(16, 3, padding="same"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2D(8, 1),
        layers.Conv2D(8, 3, strides=2, padding="same"),
    ]
    model = model_of((32, 24, 4), *stack)
    result = octconvert.convert(model, alpha=1.0, calibration=False)
    assert [4 * row.macs_after for row in result.convolutions] == [row.macs_before for row in result.convolutions]
    assert result.after.parameters == result.before.parameters
    assert [row.high_shape for row in result.convolutions] == [None, None, None, (16, 12, 8)]
    assert [row.low_shape for row in result.convolutions] == [(16, 12, 16), (16, 12, 16), (16, 12, 8), None]
    image, maps, merged = 4 * 32 * 24 * 4, 4 * 16 * 12, 4 * 16 * 12 * 8
    assert result.after.activation_bytes == image + maps * (16 + 16 + 8) + merged


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_portable_costs_what_the_octave_layers_cost(alpha):
    stack = [layers.Conv2D(16, 3, padding="same"), layers.DepthwiseConv2D(3), layers.Conv2D(8, 1)]
    model = model_of((33, 30, 3), *stack)
    plain, portable = (octconvert.convert(model, alpha, portable=flag, calibration=False) for flag in (False, True))
    assert plain.after.macs == portable.after.macs < plain.before.macs
    assert [r.macs_after for r in plain.convolutions] == [r.macs_after for r in portable.convolutions]


def test_activation_memory_counts_what_is_alive():
    a = keras.Input((4, 4, 2))  # 128 bytes
    b = layers.Conv2D(4, 1)(a)  # 256 bytes
    c = layers.ReLU()(b)  # 256 bytes, b dies behind it
    d = layers.GlobalAveragePooling2D()(c)  # 16 bytes
    cost = cost_of(keras.Model(a, d))
    assert cost.activation_bytes == 128 + 256 + 256 + 16
    assert cost.peak_activation_bytes == 512
    held = cost_of(keras.Model(a, [d, b]))
    assert held.peak_activation_bytes == 256 + 256 + 16


def test_half_precision_takes_half_the_memory():
    model = model_of((4, 4, 2), layers.Conv2D(4, 1, dtype="mixed_float16"))
    assert cost_of(model).activation_bytes == 128 + 4 * 4 * 4 * 2


def test_unknown_sizes_are_assumed_and_said():
    cost = cost_of(model_of((None, None, 3), layers.Conv2D(4, 1)))
    size = ASSUMED_SIZES[0]
    assert cost.assumed_shapes == ((size, size, 3),)
    assert cost.macs == size**2 * 12


def test_an_open_model_that_needs_more_rows_gets_them():
    model = model_of(
        (None, None, 3), *[layers.Conv2D(2, 3, strides=2, dilation_rate=1) for _ in range(6)], layers.Conv2D(2, 3)
    )
    assert cost_of(model).assumed_shapes[0][0] > ASSUMED_SIZES[0]
    result = octconvert.convert(model, calibration=False)
    assert result.after.macs < result.before.macs and all(check.passed for check in result.checks)


def test_a_nested_model_counts_at_the_size_it_is_called_with_and_each_time():
    inner = model_of((None, None, 3), layers.Conv2D(4, 1))
    first, second = keras.Input((8, 8, 3)), keras.Input((4, 4, 3))
    model = keras.Model([first, second], [inner(first), inner(second)])
    cost = cost_of(model)
    assert cost.macs == (64 + 16) * 12 and cost.assumed_shapes == ()
    assert cost.parameters == inner.count_params()


def test_how_often_a_sample_uses_the_layers():
    part = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 3)])
    first, second, video = keras.Input((8, 8, 3)), keras.Input((8, 8, 3)), keras.Input((5, 8, 8, 3))
    models = {
        1: keras.Model(first, part(first)),
        2: keras.Model([first, second], layers.Subtract()([part(first), part(second)])),
        5: keras.Model(video, layers.TimeDistributed(part)(video)),
    }
    assert {uses: uses_a_sample(build_graph(model)) for uses, model in models.items()} == {1: 1, 2: 2, 5: 5}
    assert uses_a_sample(build_graph(keras.Model(first, layers.ReLU()(first)))) == 1
