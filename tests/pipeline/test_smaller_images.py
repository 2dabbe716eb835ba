"""The source on smaller images, beside an evaluation."""

import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.costs.cost import cost_of
from octconvert.evaluation import Evaluator
from octconvert.model.graph_reader import build_graph
from octconvert.pipeline.smaller_images import on_smaller_images
from octconvert.samples import Samples


def net(shape=(32, 48, 3), head=None, dtype="float32", **options):
    image = keras.Input(shape, dtype=dtype)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", **options)(layers.Rescaling(1.0)(image))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", **options)(x)
    x = (head or layers.GlobalAveragePooling2D(**options))(x)
    model = keras.Model(image, layers.Dense(5)(x))
    randomise(model, 3)
    return model


def images(shape=(32, 48, 3), count=40, dtype="float32"):
    values = np.random.default_rng(1).integers(0, 255, (count, *shape))
    return np.repeat(np.repeat(values[:, ::4, ::4], 4, 1), 4, 2).astype(dtype)


def smaller(model, x, labels):
    converted = octconvert.convert(model, min_size=1, calibration=False).model
    graph = build_graph(model)
    evaluator = Evaluator.of(graph, Samples((x,), labels, "test"))
    result = on_smaller_images(graph, converted, x.shape[1:], lambda model: evaluator.measure(model)[0])
    return result, cost_of(converted).macs / cost_of(model).macs


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_largest_images_of_no_more_macs(dtype):
    """Counted and run independently: the model built at that size by hand."""
    model, x = net(dtype=dtype), images(dtype=dtype)
    labels = model.predict(x, verbose=0).argmax(axis=1)
    result, share = smaller(model, x, labels)
    own = cost_of(model).macs
    at = {rows: net((rows, round(1.5 * rows), 3), dtype=dtype) for rows in (result.rows, result.rows + 1)}
    assert result.columns == round(1.5 * result.rows)
    assert result.mac_share == pytest.approx(cost_of(at[result.rows]).macs / own)
    assert result.mac_share <= share < cost_of(at[result.rows + 1]).macs / own
    scaled = keras.ops.image.resize(x.astype("float32"), (result.rows, result.columns), antialias=True)
    scaled = np.rint(scaled) if dtype == "uint8" else np.asarray(scaled)
    small = at[result.rows]
    small.set_weights(model.get_weights())
    expected = (small.predict(scaled.astype(dtype), verbose=0).argmax(axis=1) == labels).mean()
    assert result.accuracy == pytest.approx(expected) and expected > 0


def test_open_sizes_are_those_of_the_samples():
    model, x = net((None, None, 3)), images()
    result, _ = smaller(model, x, model.predict(x, verbose=0).argmax(axis=1))
    assert result.rows < 32 and result.columns == round(1.5 * result.rows) and 0 < result.mac_share < 0.6


@pytest.mark.parametrize(
    "model",
    [
        net(head=layers.Flatten()),
        keras.Sequential([keras.Input((32, 48, 3)), layers.Resizing(16, 24), net((16, 24, 3))]),
    ],
    ids=["weights of a size", "scaled inside"],
)
def test_a_size_that_is_not_free(model):
    assert smaller(model, images(), np.zeros(40))[0] is None


def test_of_a_conversion():
    model, x = net(), images()
    labels = model.predict(x, verbose=0).argmax(axis=1)
    result = octconvert.convert(model, min_size=1, calibration=False, evaluate=(x, labels))
    evaluation = result.report.evaluation
    assert evaluation.smaller.rows < 32 and evaluation.before == 1
    assert f"on images scaled to {evaluation.smaller.rows}x{evaluation.smaller.columns}" in str(result.report)
    assert result.to_dict()["evaluation"]["smaller"]["accuracy"] == evaluation.smaller.accuracy
