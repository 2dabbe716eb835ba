"""The training at the end: what it compares, what it may change, when it is made at all."""

from dataclasses import replace

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers

from octconvert.calibration import refinement
from octconvert.calibration.data.supply import Supply
from octconvert.calibration.effort import CALL_SECONDS, Pace, estimated_seconds
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.refinement import (
    BATCH,
    KEPT,
    LEARNING_RATE,
    LEAST_SAMPLES,
    LEAST_TIMES,
    MOST_TIMES,
    RUNS,
    SAMPLES_AN_ERROR,
    SHORT,
    TRAINING_BYTES,
    USUAL_ERROR,
    Trained,
    TrainingPlan,
    WholeBatches,
    inner_tensors,
    peak_rate,
    plan_training,
    refine,
    trained_model,
    training_batch,
)
from octconvert.calibration.training_schedule import LEAST_STEPS, PROBED, Schedule
from octconvert.costs.cost import cost_of
from octconvert.training.distiller import Distiller


def supply_of(model, count=LEAST_SAMPLES) -> Supply:
    def arrays(number, seed):
        shapes = [tensor.shape for tensor in model.inputs]
        return [nets.images(number, shape[1], shape[3], seed) for shape in shapes]

    fit, held_out = nets.samples(*arrays(count, 1)), nets.samples(*arrays(16, 2))
    return Supply(fit, held_out, "test", "", count, images=len(model.inputs) == 1)


def error(alignment, supply) -> float:
    expected, found = (ModelOutputs.of(graph, supply.held_out, 16) for graph in (alignment.source, alignment.converted))
    return expected.error(found)


@pytest.mark.quick("nested-0.5", "whole-low")
@pytest.mark.parametrize(
    "make, alpha",
    [
        *((make, 0.5) for make in (*nets.TOPOLOGIES, nets.transformer_tail)),
        (nets.assorted, 1.0),
        pytest.param(nets.small, 1.0, id="whole-low"),
    ],
)
def test_at_octave_1_there_is_nothing_to_learn(make, alpha):
    """Every tensor is compared with the one it stands for."""
    model = make()
    alignment, supply = nets.alignment_of(model, octave=1, alpha=alpha), supply_of(model, 8)
    assert len(inner_tensors(alignment)) >= 2
    trained = trained_model(alignment)
    trained.compile("sgd", run_eagerly=True)
    x = list(supply.fit.arrays) if len(supply.fit.arrays) > 1 else supply.fit.arrays[0]
    assert trained.evaluate(x, verbose=0) < 1e-8
    nets.damage(alignment.model, 0.1)
    assert trained.evaluate(x, verbose=0) > 1e-4


@pytest.mark.long
@pytest.mark.parametrize("make", [nets.small, nets.two_inputs])
def test_brings_a_damaged_model_back(make):
    model = make()
    alignment, supply = nets.alignment_of(model, octave=1), supply_of(model)
    nets.damage(alignment.model, 0.2)
    before, source = error(alignment, supply), model.get_weights()
    statistics = [(v, np.array(v)) for v in alignment.model.non_trainable_weights if "moving" in v.path]
    seen = []
    trained = refine(
        alignment, supply, TrainingPlan(40, 16), 0.1, Pace(), 0, lambda done, total: seen.append((done, total))
    )
    assert trained == Trained(40) and seen == [(i, 40) for i in range(1, 41)]
    assert error(alignment, supply) < 0.5 * before
    assert statistics and all(np.array_equal(v, old) for v, old in statistics)
    assert all(np.array_equal(a, b) for a, b in zip(source, model.get_weights(), strict=True))


@pytest.mark.long
def test_frozen_layers_are_fitted_and_frozen_again():
    model = nets.two_convolutions()
    for layer in model.layers[:-1]:
        layer.trainable = False
    alignment, supply = nets.alignment_of(model), supply_of(model)
    flags = [layer.trainable for layer in alignment.model._flatten_layers()]
    first = next(layer for layer in alignment.model.layers if layer.weights and not layer.trainable)
    before = [np.array(v) for v in first.weights]
    refine(alignment, supply, TrainingPlan(4, 16), 0.1, Pace(), 0)
    assert [layer.trainable for layer in alignment.model._flatten_layers()] == flags
    assert not all(np.array_equal(a, b) for a, b in zip(before, first.weights, strict=True))


@pytest.mark.long
def test_the_training_step_is_traced_once(monkeypatch):
    """A trace takes seconds; a second one is made where the first creates variables."""
    traced, train_step = [], Distiller.train_step
    monkeypatch.setattr(Distiller, "train_step", lambda self, data: traced.append(1) or train_step(self, data))
    model = nets.two_convolutions()
    assert refine(nets.alignment_of(model), supply_of(model), TrainingPlan(2, 16), 0.1, Pace(), 0).steps == 2
    assert len(traced) == 1


