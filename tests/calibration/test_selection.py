"""Which channels go low."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.calibration.selection import is_open, readers, response, roughness, select, survey
from octconvert.errors import UsageError
from octconvert.planning.layouts import layout_from_plan


def chosen(model, samples=None, plan=None, **options):
    """(layout, plan with channels selected, roughness)."""
    planned = nets.planned(model, **options)
    layout, own = planned.layout, planned.plan
    if plan is not None:
        layout, own = layout_from_plan(layout.graph, plan), plan
    batches = (samples or nets.samples()).batches(8)
    rough = roughness(layout, survey(layout, batches, planned.options.octave))
    return layout, select(layout, own, rough), rough


def smooth_and_rough(smooth, filters=8, **more):
    """A net whose first convolution gives local means for the channels ``smooth`` and differences for the others."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(filters, 3, padding="same", name="first", use_bias=False, **more)(inputs)
    x = layers.Conv2D(6, 3, padding="same", name="second")(layers.ReLU()(x))
    model = keras.Model(inputs, nets.head(layers.Conv2D(4, 3, name="third")(x)))
    kernel = np.zeros((3, 3, 3, filters))
    for channel in range(filters):
        if channel in smooth:
            kernel[..., channel] = (1.0 + 0.01 * channel) / 27
        else:
            kernel[1, 1, :, channel], kernel[1, 2, :, channel] = 1.0, -1.0 - 0.01 * channel
    model.get_layer("first").kernel.assign(kernel)
    reading = model.get_layer("second").kernel
    reading.assign(np.broadcast_to(np.random.default_rng(0).standard_normal((3, 3, 1, 6)), reading.shape))
    return model


def noise(count=32):
    return nets.samples(np.random.default_rng(0).standard_normal((count, 16, 16, 3)).astype("float32"))


def test_the_smooth_channels_go_low():
    _, plan, _ = chosen(smooth_and_rough({0, 3, 4, 6}, activation="softplus"), nets.samples(nets.images(32)))
    assert plan.groups[0].selection == ((0, 3, 4, 6),)
    assert plan.groups[0].low == (4,)


def test_what_nobody_reads_goes_low_first():
    model = smooth_and_rough(set())
    kernel = np.array(model.get_layer("second").kernel)
    kernel[:, :, [1, 5]] = 0.0
    model.get_layer("second").kernel.assign(kernel)
    assert chosen(model, noise(), alpha=0.25)[1].groups[0].selection == ((1, 5),)


def test_the_conversion_follows_the_selection():
    model = nets.small()
    layout, plan, _ = chosen(model)
    alignment = nets.alignment_of(model, layout=layout_from_plan(layout.graph, plan), octave=1)
    first = next(unit for unit in alignment.calls if unit.source.layer_name == plan.groups[0].producers[0])
    kernel = np.array(first.source.operation.kernel)
    low = list(plan.groups[0].selection[0])
    assert np.array_equal(first.layer.hl_kernel, kernel[..., low])
    assert octconvert.convert(model, plan=plan, calibration=False).plan.groups == plan.groups


def test_tied_producers_have_one_ranking():
    layout, plan, _ = chosen(nets.residual())
    tied = [group for group in plan.groups if len(group.producers) > 1]
    assert len(tied) == 2
    for group in tied[:1]:  # no convolution reads the other one
        assert len(set(group.selection)) == 1
        assert group.selection[0] != tuple(range(group.channels[0] - group.low[0], group.channels[0]))
    assert plan.groups != layout.groups
    again = layout_from_plan(layout.graph, plan)  # no contradiction
    assert [len(g.producers) for g, _ in again.groups] == [len(group.producers) for group in plan.groups]


@pytest.mark.long
def test_as_many_channels_as_before_go_low():
    for make in (nets.residual, nets.inverted_residual, nets.assorted, nets.dense_net):
        layout, plan, _ = chosen(make(), nets.samples(nets.images(8, nets_size(make))), alpha=0.3)
        before = nets.planned(layout.graph, alpha=0.3).plan
        assert [group.low for group in plan.groups] == [group.low for group in before.groups]


def nets_size(make) -> int:
    return make().inputs[0].shape[1]


def test_what_the_plan_selected_stays():
    model = nets.small()
    plan = chosen(model)[1]
    own = keras.tree.map_structure(lambda x: x, plan.groups[0].selection)
    mine = tuple(tuple(range(len(low))) for low in own)
    groups = (type(plan.groups[0])(**{**vars(plan.groups[0]), "selection": mine}), *nets.planned(model).plan.groups[1:])
    given = type(plan)(**{**vars(plan), "groups": groups})
    _, found, _ = chosen(model, plan=given)
    assert found.groups[0].selection == mine
    assert [group.selection for group in found.groups[1:]] == [group.selection for group in plan.groups[1:]]


@pytest.mark.long
def test_grouped_convolutions_stay_balanced():
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(inputs, 16)
    x = layers.ReLU()(layers.Conv2D(16, 3, padding="same", groups=4, name="grouped")(x))
    model = randomise(keras.Model(inputs, nets.head(nets.conv_bn(x, 8))))
    layout, plan, _ = chosen(model)
    for group in plan.groups[:2]:
        low = np.isin(np.arange(16), group.selection[0]).reshape(4, 4)
        assert (low.sum(axis=1) == 2).all()
    again = layout_from_plan(layout.graph, plan)
    assert "grouped" in {group.producers[0].call.layer_name for group, _ in again.groups}
    assert nets.planned(model).plan.converted == chosen(model)[1].converted


