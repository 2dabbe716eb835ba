"""The calibration of causal networks of signals, and of networks with a factor for each axis."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import randomise
from test_calibration_ranks import BUDGET, error, quick, residual, smooth  # noqa: F401 (`quick` is a fixture)

import octconvert
from octconvert.calibration.fitting.sweep import Sweep
from octconvert.calibration.selection import lost_detail
from octconvert.model.graph_reader import build_graph


def tcn(steps=48, width=8, dilations=(1, 2, 4)):
    """Residual blocks of two dilated causal convolutions, one value at each step."""
    inputs = keras.Input((steps, 2))
    x = layers.Conv1D(width, 1)(inputs)
    for dilation in dilations:
        y = x
        for _ in range(2):
            y = layers.Conv1D(width, 3, padding="causal", dilation_rate=dilation)(y)
            y = layers.ReLU()(layers.BatchNormalization()(y))
        x = layers.ReLU()(layers.Add()([x, y]))
    return randomise(keras.Model(inputs, layers.Conv1D(3, 1)(x)))


def pooled(x, octave):
    """Means of the positions up to ``octave * i``, written out."""
    last = range(0, x.shape[1], octave)
    return np.stack([x[:, max(0, end - octave + 1) : end + 1].mean(axis=1) for end in last], axis=1)


@pytest.mark.parametrize("octave, steps", [(2, 48), (2, 45), (4, 46)])
def test_low_maps_that_can_be_exact_are(octave, steps):
    """Convolutions of one position on means are the means of their results."""
    inputs = keras.Input((steps, 2))
    second = layers.Conv1D(8, 1, name="second")(layers.Conv1D(8, 1)(inputs))
    outputs = layers.Conv1D(4, 3, padding="causal")(second)
    model = randomise(keras.Model(inputs, outputs))
    alignment, x = nets.alignment_of(model, octave=octave), smooth(1, 48, 0, (steps,))
    nets.damage(alignment.model)
    Sweep(alignment, nets.samples(x), 16).run()
    (tensor,) = next(call.outputs for call in alignment.source.calls if call.layer_name == "second")
    counterpart = alignment.counterparts[tensor]
    values = nets.everything(alignment.converted, [x])
    expected = np.array(nets.everything(alignment.source, [x])[tensor])
    low = pooled(expected[..., counterpart.split.low], octave)
    assert np.abs(np.array(values[counterpart.numbers[1]]) - low).max() < 1e-3 * np.abs(low).max()


@pytest.mark.parametrize("steps", [48, 45])
def test_an_output_of_a_low_map_alone_is_the_best_there_is(steps):
    """A cell stands for the positions from its own one on, though it covers those before."""
    inputs = keras.Input((steps, 2))
    x = layers.Conv1D(6, 3, padding="causal", activation="relu")(inputs)
    model = randomise(keras.Model(inputs, layers.Conv1D(4, 1)(x)))
    alignment, x = nets.alignment_of(model, alpha=1.0), smooth(1, 64, 0, (steps,))
    nets.damage(alignment.model)
    Sweep(alignment, nets.samples(x), 16).run()
    last = alignment.converted.producer(alignment.converted.outputs[0])
    low = np.array(nets.everything(alignment.converted, [x])[last.inputs[0]])
    assert low.shape[1] == -(-steps // 2)
    rows = np.repeat(low, 2, axis=1)[:, :steps].reshape(-1, low.shape[-1])
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    expected = np.array(model(x)).reshape(len(rows), -1)
    best = np.square(rows @ np.linalg.lstsq(rows, expected, rcond=None)[0] - expected).mean()
    found = np.square(np.array(alignment.model(x)).reshape(expected.shape) - expected).mean()
    assert best > 1e-3 and found < 1.01 * best


def test_lost_detail_is_what_a_causal_cell_lacks():
    x = smooth(1, 4)
    lost = lost_detail(ops.convert_to_tensor(x), 4, build_graph(tcn()), True)
    assert np.allclose(lost, x - np.repeat(pooled(x, 4), 4, axis=1), atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("data", [True, False], ids=["samples", "synthetic"])
def test_a_causal_network(data):
    model = tcn(None if data else 48)
    options = dict(min_size=1, octave=2)
    sliced = octconvert.convert(model, calibration=False, **options)
    samples = smooth(1, 96, 0, (48,)) if data else None
    budget = dict(calibration_samples=160, calibration_budget=BUDGET)
    result = octconvert.convert(model, calibration=samples, **budget, **options)
    assert result.report.calibration is not None
    assert "solve" in {step.name for step in result.report.calibration.steps if step.kept}
    unseen = smooth(1, 64, 9, (48,))
    assert error(model, result.model, unseen) < 0.8 * error(model, sliced.model, unseen)
    changed = unseen[:1].copy()
    changed[:, 21:] += 3.0
    before, after = (np.array(result.model(each)) for each in (unseen[:1], changed))
    assert np.array_equal(before[:, :21], after[:, :21]) and not np.array_equal(before[:, 21:], after[:, 21:])


@pytest.mark.long
def test_a_factor_for_each_axis():
    model, x = residual(3), smooth(3, 64)
    options = dict(min_size=1, octave=(1, 2, 2))
    sliced = octconvert.convert(model, calibration=False, **options)
    result = octconvert.convert(model, calibration=x, calibration_budget=BUDGET, **options)
    assert {"solve", "select"} <= {step.name for step in result.report.calibration.steps if step.kept}
    unseen = smooth(3, 32, seed=9)
    assert error(model, result.model, unseen) < 0.5 * error(model, sliced.model, unseen)


@pytest.mark.long
def test_alphas_for_a_target_with_a_factor_for_each_axis():
    steps = ("select", "solve")
    options = dict(min_size=1, octave=(1, 2, 2), calibration=smooth(3, 32), calibration_steps=steps)
    result = octconvert.convert(residual(3), target_macs=0.8, calibration_budget=BUDGET, **options)
    assert 0.7 < result.after.macs / result.before.macs <= 0.8
