"""The calibration of networks of signals (1-D), and of volumes and videos (3-D)."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.calibration import refinement
from octconvert.calibration.data.natural import natural
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.fitting import sweep
from octconvert.calibration.fitting.sweep import Sweep
from octconvert.calibration.renormalization import renormalize
from octconvert.model.graph_reader import build_graph

SIZES = {1: (48,), 3: (6, 8, 8)}
BUDGET = 3_600.0


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "MOST_ROWS", 6_000)
        patch.setattr(refinement, "LEAST_STEPS", 20)
        patch.setattr(refinement, "MOST_STEPS", 20)
        yield


def of(rank: int, name: str):
    return getattr(layers, f"{name}{rank}D")


def residual(rank, size=None, width=8, axis=-1, channels=2):
    """A block with a stride and a projection behind a plain one."""
    size = SIZES[rank] if size is None else size
    inputs = keras.Input((*size, channels) if axis == -1 else (channels, *size))

    def conv(x, filters, kernel=3, strides=1):
        x = of(rank, "Conv")(filters, kernel, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(axis=axis)(x)

    x = layers.ReLU()(conv(inputs, width))
    for strides in (1, 2):
        y = conv(layers.ReLU()(conv(x, width * strides, strides=strides)), width * strides)
        x = layers.ReLU()(layers.Add()([y, x if strides == 1 else conv(x, 2 * width, 1, 2)]))
    x = layers.Dense(5)(of(rank, "GlobalAveragePooling")()(x))
    return randomise(keras.Model(inputs, x, name=f"residual{rank}"))


def smooth(rank, count=48, seed=0, size=None):
    return (4 * natural(count, SIZES[rank] if size is None else size, 2, seed) - 2).astype("float32")


def error(source, converted, x) -> float:
    first, second = (ModelOutputs.of(build_graph(model), nets.samples(x), 16) for model in (source, converted))
    return first.error(second)


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_least_squares_finds_the_exact_weights_where_there_are_some(rank):
    """At octave 1 a conversion can be the same function."""
    samples = nets.samples(smooth(rank, 64))
    alignment = nets.alignment_of(residual(rank), octave=1)
    nets.damage(alignment.model)
    assert error(alignment.source.model, alignment.model, samples.arrays[0]) > 0.02
    fits = Sweep(alignment, samples, 16).run()
    assert all(fit.solution.changed for fit in fits) and len(fits) > 6
    assert error(alignment.source.model, alignment.model, samples.arrays[0]) < 1e-4


@pytest.mark.parametrize("rank", [1, 3])
def test_a_smaller_first_convolution_is_made_up_for(rank):
    x = smooth(rank)
    inputs = keras.Input((*SIZES[rank], 2))
    y = of(rank, "Conv")(8, 3, padding="same", use_bias=False)(inputs)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = of(rank, "GlobalAveragePooling")()(of(rank, "Conv")(4, 3)(y))
    model = randomise(keras.Model(inputs, layers.Dense(3)(y)))
    seen, axes = model.layers[1](x), tuple(range(rank + 1))
    model.layers[2].moving_mean.assign(keras.ops.mean(seen, axis=axes))  # as training would leave them
    model.layers[2].moving_variance.assign(keras.ops.var(seen, axis=axes))
    alignment = nets.alignment_of(model, octave=1)
    convolution = next(unit.layer for unit in alignment.calls if unit.part == "octave")
    for kernel in (convolution.hh_kernel, convolution.hl_kernel):
        kernel.assign(0.8 * np.array(kernel))
    before = error(model, alignment.model, x)
    renormalize(alignment, nets.samples(x).batches(16))
    assert error(model, alignment.model, x) < 0.01 * before


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("data", [True, False], ids=["samples", "synthetic"])
def test_unseen_samples_come_nearer_to_the_source(rank, data):
    model = residual(rank)
    sliced = octconvert.convert(model, min_size=1, calibration=False)
    samples = smooth(rank, 96) if data else None
    result = octconvert.convert(
        model, min_size=1, calibration=samples, calibration_samples=160, calibration_budget=BUDGET
    )
    assert result.report.calibration is not None
    assert {"solve", "select"} <= {step.name for step in result.report.calibration.steps if step.kept}
    noun = {1: "signal", 3: "volume"}[rank]
    assert data or f"synthetic {noun}" in result.report.calibration.data
    unseen = smooth(rank, 64, seed=9)
    share = 0.5 if data else 0.9  # weights are random, and so are the statistics of what would be synthetic for them
    assert error(model, result.model, unseen) < share * error(model, sliced.model, unseen)


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_alphas_are_chosen_for_a_target(rank):
    x, steps = smooth(rank, 64), ("select", "solve")
    options = dict(min_size=1, calibration=x, calibration_steps=steps, calibration_budget=BUDGET)
    result = octconvert.convert(residual(rank), target_macs=0.75, verify="deep", **options)
    assert 0.65 < result.after.macs / result.before.macs <= 0.75
    assert all(check.passed for check in result.report.checks)
    dropped = octconvert.convert(residual(rank), max_drop=0.2, **options)
    agreement = next(each for each in dropped.report.calibration.measures if each.name == "top-1 agreement")
    assert dropped.after.macs < dropped.before.macs and agreement.after >= 0.75


@pytest.mark.long
def test_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        model = residual(3, (4, 6, 4), axis=1)
        x = np.ascontiguousarray(np.moveaxis(smooth(3, 24, 0, (4, 6, 4)), -1, 1))
        alignment = nets.alignment_of(model)
        before = error(model, alignment.model, x[16:])
        Sweep(alignment, nets.samples(x[:16]), 4).run()
        assert error(model, alignment.model, x[16:]) < 0.5 * before
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.long
@pytest.mark.parametrize("rank, size", [(1, (45,)), (3, (7, 9, 10)), (1, (None,)), (3, (None, None, None))], ids=str)
def test_odd_and_open_sizes(rank, size):
    model = residual(rank, size)
    options = dict(min_size=1, calibration_budget=BUDGET, calibration_steps=("select", "solve"))
    sliced = octconvert.convert(model, min_size=1, calibration=False)
    result = octconvert.convert(model, calibration_samples=64, **options)
    unseen = smooth(rank, 16, 9, [length or 12 for length in size])
    assert error(model, result.model, unseen) < 0.7 * error(model, sliced.model, unseen)