@pytest.mark.long
def test_the_same_seed_gives_the_same_weights():
    found = []
    for seed in (1, 1, 2):
        model = nets.two_convolutions()
        alignment = nets.alignment_of(model)
        refine(alignment, supply_of(model), TrainingPlan(6, 16), 0.1, Pace(), seed)
        found.append(np.concatenate([np.ravel(v) for v in alignment.model.weights]))
    assert np.allclose(found[0], found[1], atol=1e-5) and not np.allclose(found[0], found[2], atol=1e-5)


@pytest.mark.long
def test_ends_when_the_time_is_over():
    model = nets.two_convolutions()
    assert (
        refine(nets.alignment_of(model), supply_of(model), TrainingPlan(10_000, 16), 0.1, Pace(until=0.0), 0).steps == 1
    )


@pytest.mark.long
def test_gives_up_what_would_make_too_few_steps():
    """Every step takes three seconds of a clock that this test moves on."""
    model, clock = nets.two_convolutions(), nets.Clock()
    pace, slow = Pace(clock, until=100.0), lambda done, total: clock.pass_by(3.0)
    trained = refine(nets.alignment_of(model), supply_of(model), TrainingPlan(10_000, 16), 0.1, pace, 0, slow)
    assert trained.steps == PROBED


@pytest.mark.long
def test_a_training_that_diverges_begins_again_with_a_lower_rate(monkeypatch):
    """42 times the usual rate is too much; the second or the third one is not."""
    model = nets.two_convolutions()
    alignment, supply = nets.alignment_of(model), supply_of(model)
    nets.damage(alignment.model, 0.02)
    before = error(alignment, supply)
    done = []
    monkeypatch.setattr(refinement, "LEARNING_RATE", 42 * LEARNING_RATE)
    progress = lambda count, total: done.append((count, total))  # noqa: E731
    trained = refine(alignment, supply, TrainingPlan(400, 16), 0.1, Pace(), 0, progress)
    assert trained == Trained(400, restarts=trained.restarts) and trained.restarts >= 1
    assert done == [(count, 400) for count in range(1, 401)]
    assert error(alignment, supply) < before
    monkeypatch.setattr(refinement, "LEARNING_RATE", 1e6)
    assert refine(alignment, supply, TrainingPlan(400, 16), 0.1, Pace(), 0).diverges


def test_the_further_from_the_source_the_larger_the_rate():
    errors = (0.0, USUAL_ERROR, 2.25 * USUAL_ERROR, 1e3, np.inf)
    expected = [LEAST_TIMES, 1, 1.5, MOST_TIMES, MOST_TIMES]
    assert [peak_rate(error) / LEARNING_RATE for error in errors] == pytest.approx(expected)


def rates_of(steps: int, pace: Pace, each) -> list[float]:
    """The learning rates of a training of so many steps at most; ``each``: called in every step."""
    watch = Schedule(2.0, steps, pace, lambda done, total: each())
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    watch.set_model(model)
    rates, model.stop_training = [], False
    while not model.stop_training:
        watch.on_train_batch_begin(0)
        rates.append(float(model.optimizer.learning_rate))
        watch.on_train_batch_end(0, {"loss": 1.0})
    return rates


def test_the_rate_goes_up_and_comes_down():
    rates = rates_of(100, Pace(), lambda: None)
    assert len(rates) == 100
    assert rates[0] < 0.1 and rates[10] == pytest.approx(2.0, rel=0.01) and 0 < rates[-1] < 0.01
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_a_slow_training_is_shortened_and_one_that_is_fast_enough_is_not():
    clock = nets.Clock()
    assert rates_of(400, Pace(clock, until=450.0), lambda: clock.pass_by(1.0)) == rates_of(400, Pace(), lambda: None)
    clock = nets.Clock()
    pace = Pace(clock, until=200.0)
    rates = rates_of(400, pace, lambda: clock.pass_by(1.0))
    assert pace.cut and 190 <= len(rates) <= 200 and max(rates) > 1.9 and rates[-1] < 0.01


