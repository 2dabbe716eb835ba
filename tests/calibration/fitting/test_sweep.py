"""Layer-by-layer least squares."""

import gc

import calibration_nets as nets
import keras
import numpy as np
import pytest

from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.fitting import frontier, sweep
from octconvert.calibration.fitting.linear import regressions
from octconvert.calibration.fitting.sweep import Sweep


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """Quick, and still many more rows than weights."""
    monkeypatch.setattr(sweep, "MOST_ROWS", 8_000)


def few():
    """In four batches of eight: three to fit to, one to choose the ridge by."""
    return nets.samples(nets.images(32))


def images_for(model, count: int = 32):
    found = []
    for i, tensor in enumerate(model.inputs):
        found.append(nets.images(count, tensor.shape[1], tensor.shape[3], seed=i))
    return nets.samples(*found)


def error(alignment, samples) -> float:
    expected, found = (ModelOutputs.of(graph, samples, 16) for graph in (alignment.source, alignment.converted))
    return expected.error(found)


def fitted(model, samples, seed=0, damage=0.0, **options):
    """(alignment, error before, what came of the layers)."""
    alignment = nets.alignment_of(model, **options)
    if damage:
        nets.damage(alignment.model, damage)
    before = error(alignment, samples)
    return alignment, before, Sweep(alignment, samples, 8, seed).run()


@pytest.mark.quick("small", "transformer_tail")
@pytest.mark.parametrize(
    "make",
    [
        nets.small,
        lambda: nets.residual(activation=None, blocks=(2,)),
        nets.inverted_residual,
        nets.assorted,
        nets.two_inputs,
        nets.dense_net,
        nets.transformer_tail,
        nets.unet,
        *nets.CALLED_OFTEN,
    ],
)
def test_repairs_damaged_weights_at_octave_1(make):
    model = make()
    rng = np.random.default_rng(0)
    samples = nets.samples(*(rng.standard_normal((32, *t.shape[1:])).astype("float32") for t in model.inputs))
    alignment = nets.alignment_of(model, octave=1)
    nets.damage(alignment.model)
    before = error(alignment, samples)
    assert before > 0.02
    fits = Sweep(alignment, samples, 8).run()
    assert all(fit.solution.changed for fit in fits)
    assert error(alignment, samples) < 1e-5  # of squares: 0.3% of the deviation


@pytest.mark.long
def test_intercepts_are_fitted_into_biases_and_moving_means():
    rng = np.random.default_rng(0)
    samples = nets.samples(rng.standard_normal((32, 16, 16, 3)).astype("float32"))
    alignment = nets.alignment_of(nets.small(), octave=1)
    for layer in alignment.model.layers:
        for name in ("moving_mean", "bias", "high_bias", "low_bias"):
            value = getattr(layer, name, None)
            if value is not None and (regressions(layer) or name == "moving_mean"):
                value.assign(np.array(value) + rng.standard_normal(value.shape))
    assert error(alignment, samples) > 0.1
    Sweep(alignment, samples, 8).run()
    assert error(alignment, samples) < 1e-5


@pytest.mark.long
def test_a_second_sweep_takes_nothing_back():
    samples = few()
    alignment, _, _ = fitted(nets.small(), samples)
    once = error(alignment, samples)
    Sweep(alignment, samples, 8).run()
    assert error(alignment, samples) < 1.1 * once


@pytest.mark.quick("small-4")
@pytest.mark.parametrize("make, octave", [(nets.residual, 2), (nets.small, 4), (nets.inverted_residual, 2)])
def test_nearer_to_the_source_than_sliced_weights(make, octave):
    model, held_out = make(), nets.samples(nets.images(32, seed=77))
    alignment, _, fits = fitted(model, few(), octave=octave)
    sliced = error(nets.alignment_of(model, octave=octave), held_out)
    assert error(alignment, held_out) < sliced
    assert all(fit.solution.after <= fit.solution.before for fit in fits)
    assert {fit.name for fit in fits} <= {call.layer_name for call in alignment.source.calls}


@pytest.mark.long
def test_the_seed_decides(monkeypatch):
    monkeypatch.setattr(sweep, "MOST_ROWS", 500)
    monkeypatch.setattr(sweep, "LEAST_ROWS", 500)
    model, samples = nets.small(), few()
    first, again, other = (fitted(model, samples, seed)[0].model for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights(), strict=True))


