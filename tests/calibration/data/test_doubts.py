"""Data that do not look like what the model was trained on: said, and not trusted further than moved weights."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import run

import octconvert
from octconvert.calibration.data.doubts import doubt
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


def test_without_statistics_only_equal_samples_are_doubted():
    inputs = keras.Input((16, 16, 3))
    graph = build_graph(keras.Model(inputs, layers.Conv2D(4, 3)(inputs)))
    assert doubt(graph, supply_of(255 * nets.images(8))) == ""
    assert doubt(graph, supply_of(np.zeros((8, 16, 16, 3), "float32"))) == "all 8 samples are the same"


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
    assert sum("times as far spread as in the model's training" in note for note in result.report.notes) == 1


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
