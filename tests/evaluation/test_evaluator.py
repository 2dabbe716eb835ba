"""Models that are evaluated: the form of their first output, and a run over all samples."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

from octconvert.errors import InputError
from octconvert.evaluation import Evaluator
from octconvert.evaluation.outputs import OutputForm
from octconvert.model.graph_reader import build_graph
from octconvert.samples import Samples


def images(count=20, *shape) -> np.ndarray:
    return np.random.default_rng(0).random((count, *(shape or (8, 8, 3))), "float32")


def evaluator(model, x, labels, metric=None) -> Evaluator:
    return Evaluator.of(build_graph(model), Samples((x,), np.asarray(labels), "test"), metric)


def form_of(model, x, labels) -> OutputForm:
    return OutputForm.of(build_graph(model), Samples((x,), np.asarray(labels), "test"))


@pytest.mark.quick("sigmoid", "logit")
@pytest.mark.parametrize("kind", ["sigmoid", "layer", "logit", "nested", "reshaped"])
def test_yes_or_no(kind):
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(inputs))
    if kind == "nested":
        x = keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="sigmoid")])(x)
    else:
        x = layers.Dense(1, activation=None if kind in ("logit", "layer") else "sigmoid")(x)
    x = layers.Activation("sigmoid")(x) if kind == "layer" else x
    x = layers.Reshape((1,))(x) if kind == "reshaped" else x
    model, x = randomise(keras.Model(inputs, x)), images()
    found = model.predict(x, verbose=0)[:, 0]
    value = found if kind == "logit" else np.log(found / (1 - found))
    last = next(layer for layer in reversed(model._flatten_layers()) if isinstance(layer, layers.Dense))
    last.bias.assign(np.array(last.bias) - np.median(value))
    right = (model.predict(x, verbose=0)[:, 0] > (0.0 if kind == "logit" else 0.5)).astype(int)
    assert 5 < right.sum() < 15
    assert evaluator(model, x, right).measure(model) == (1.0, 1.0)
    assert evaluator(model, x, 1 - right).measure(model) == (0.0, 0.0)


def test_a_map_of_one_pixel_is_a_vector():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(4, 3)(image)))
    x = images()
    right = model.predict(x, verbose=0).reshape(20, 4).argmax(axis=1)
    assert form_of(model, x, right) == OutputForm((4,), 0, False)
    assert evaluator(model, x, right).measure(model) == (1.0,)
    assert form_of(model, x, right[:, None, None]) == OutputForm((1, 1, 4), 2, False)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_maps_of_open_size(data_format):
    first = data_format == "channels_first"
    image = keras.Input((3, None, None) if first else (None, None, 3))
    model = keras.Model(image, layers.Conv2D(4, 1, strides=2, data_format=data_format)(image))
    x = images(6, *((3, 8, 12) if first else (8, 12, 3)))
    right = model.predict(x, verbose=0).argmax(axis=1 if first else 3)
    assert form_of(model, x, right) == OutputForm((4, 4, 6) if first else (4, 6, 4), 0 if first else 2, False)
    own = evaluator(model, x, right)
    assert [metric.name for metric in own.metrics] == ["mean-iou", "pixel-accuracy"]
    assert own.measure(model) == (1.0, 1.0)
    with pytest.raises(InputError, match="do not fit the model"):
        evaluator(model, x, right[:, :3])


def test_samples_at_which_the_model_does_not_work():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 5)(image)))
    with pytest.raises(InputError, match=r"does not work on shape \(None, 4, 4, 3\)"):
        evaluator(model, images(2, 4, 4, 3), [0, 1])


def test_of_several_outputs_the_first_one_counts():
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, [layers.Dense(3)(x), layers.Dense(7)(x)])
    x = images()
    right = model.predict(x, verbose=0)[0].argmax(axis=1)
    assert evaluator(model, x, right).measure(model) == (1.0,)


def test_data_without_labels():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(image))
    with pytest.raises(InputError, match="holds no labels"):
        Evaluator.of(build_graph(model), Samples((images(),), None, "test"))