def test_the_source_is_left_alone():
    model = nets.small()
    before = model.get_weights()
    fitted(model, few())
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.long
@pytest.mark.parametrize("make", [*nets.CALLED_OFTEN, nets.unet, nets.nested])
def test_other_nets_come_nearer(make):
    model = make()
    alignment, before, fits = fitted(model, images_for(model), octave=2)
    assert fits and error(alignment, images_for(model)) < before


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = nets.small()
    finally:
        keras.config.set_dtype_policy(before)
    alignment, sliced, fits = fitted(model, few())
    assert any(fit.solution.changed for fit in fits)
    assert error(alignment, few()) < 0.5 * sliced


@pytest.mark.long
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_activations_in_files_change_nothing(monkeypatch, tmp_path, policy):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    keras.config.set_dtype_policy(policy)
    try:
        model, samples = nets.small(), few()
    finally:
        keras.config.set_dtype_policy("float32")
    written = []
    original = frontier.Frontier._write
    monkeypatch.setattr(frontier.Frontier, "_write", lambda *a: written.append(1) or original(*a))
    in_memory = fitted(model, samples)[0].model.get_weights()
    assert not written
    monkeypatch.setattr(frontier.Frontier.__init__, "__defaults__", (1_000,))
    in_files = fitted(model, samples)[0].model.get_weights()
    assert written
    assert all(np.array_equal(a, b) for a, b in zip(in_memory, in_files, strict=True))
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_targets_that_are_no_numbers_change_nothing():
    model = nets.small()
    model.layers[1].kernel.assign(np.full(model.layers[1].kernel.shape, np.nan))
    alignment = nets.alignment_of(model)
    before = alignment.model.get_weights()
    Sweep(alignment, few(), 8).run()
    assert all(np.array_equal(a, b, True) for a, b in zip(before, alignment.model.get_weights(), strict=True))


@pytest.mark.long
def test_zeros_alone_are_no_failure():
    alignment, before, _ = fitted(nets.small(), nets.samples(np.zeros((32, 16, 16, 3), "float32")))
    assert error(alignment, nets.samples(np.zeros((4, 16, 16, 3), "float32"))) <= before + 1e-9


@pytest.mark.quick("2-8")
@pytest.mark.parametrize("count, batch", [(2, 1), (2, 8), (5, 2)])
def test_few_samples(count, batch):
    alignment = nets.alignment_of(nets.small())
    Sweep(alignment, nets.samples(nets.images(count)), batch).run()
    assert all(np.isfinite(weight).all() for weight in alignment.model.get_weights())


WHOLE_LOW = [dict(alpha=0.0, interior=1.0), dict(alpha=1.0)]


@pytest.mark.quick("small")
@pytest.mark.parametrize("make", [nets.small, nets.assorted, nets.inverted_residual, nets.shared])
def test_repairs_damaged_weights_of_whole_low_tensors(make):
    """At octave 1 every layer is exactly solvable."""
    model = make()
    samples = nets.samples(np.random.default_rng(0).standard_normal((32, *model.inputs[0].shape[1:])).astype("float32"))
    alignment = nets.alignment_of(model, octave=1, alpha=1.0)
    nets.damage(alignment.model)
    before = error(alignment, samples)
    fits = Sweep(alignment, samples, 8).run()
    assert before > 0.02 and all(fit.solution.changed for fit in fits)
    assert error(alignment, samples) < 1e-5


@pytest.mark.quick("small-interior")
@pytest.mark.parametrize("options", WHOLE_LOW, ids=["interior", "everywhere"])
@pytest.mark.parametrize("make", [nets.small, nets.inverted_residual])
def test_whole_low_nearer_to_the_source_than_sliced_weights(make, options):
    model, held_out = make(), nets.samples(nets.images(32, seed=77))
    alignment, _, fits = fitted(model, few(), **options)
    moved = [error(nets.alignment_of(model, weights=weights, **options), held_out) for weights in ("slice", "fold")]
    assert error(alignment, held_out) < 0.7 * min(moved)
    assert all(fit.solution.after <= fit.solution.before for fit in fits)


@pytest.mark.long
def test_whole_low_maps_of_odd_sizes():
    model, held_out = nets.residual(size=15), nets.samples(nets.images(32, 15, seed=77))
    options = dict(alpha=0.0, interior=1.0)
    alignment, _, _ = fitted(model, nets.samples(nets.images(32, 15)), **options)
    assert error(alignment, held_out) < error(nets.alignment_of(model, **options), held_out)
