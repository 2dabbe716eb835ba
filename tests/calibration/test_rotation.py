"""Another basis for linear tensors: the same function."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.applications.convnext import LayerScale
from oracle import largest_difference, randomise, run

from octconvert.calibration.rotation import linear_groups, measured_tensors, rotated
from octconvert.calibration.selection import survey
from octconvert.model.graph_reader import build_graph


def turned(model, samples=None, groups=None, **options):
    """(layout, its groups, layout of the turned copy)."""
    planned = nets.planned(model, **options)
    layout = planned.layout
    groups = linear_groups(layout) if groups is None else groups
    batches = (samples or nets.samples()).batches(16)
    found = survey(layout, batches, planned.options.octave, whole=measured_tensors(layout, groups))
    return layout, groups, rotated(planned, groups, found).layout


def check(model, groups: int):
    """The copy is the same function with turned kernels; returns it."""
    before = model.get_weights()
    layout, found, copy = turned(model)
    assert len(found) == groups
    x = [nets.images(4, seed=9)]
    assert largest_difference(run(model, x), run(copy.graph.model, x)) < 1e-4
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert copy.graph.model.count_params() == model.count_params()
    assert [layer.name for layer in copy.graph.model.layers] == [layer.name for layer in model.layers]
    changed = [not np.array_equal(a, b) for a, b in zip(before, copy.graph.model.get_weights(), strict=True)]
    assert any(changed) == bool(groups)
    assert [len(g.producers) for g, _ in copy.groups] == [len(g.producers) for g, _ in layout.groups]
    return copy.graph.model


@pytest.mark.long
def test_bottlenecks_of_inverted_residuals():
    model = nets.inverted_residual()
    layout = nets.planned(model).layout
    (group,) = linear_groups(layout)
    assert len(group.branches) == 3 and len(group.readers) == 3
    assert all(call.class_name == "Conv2D" for call, _ in group.readers)
    check(model, 1)


def test_a_rectifier_behind_the_sum_leaves_none():
    assert not linear_groups(nets.planned(nets.residual()).layout)
    check(nets.residual(), 0)


def test_detail_sits_in_the_first_channels():
    model, samples = nets.inverted_residual(), nets.samples(nets.images(32))
    layout, (group,), copy = turned(model, samples)
    tensor = group.readers[0][1]
    (after,) = linear_groups(copy)
    lost = [
        np.diag(survey(each, samples.batches(16), 2, whole=[t])[t].roughness)
        for each, t in ((layout, tensor), (copy, after.readers[0][1]))
    ]
    assert lost[1][4:].sum() / lost[1].sum() < 0.5 * np.sort(lost[0])[:4].sum() / lost[0].sum()


def test_statistics_are_those_of_what_normalisation_sees():
    samples = nets.samples(nets.images(32))
    model = turned(nets.inverted_residual(gate=False), samples)[2].graph.model
    graph = build_graph(model)
    group = linear_groups(nets.planned(graph).layout)[0]
    values = nets.everything(graph, samples.arrays)
    for branch in group.branches:
        (call,) = branch.affine
        x, layer = values[call.inputs[0]], call.operation
        assert np.allclose(ops.mean(x, axis=(0, 1, 2)), layer.moving_mean, atol=2e-3)
        assert np.allclose(ops.var(x, axis=(0, 1, 2)), layer.moving_variance, rtol=1e-2)
        trained, settled = (np.array(layer(x, training=training)) for training in (True, False))
        assert np.abs(trained - settled).max() < 1e-2 * np.abs(settled).max()


@pytest.mark.quick("bare")
@pytest.mark.parametrize(
    "after",
    [
        lambda y, block: LayerScale(0.5, 8)(y),
        lambda y, block: layers.BatchNormalization(scale=False)(layers.Dropout(0.3)(y)),
        lambda y, block: layers.BatchNormalization(center=False)(LayerScale(0.5, 8)(y)),
        lambda y, block: layers.BatchNormalization(scale=False, center=False)(y),
        lambda y, block: layers.BatchNormalization()(y),
    ],
    ids=["gain", "dropout", "gain-normalisation", "bare", "twice"],
)
def test_what_may_follow_a_writer(after):
    check(nets.inverted_residual(gate=False, after=after), 1)


@pytest.mark.quick("<lambda>0")
@pytest.mark.parametrize("first", [lambda x: LayerScale(0.5, 8)(x), lambda x: layers.Dropout(0.5)(x), lambda x: x])
def test_normalisation_behind_something_else(first):
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(inputs, 8)
    y = layers.Conv2D(8, 3, padding="same")(x)  # with a bias
    y = layers.BatchNormalization()(first(y))
    x = layers.Add()([layers.Conv2D(8, 1)(x), y])
    check(randomise(keras.Model(inputs, nets.head(layers.Conv2D(8, 3, activation="relu")(x)))), 1)


def test_a_chain_without_sum():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(nets.conv_bn(inputs, 8))
    x = layers.Dense(12, activation="relu")(x)
    check(randomise(keras.Model(inputs, nets.head(layers.Conv2D(8, 3)(x)))), 1)


@pytest.mark.quick("narrow", "output")
@pytest.mark.parametrize("kind", ["narrow", "pooled", "output", "concatenated", "padded", "number"])
def test_what_does_not_stay_the_same_in_another_basis(kind):
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(nets.conv_bn(inputs, 8), 8, activation=None)
    y, outputs = x, []
    if kind == "narrow":  # one channel is added to all of them
        y = layers.Add()([x, layers.Conv2D(1, 1)(x)])
    if kind == "pooled":
        y = layers.MaxPooling2D()(x)
    if kind == "output":
        outputs = [x]
    if kind == "concatenated":
        y = layers.Concatenate()([x, nets.conv_bn(inputs, 4)])
    if kind == "padded":
        y = layers.ZeroPadding2D()(x)
    if kind == "number":
        y = x + 1.0
    y = layers.Conv2D(8, 3, activation="relu")(y)
    check(randomise(keras.Model(inputs, [nets.head(layers.Conv2D(4, 3)(y)), *outputs])), 0)


def test_nested_and_shared_nets():
    check(nets.nested(), 0)
    inputs = keras.Input((16, 16, 3))
    again = layers.Conv2D(8, 3, padding="same")
    x = again(again(nets.conv_bn(inputs, 8)))
    check(randomise(keras.Model(inputs, nets.head(nets.conv_bn(x, 8)))), 0)


def test_readers_that_read_nothing():
    model = nets.inverted_residual(gate=False)
    layout = nets.planned(model).layout
    for call, _ in linear_groups(layout)[0].readers:
        call.operation.kernel.assign(np.zeros(call.operation.kernel.shape))
    check(model, 1)


def test_in_a_whole_low_tensor_no_basis_is_better():
    planned = nets.planned(nets.inverted_residual(), alpha=1.0)
    assert any(split.whole_low for split in planned.layout.splits.values())
    assert not linear_groups(planned.layout)
