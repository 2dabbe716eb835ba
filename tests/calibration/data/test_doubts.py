"""Data that do not look like what the model was trained on: a note, and what is fitted to them has to be of use."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import run

import octconvert
from octconvert.calibration.data.conventions import BYTES, CENTRED, SIGNED, STANDARD, UNIT, from_moments, range_of
from octconvert.calibration.data.doubts import doubts_about
from octconvert.calibration.data.supply import Supply
from octconvert.calibration.evidence import ModelOutputs
from octconvert.errors import InputError
from octconvert.model.graph_reader import build_graph

ENOUGH = dict(calibration_budget=3_600.0)
"""Seconds: the data and the steps bound the work, on every machine."""


def settled(model, x):
    """``model`` with the statistics of its first BatchNormalization as a training on ``x`` leaves them."""
    norm = next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    values = keras.Model(model.inputs, norm.input).predict(x, verbose=0)
    norm.moving_mean.assign(values.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(values.var(axis=(0, 1, 2)))
    return model


def supply_of(x, copies: int = 1) -> Supply:
    return Supply(nets.samples(x[2:].repeat(copies, axis=0)), nets.samples(x[:2]), "test", "", len(x) - 2, True)


def doubt(graph, supply, ranges=()) -> str:
    return doubts_about(graph, supply, ranges).reason


def rescaled() -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    x = layers.Normalization(mean=(0.0, 0.1, 0.2), variance=(1.0, 2.0, 3.0))(inputs)
    return keras.Model(inputs, layers.Conv2D(4, 3)(x))


@pytest.mark.parametrize("make", [nets.small, rescaled])
def test_what_is_doubted(make):
    x = nets.images(24)
    model = settled(make(), x) if make is nets.small else make()
    graph = build_graph(model)
    for usual in (x, 2 * x, 0.3 * x + 0.5, x[:, ::-1]):
        assert doubt(graph, supply_of(usual)) == ""
    for copies in (1, 2):
        assert doubt(graph, supply_of(x[:1].repeat(24, axis=0), copies)) == "all 24 samples are the same"
    assert "times as far spread" in doubt(graph, supply_of(255 * x))
    assert "times as far spread" in doubt(graph, supply_of(x + 200))
    assert "hardly varies" in doubt(graph, supply_of(1e-3 * x))


@pytest.fixture(scope="module")
def convolution():
    inputs = keras.Input((16, 16, 3))
    return build_graph(keras.Model(inputs, layers.Conv2D(4, 3)(inputs)))


def unit(count: int = 24) -> np.ndarray:
    """Images in 0..1."""
    return (nets.images(count) + 2) / 4


def test_constant_channels_are_doubted(convolution):
    x = unit(80)
    x[..., 1] = 0.3
    assert doubt(convolution, supply_of(x)) == "channel 1 (the first is 0) has one value in all samples"
    x[..., 2] = 0.7
    assert doubt(convolution, supply_of(x)) == "channels 1, 2 (the first is 0) have one value in all samples"
    x[0, 3, 3, 1:] = 0.5  # held out
    assert doubt(convolution, supply_of(x)) == ""


def test_grey_images_and_few_samples_are_remarked_only(convolution):
    x = unit(80)
    assert doubts_about(convolution, supply_of(x)).remarks == ()
    grey = x[..., :1] * np.array((1.0, 0.5, 0.25), "float32") + np.array((0.0, 0.1, 0.2), "float32")
    result = doubts_about(convolution, supply_of(grey[:31]))
    assert result.reason == "" and len(result.remarks) == 2
    assert "calibrated on 31 samples only (29 to fit to, 2 to measure on)" in result.remarks[0]
    assert "all samples are grey" in result.remarks[1]


@pytest.mark.parametrize(
    "expected, scale, offset, doubted",
    [
        (UNIT, 1, 0, False),
        (UNIT, 0.4, 0, False),  # dark
        (UNIT, 255, 0, True),
        (UNIT, 1, -0.45, True),
        (UNIT, 1 / 255, 0, True),
        (BYTES, 255, 0, False),
        (BYTES, 1, 0, True),
        (BYTES, 2, -1, True),
        (BYTES, 255, -127.5, True),
        (SIGNED, 2, -1, False),
        (SIGNED, 1.6, -0.8, False),
        (SIGNED, 1, 0, True),
        (SIGNED, 255, 0, True),
        (STANDARD, 4, -1.8, False),
        (STANDARD, 2, -1, False),  # by statistics the two are not told apart
        (STANDARD, 1, 0, True),
        (STANDARD, 255, 0, True),
        (CENTRED, 255, -110, False),
        (CENTRED, 255, 0, True),
        (CENTRED, 4, -1.8, True),
    ],
)
def test_values_in_another_range_are_doubted(convolution, expected, scale, offset, doubted):
    x = (scale * unit() + offset).astype("float32")
    reason = doubt(convolution, supply_of(x), [range_of(expected, 3, f"{expected.name}, read from 'x'")])
    assert bool(reason) == doubted
    if doubted:
        assert reason.startswith(f"the values are from {x.min():.3g} to {x.max():.3g}, mean ")
        assert f"where the model expects {expected.name}" in reason and "`preprocess`" in reason


def test_data_that_the_statistics_are_of_are_not_doubted(convolution):
    """Dark images with few bright pixels, which are like no usual range."""
    x = np.where(unit() > 0.9, 1.0, 0.0).astype("float32")
    own = from_moments((x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))), "read from 'x'")
    assert doubt(convolution, supply_of(x), [own]) == ""
    assumed = range_of(STANDARD, 3, "assumed", known=False)
    assert doubt(convolution, supply_of(255 * x), [assumed]) == ""


def test_without_statistics_only_equal_samples_are_doubted(convolution):
    assert doubt(convolution, supply_of(255 * nets.images(8))) == ""
    assert doubt(convolution, supply_of(np.zeros((8, 16, 16, 3), "float32"))) == "all 8 samples are the same"


def alike(x):
    return x[:1].repeat(len(x), axis=0)


@pytest.mark.long
@pytest.mark.parametrize("spoil, target_macs", [(alike, None), (alike, 0.7), (lambda x: 0 * x, None)])
def test_sliced_weights_are_kept_where_the_calibration_made_the_model_worse(spoil, target_macs):
    x = nets.images(40)
    source, steps = settled(nets.small(), x), ("select", "solve")
    options = dict(calibration_steps=steps, target_macs=target_macs, **ENOUGH)
    result = octconvert.convert(source, calibration=spoil(x), min_size=1, **options)
    told = [note for note in result.report.notes if "all 40 samples are the same" in note]
    assert len(told) == 1 and "the sliced weights are kept" in told[0]
    assert not any(step.kept for step in result.report.calibration.steps if step.name == "solve")
    expected, *found = (
        ModelOutputs(tuple(run(model, [x]))) for model in (source, result.model, sliced(source, result))
    )
    assert expected.error(found[0]) <= 1.01 * expected.error(found[1])


@pytest.mark.long
def test_values_of_another_range_are_told():
    x = nets.images(40)
    options = dict(calibration_steps=("select", "solve"), **ENOUGH)
    result = octconvert.convert(settled(nets.small(), x), calibration=255 * x, min_size=1, **options)
    assert sum("`preprocess` changes them" in note for note in result.report.notes) == 1


def sliced(source, result) -> keras.Model:
    return octconvert.convert(source, plan=result.plan, calibration=False).model


def test_data_that_make_no_finite_outputs_are_refused():
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(ops.log(inputs), 8)
    source = nets.randomise(keras.Model(inputs, nets.head(nets.conv_bn(x, 8))))
    data = np.abs(nets.images(16)) + 0.1
    data[:12] *= -1
    with pytest.raises(InputError, match=r"the source's outputs are not finite for .* held-out sample"):
        octconvert.convert(source, calibration=data, min_size=1)
    options = dict(calibration_samples=16, input_range=(-1, 1), **ENOUGH)
    result = octconvert.convert(source, min_size=1, **options)
    assert any("not calibrated: the source's outputs are not finite" in note for note in result.report.notes)
    assert result.report.calibration is None
