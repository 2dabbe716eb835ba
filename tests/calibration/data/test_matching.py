"""Synthetic images with the statistics of a model's training."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers

from octconvert.calibration.data import matching
from octconvert.calibration.data.generator import MatchedCounts, generator_of
from octconvert.calibration.data.matching import matched, mean_distance, training_statistics
from octconvert.calibration.data.synthetic import dead_leaves
from octconvert.calibration.effort import Pace
from octconvert.calibration.start import start
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions
from octconvert.samples import Samples


def net(trained_on: Samples | None = None):
    """Two normalisations, with the statistics of a training on some images; by default of dark ones with few lights."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((12, 12, 3))
    x = inputs
    for number in range(2):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"norm_{number}", momentum=0.0)(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    dark = np.random.default_rng(1).random((64, 12, 12, 3), "float32") ** 20
    model(dark if trained_on is None else trained_on.arrays[0], training=True)
    return model


def images(count=8) -> Samples:
    return nets.samples(dead_leaves(count, 12, 12))


BOUNDS = (np.zeros((1, 1, 1, 1), "float32"), np.ones((1, 1, 1, 1), "float32"))


def test_matched_images_have_the_statistics_of_the_training():
    graph, before = build_graph(net()), images()
    weights = [np.array(weight) for weight in graph.model.weights]
    seen = []
    after = matched(graph, before, [BOUNDS], 4, Pace(), lambda done, total: seen.append((done, total)))
    assert after.count == 8 and seen[-1] == (2 * matching.STEPS, 2 * matching.STEPS)
    for part in (range(4), range(4, 8)):
        assert mean_distance(graph, after.subset(part)) < 0.3 * mean_distance(graph, before.subset(part))
    assert after.arrays[0].min() >= 0 and after.arrays[0].max() <= 1
    assert all(np.array_equal(a, b) for a, b in zip(weights, graph.model.weights, strict=True))


def test_only_statistics_of_a_training_count():
    model = net()
    assert [each.mean.shape for each in training_statistics(build_graph(model))] == [(4,), (4,)]
    model.get_layer("norm_1").moving_mean.assign(np.zeros(4))
    model.get_layer("norm_1").moving_variance.assign(np.ones(4))  # as they are before any training
    assert len(training_statistics(build_graph(model))) == 1
    shared, inputs = layers.BatchNormalization(), keras.Input((12, 12, 3))
    twice = keras.Model(inputs, shared(shared(inputs)))
    shared.moving_mean.assign([0.1, 0.2, 0.3])
    assert training_statistics(build_graph(twice)) == []


def test_without_time_for_a_batch_there_are_none():
    assert matched(build_graph(net()), images(), [BOUNDS], 4, Pace(until=0.0)) is None


@pytest.mark.parametrize("is_near", [False, True])
def test_images_that_are_near_the_training_are_left_as_they_are(is_near):
    model, settings = net(), CalibrationOptions(input_range=(0, 1))
    if is_near:
        model = net(generator_of(build_graph(model), settings).make(64, 5))
    supply = start(build_graph(model), settings, lambda step, done, total: None).supply
    assert ("with the statistics of the model's training" in supply.label) != is_near


def test_a_supply_of_matched_images_has_others_beside_them():
    generator = generator_of(build_graph(net()), CalibrationOptions(input_range=(0, 1)))
    supply = generator.matched_supply(MatchedCounts(8, 8, 4), 0, Pace(), lambda done, total: None)
    assert supply.held_out.count == 1 and supply.fit.count == 2 * 7 + 4  # each with its mirror image, and others
    assert "7 with the statistics of the model's training" in supply.label