def test_halves_of_a_map_both_keep_high_channels():
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(inputs, 8)
    halves = [layers.Conv2D(4, 3, padding="same")(half) for half in (x[..., :4], x[..., 4:])]
    model = randomise(keras.Model(inputs, nets.head(nets.conv_bn(layers.Concatenate()(halves), 8))))
    _, plan, _ = chosen(model)
    again = octconvert.convert(model, plan=plan, calibration=False)
    assert len(again.plan.converted) == len(octconvert.plan(model, min_size=1).converted)


def numeric(model, name, inputs, channel):
    """Sum of squares of what a convolution answers to one impulse in one channel, far from the border."""
    layer = model.get_layer(name)
    x = np.zeros((1, 15, 15, inputs), "float32")
    x[0, 7, 7, channel] = 1.0
    zero = np.zeros_like(x)
    return float(np.square(np.array(layer(x)) - np.array(layer(zero))).sum())


@pytest.mark.quick("False-Conv2D1", "True-DepthwiseConv2D", "False-Conv2DTranspose0")
@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(6, 3, padding="same", name="read"),
        layers.Conv2D(12, 3, padding="same", groups=2, name="read"),
        layers.Conv2D(16, 3, padding="same", groups=8, name="read"),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="read"),
        layers.Conv2DTranspose(8, 3, padding="same", name="read"),
        layers.Conv2DTranspose(5, 2, 2, name="read"),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("normalised", [False, True])
def test_response_is_that_of_the_layer(layer, normalised):
    layer = type(layer).from_config(layer.get_config())
    inputs = keras.Input((15, 15, 3))
    x = layer(layers.Conv2D(8, 3, padding="same")(inputs))
    x = layers.BatchNormalization(name="scale")(x) if normalised else x
    model = randomise(keras.Model(inputs, nets.head(layers.Conv2D(4, 3)(x))))
    if normalised:
        scale = model.get_layer("scale")
        scale.gamma.assign(2.0 * np.sqrt(np.array(scale.moving_variance) + scale.epsilon))  # all outputs by two
    layout = nets.planned(model).layout
    call = next(call for call in layout.graph.calls if call.layer_name == "read")
    found = response(layout, call)
    found = np.diag(found) if found.ndim == 2 else found
    expected = [numeric(model, "read", 8, channel) * (4.0 if normalised else 1.0) for channel in range(8)]
    assert np.allclose(found, expected, rtol=1e-3)


@pytest.mark.quick("8")
@pytest.mark.parametrize("filters", [5, 8, 16])
def test_separable_convolutions_and_decoders_are_measured(filters):
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(inputs, 8)
    x = layers.SeparableConv2D(filters, 3, padding="same", depth_multiplier=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.BatchNormalization()(layers.Conv2DTranspose(filters, 3, padding="same")(x))
    _, plan, rough = chosen(randomise(keras.Model(inputs, nets.head(nets.conv_bn(x, 8)))))
    assert np.isfinite(rough).any() and all(group.selection for group in plan.groups)


def test_survey_counts_what_the_low_resolution_loses():
    model = nets.small()
    layout = nets.planned(model).layout
    x = nets.images(8)
    tensor = next(iter(readers(layout)))
    diagonal = survey(layout, [[x[:3]], [x[3:]]], 2)[tensor]
    found = survey(layout, [[x[:3]], [x[3:]]], 2, whole=[tensor])[tensor]
    value = np.asarray(nets.everything(layout.graph, [x])[tensor], dtype="float64")
    blocks = value.reshape(8, value.shape[1] // 2, 2, value.shape[2] // 2, 2, -1)
    lost = (blocks - blocks.mean((2, 4), keepdims=True)).reshape(-1, value.shape[3])
    flat = value.reshape(-1, value.shape[3])
    assert np.allclose(found.roughness, lost.T @ lost / len(lost), rtol=1e-3, atol=1e-6)
    assert np.allclose(diagonal.roughness, np.square(lost).mean(axis=0), rtol=1e-3)
    assert np.allclose(found.covariance, np.cov(flat.T, bias=True), rtol=1e-3, atol=1e-5)


def test_a_selection_that_tied_layers_do_not_share_is_refused():
    model = nets.small()
    plan = chosen(model)[1]
    position = next(i for i, group in enumerate(plan.groups) if len(group.producers) > 1)
    group = plan.groups[position]
    other = tuple(i for i in range(group.channels[0]) if i not in group.selection[0])
    wrong = type(group)(**{**vars(group), "selection": (other, *group.selection[1:])})
    groups = (*plan.groups[:position], wrong, *plan.groups[position + 1 :])
    with pytest.raises(UsageError, match="tied to others"):
        octconvert.convert(model, plan=type(plan)(**{**vars(plan), "groups": groups}), calibration=False)


def test_in_a_whole_low_group_nothing_is_chosen():
    model = nets.residual()
    layout, plan, _ = chosen(model, alpha=1.0)
    assert not readers(layout) and not any(map(is_open, plan.groups))
    assert plan == nets.planned(model, alpha=1.0).plan


def test_beside_whole_low_groups_the_others_are_chosen_as_ever():
    model = nets.residual()
    first = nets.planned(model).plan.groups[0]
    layout, plan, _ = chosen(model, alpha_map=((first.producers[0], 1.0),))
    groups = {group.producers: group for group in plan.groups}
    assert groups[first.producers].selection is None
    others = [group for group in plan.groups if group.producers != first.producers]
    assert others and all(group.selection for group in others)
    whole_low = {tensor for tensor, split in layout.splits.items() if split.whole_low}
    assert whole_low and whole_low.isdisjoint(readers(layout))
