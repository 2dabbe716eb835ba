"""How close two models are."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

from octconvert.calibration.evidence import ModelOutputs, accuracy, errors_by_layer, measures
from octconvert.errors import InputError


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


def numbered(model, x):
    return model.predict(x, verbose=0).argmax(axis=1)


@pytest.mark.quick("numbers", "one-hot")
@pytest.mark.parametrize("form", ["numbers", "column", "one-hot", "floats"])
def test_accuracy_of_classes(form):
    model, x = nets.small(), nets.images(20)
    right = numbered(model, x)
    labels = np.where(np.arange(20) < 15, right, (right + 1) % 5)
    forms = {"numbers": labels, "column": labels[:, None], "one-hot": np.eye(5)[labels], "floats": labels * 1.0}
    assert accuracy(model, nets.samples(x, labels=forms[form]), 8) == 0.75


@pytest.mark.quick("sigmoid", "logit")
@pytest.mark.parametrize("kind", ["sigmoid", "layer", "logit", "nested", "reshaped"])
def test_accuracy_of_yes_or_no(kind):
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(inputs))
    if kind == "nested":
        x = keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="sigmoid")])(x)
    else:
        x = layers.Dense(1, activation=None if kind in ("logit", "layer") else "sigmoid")(x)
    x = layers.Activation("sigmoid")(x) if kind == "layer" else x
    x = layers.Reshape((1,))(x) if kind == "reshaped" else x
    model, x = randomise(keras.Model(inputs, x)), nets.images(20)
    found = model.predict(x, verbose=0)[:, 0]
    middle = 0.0 if kind == "logit" else 0.5
    last = next(layer for layer in reversed(model._flatten_layers()) if isinstance(layer, layers.Dense))
    value = found if kind == "logit" else np.log(found / (1 - found))
    last.bias.assign(np.array(last.bias) - np.median(value))
    right = (model.predict(x, verbose=0)[:, 0] > middle).astype(int)
    assert 5 < right.sum() < 15
    assert accuracy(model, nets.samples(x, labels=right), 8) == 1.0
    assert accuracy(model, nets.samples(x, labels=1 - right), 8) == 0.0


def test_accuracy_where_there_are_no_classes():
    with pytest.raises(InputError, match=r"accuracy is about classes, and the model's output is \(16, 16, 2\)"):
        accuracy(nets.unet(), nets.samples(nets.images(2), labels=np.zeros(2)))
    with pytest.raises(InputError, match="expected one label a sample"):
        accuracy(nets.small(), nets.samples(nets.images(2), labels=np.zeros((2, 3, 3))))


def test_errors_of_layers_around_whole_low_tensors():
    model, samples = nets.residual(), nets.samples(nets.images(8))
    same = errors_by_layer(nets.alignment_of(model, octave=1, alpha=0.0, interior=1.0), samples.batches(3))
    found = errors_by_layer(nets.alignment_of(model, alpha=0.0, interior=1.0), samples.batches(3))
    assert set(same) == set(found) and max(same.values()) < 1e-6 < 1e-3 < max(found.values())
