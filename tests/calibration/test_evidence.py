"""How close two models are."""

import calibration_nets as nets
import numpy as np
import pytest

from octconvert.calibration.evidence import ModelOutputs, errors_by_layer, measures


def outputs(*arrays) -> ModelOutputs:
    return ModelOutputs(tuple(np.asarray(array, dtype="float32") for array in arrays))


def test_error_is_relative_to_the_variance():
    own = outputs([[0.0], [2.0]])
    assert own.error(own) == 0.0
    assert own.error(outputs([[1.0], [1.0]])) == pytest.approx(1.0)
    assert own.error(outputs([[0.0], [2.2]])) == pytest.approx(0.02)
    twice = outputs([[0.0], [2.0]], [[5.0], [7.0]])
    assert twice.error(outputs([[1.0], [1.0]], [[5.0], [7.0]])) == pytest.approx(0.5)


def test_error_of_what_is_constant_or_no_number():
    assert outputs([[3.0], [3.0]]).error(outputs([[3.0], [6.0]])) == pytest.approx(0.5)
    assert outputs([[0.0]]).error(outputs([[0.0]])) == 0.0
    assert outputs([[1.0], [2.0]]).error(outputs([[np.nan], [2.0]])) == np.inf
    assert outputs([[np.inf], [2.0]]).error(outputs([[1.0], [2.0]])) == np.inf


def test_agreement_and_decibels():
    own = outputs([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert own.agreement(own) == 1.0
    assert own.agreement(outputs([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])) == 0.75
    image = outputs(np.linspace(0, 1, 64).reshape(1, 8, 8, 1))
    assert image.decibels(image) == 99.0
    assert image.decibels(outputs(image.arrays[0] + 0.1)) == pytest.approx(20.0, abs=1e-3)


def test_measures_fit_the_model():
    classes, one = outputs([[0.1, 0.9], [0.8, 0.2]]), outputs([[1.0], [2.0]])
    image = outputs(np.arange(8.0).reshape(2, 2, 2, 1))
    names = lambda own: [measure.name for measure in measures(own, own, own)]  # noqa: E731
    assert names(classes) == ["top-1 agreement", "relative error"]
    assert names(one) == ["relative error"]
    assert names(image) == ["relative error", "PSNR"]


def test_outputs_of_all_batches():
    model = nets.unet()
    x = nets.images(7)
    alignment = nets.alignment_of(model)
    found = ModelOutputs.of(alignment.source, nets.samples(x), 3)
    assert np.allclose(found.arrays[0], model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.quick("nested")
@pytest.mark.parametrize(
    "make",
    [nets.residual, nets.inverted_residual, nets.assorted, nets.nested, nets.shared, nets.two_inputs, nets.dense_net],
)
def test_errors_by_layer(make):
    model = make()
    samples = nets.samples(*(nets.images(8, t.shape[1], t.shape[3]) for t in model.inputs))
    same = errors_by_layer(nets.alignment_of(model, octave=1), samples.batches(3))
    assert len(same) >= 3 and max(same.values()) < 1e-6
    alignment = nets.alignment_of(model, octave=2)
    found = errors_by_layer(alignment, samples.batches(3))
    assert set(found) == set(same)
    assert set(found) <= {call.layer_name for call in alignment.source.calls}
    assert all(np.isfinite(value) for value in found.values()) and max(found.values()) > 1e-3


@pytest.mark.long
def test_layer_errors_do_not_depend_on_the_batches():
    alignment = nets.alignment_of(nets.small())
    first, second = (errors_by_layer(alignment, nets.samples(nets.images(8)).batches(size)) for size in (8, 3))
    assert all(first[name] == pytest.approx(second[name], rel=1e-3) for name in first)


def test_errors_of_layers_around_whole_low_tensors():
    model, samples = nets.residual(), nets.samples(nets.images(8))
    same = errors_by_layer(nets.alignment_of(model, octave=1, alpha=0.0, interior=1.0), samples.batches(3))
    found = errors_by_layer(nets.alignment_of(model, alpha=0.0, interior=1.0), samples.batches(3))
    assert set(same) == set(found) and max(same.values()) < 1e-6 < 1e-3 < max(found.values())