def test_batches_are_whole_and_every_epoch_has_another_order():
    x, other = np.arange(70.0, dtype="float32")[:, None], np.arange(70.0, 140, dtype="float32")[:, None]
    epochs = []
    for arrays in ((x,), (x, other)):
        data = WholeBatches(nets.samples(*arrays), 32, seed=4)
        for _ in range(2):
            epochs.append([data[i][0] for i in range(len(data))])
            data.on_epoch_end()
    assert all([len(np.ravel(part)) for part in epoch] == [32, 32] for epoch in epochs[:2])
    seen = [np.concatenate(epoch).ravel().tolist() for epoch in epochs[:2]]
    assert all(len(set(order)) == 64 for order in seen) and seen[0] != seen[1]
    for alone, both in zip(epochs[:2], epochs[2:], strict=True):
        for part, (first, second) in zip(alone, both, strict=True):
            assert np.array_equal(part, first) and np.array_equal(first + 70, second)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_images_are_flipped_and_shifted(data_format):
    """The channels keep their places, and every value is one of the image."""
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    x = np.stack([100.0 * channel + np.arange(64.0).reshape(8, 8) for channel in range(3)], axis=-1)
    x = np.moveaxis(x, -1, min({0, 1, 2} - {axis - 1 for axis in axes}))
    images = np.repeat(x[None], 32, axis=0).astype("float32")
    data = WholeBatches(nets.samples(images), 32, seed=1, axes=axes)
    moved = data[0][0]
    channels = np.moveaxis(moved, axes, (1, 2))
    assert moved.shape == images.shape and (channels // 100 == np.arange(3.0)).all()
    left_to_right = np.sign(channels[:, 0, -1, 0] - channels[:, 0, 0, 0])
    assert set(left_to_right) == {-1.0, 1.0} and not (moved == images).all()
    assert not np.array_equal(data[0][0], moved)


@pytest.mark.parametrize("activation_bytes", [1, 40_000_000, 110_000_000, 2**31])
def test_batches_are_even(activation_bytes):
    size = training_batch(activation_bytes)
    assert size == 1 or (size % 2 == 0 and size <= BATCH)


@pytest.mark.parametrize("uses, size", [(1.3, 24), (2.0, 16), (16.0, 2), (100.0, 1)])
def test_a_step_sees_as_many_images_where_a_sample_has_several(uses, size):
    assert training_batch(1, uses) == size
    supply = supply_of(nets.small())
    alone, several = plan_training(supply, 4_000.0, 0.1, 1), plan_training(supply, 4_000.0, 0.1 * uses, 1, uses)
    assert several.batch == size and several.steps == pytest.approx(alone.steps, rel=0.35 if size > 1 else 0.8)


@pytest.mark.long
def test_dropout_does_not_drop():
    model = nets.assorted()
    assert any(isinstance(layer, layers.Dropout) for layer in model.layers)
    alignment = nets.alignment_of(model, octave=1)
    trained = trained_model(alignment)
    x = nets.images(4, 12)
    assert np.allclose(trained(x, training=True)[0], trained(x, training=False)[0], atol=1e-6)


def test_how_long_a_training_is():
    supply = supply_of(nets.small())
    second = 1.0
    assert plan_training(supply, 1e9, second, 1).steps == 6_000
    assert plan_training(supply, 1e9, second, 1).batch == BATCH
    large = plan_training(supply, 1e9, second, TRAINING_BYTES // (2 * KEPT))
    assert large.batch == 2
    short = plan_training(supply, RUNS * BATCH * (LEAST_STEPS - 1), second, 1)
    assert short.steps == 0 and "`calibration_budget`" in short.reason
    made = replace(supply, more=lambda *_: supply.fit, more_seconds=10.0)
    generated = plan_training(made, 10_000.0, 0.01, 1)
    assert generated.samples * 10.0 + generated.steps * RUNS * BATCH * 0.01 <= 10_000.0 and generated.samples == 300
    few = plan_training(supply_of(nets.small(), LEAST_SAMPLES - 1), 1e9, second, 1)
    assert few.steps == 0 and few.reason.endswith(f"there are {LEAST_SAMPLES - 1}")
    mirrored = plan_training(replace(supply_of(nets.small(), 56), count=28), 1e9, second, 1)
    assert mirrored.reason.endswith("there are 56, mirror images among them")


def test_a_training_is_as_long_as_its_error_is_worth():
    """Fewer steps, then smaller batches, then none."""
    plan, worth = TrainingPlan(1_000, BATCH), SHORT * BATCH / SAMPLES_AN_ERROR
    assert plan.shortened(1.0, 1) == plan
    fewer = plan.shortened(1.5 * worth, 1)
    assert fewer.steps == pytest.approx(1.5 * SHORT, abs=1) and fewer.batch == BATCH
    assert plan.shortened(0.5 * worth, 9).steps == pytest.approx(1.5 * SHORT, abs=1)  # deeper
    smaller = plan.shortened(0.5 * worth + 1e-4, 1)
    assert (smaller.steps, smaller.batch) == (SHORT, BATCH // 2)
    none = plan.shortened(0.01, 1)
    assert none.steps == 0 and "an error of 1% " in none.reason and "`calibration_budget`" in none.reason
    assert TrainingPlan(200, BATCH).shortened(0.5 * worth + 1e-4, 1).steps == SHORT  # of half
    assert TrainingPlan(200, 4).shortened(0.01, 9) == TrainingPlan(200, 4)  # large images have small batches


def test_the_time_is_estimated_from_the_model():
    costs = cost_of(nets.residual())
    told = estimated_seconds(costs, calls=0)
    assert estimated_seconds(cost_of(nets.residual(size=32)), calls=0) > 2 * told
    assert estimated_seconds(costs, calls=20) == pytest.approx(told + 20 * CALL_SECONDS)
