"""What the outputs feel of a channel's lost detail."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import randomise

from octconvert.calibration.alphas import AlphaSearch
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.selection import UNREAD, damage, lost_detail, readers, roughness, survey, unread
from octconvert.calibration.sensitivity import sensitivity
from octconvert.calibration.target_costs import MacCosts
from octconvert.costs.cost import measure

IMAGES = nets.images(24)


def linear_net(outputs=1, scale=1.0, data_format="channels_last"):
    """Two convolutions without activation; the outputs are weighted sums of all positions."""
    axis = 1 if data_format == "channels_first" else -1
    inputs = keras.Input((3, 16, 16) if axis == 1 else (16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first", data_format=data_format)(inputs)
    x = layers.Conv2D(6, 3, padding="same", name="second", data_format=data_format)(x)
    x = layers.Conv2D(4, 3, padding="same", name="third", data_format=data_format)(x)
    model = keras.Model(inputs, layers.Dense(outputs, name="dense")(layers.Flatten()(x)))
    randomise(model, seed=2)
    for weight in model.get_layer("dense").weights:
        weight.assign(scale * weight)
    return model


def sensed(model, images=IMAGES, batch=8, **options):
    """(layout, sensitivity of the components)."""
    planned = nets.planned(model, **options)
    layout = planned.layout
    samples = nets.samples(images)
    spreads = ModelOutputs.of(layout.graph, samples, 8).spreads
    return layout, sensitivity(layout, samples, batch, spreads, planned.options.octave)


def changes(model, layout, tensor, images=IMAGES):
    """Mean squared change of the outputs without the detail of each channel of a tensor, over their variance."""
    graph, found = layout.graph, []
    axis = graph.channel_axis
    first = keras.Model(model.inputs, graph_tensor(model, graph, tensor))
    rest = keras.Model(graph_tensor(model, graph, tensor), model.outputs)
    values = first(images)
    detail = np.array(lost_detail(values, 2, graph))
    expected = np.array(rest(values))
    for channel in range(values.shape[axis]):
        mask = np.zeros_like(detail)
        at = [slice(None)] * 4
        at[axis] = channel
        mask[tuple(at)] = 1
        moved = np.array(rest(values - mask * detail))
        found.append(np.square(moved - expected).mean() / expected.var())
    return np.array(found)


def graph_tensor(model, graph, number):
    return model.get_layer(graph.producer(number).layer_name).output


@pytest.mark.quick("channels_last")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_is_the_change_of_the_outputs_where_all_is_linear(data_format):
    model = linear_net(data_format=data_format)
    images = IMAGES if data_format == "channels_last" else np.moveaxis(IMAGES, 3, 1)
    layout, found = sensed(model, images)
    assert len(readers(layout)) == 2
    for tensor in readers(layout):
        assert np.allclose(found[layout.channels[tensor]], changes(model, layout, tensor, images), rtol=1e-3)


@pytest.mark.long
def test_many_outputs_are_felt_together():
    model = linear_net(outputs=12)
    images = nets.images(256)
    layout, found = sensed(model, images, batch=32)
    tensor = next(iter(readers(layout)))
    expected = changes(model, layout, tensor, images)
    assert np.abs(np.log(found[layout.channels[tensor]] / expected)).max() < 0.35  # by random projections


def test_the_unit_of_the_outputs_does_not_matter():
    found, other = sensed(linear_net())[1], sensed(linear_net(scale=1000.0))[1]
    assert np.allclose(found, other, rtol=1e-4)


@pytest.mark.long
def test_batches_do_not_matter():
    model = nets.residual()
    model = keras.Model(model.inputs, layers.Dense(1, name="one")(model.output))
    (layout, found), (_, other) = sensed(model, batch=5), sensed(model, batch=24)
    seen = np.isfinite(found)
    assert np.array_equal(seen, np.isfinite(other)) and not seen.all()
    assert np.allclose(found[seen], other[seen], rtol=1e-3)
    for tensor in readers(layout):  # where none reads, a mean may hide all that is lost: rightly zero
        assert (found[layout.channels[tensor]] > 0).all()


@pytest.mark.quick("nested", "two_inputs")
@pytest.mark.parametrize("make", nets.TOPOLOGIES)
def test_every_map_that_is_read_is_felt(make):
    model = make()
    planned = nets.planned(model)
    layout = planned.layout
    samples = nets.samples(*(nets.images(8, *t.shape[2:], seed=i) for i, t in enumerate(model.inputs)))
    spreads = ModelOutputs.of(layout.graph, samples, 8).spreads
    found = sensitivity(layout, samples, 4, spreads, planned.options.octave)
    for tensor in readers(layout):
        assert np.isfinite(found[layout.channels[tensor]]).all()


def test_outputs_without_gradient_tell_nothing():
    model = linear_net(outputs=3)
    classes = keras.Model(model.inputs, ops.argmax(model.output, axis=-1))
    assert sensed(classes)[1] is None


def test_operations_without_gradient_tell_nothing():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(8, 3, padding="same")(inputs))
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(ops.sign(ops.floor(x)))))
    randomise(model, seed=3)
    found = sensed(model)[1]
    assert found is None


def test_outputs_that_are_no_numbers_tell_nothing():
    images = IMAGES.copy()
    images[0, 0, 0, 0] = np.nan
    assert sensed(linear_net(), images)[1] is None


def test_whole_low_maps_are_not_measured():
    model = nets.residual()
    first = nets.planned(model).plan.groups[0].producers[0]
    layout, found = sensed(model, alpha_map=((first, 1.0),))
    whole_low = {tensor for tensor, split in layout.splits.items() if split.whole_low}
    assert whole_low and whole_low.isdisjoint(readers(layout))
    for tensor in readers(layout):
        assert np.isfinite(found[layout.channels[tensor]]).all()


def behind_the_last(activation):
    """(layout, sensitivity, the maps of channels that no convolution reads) of a net that ends in a global pooling."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="last")(x)
    x = layers.GlobalAveragePooling2D()(layers.Activation(activation)(x))
    model = randomise(keras.Model(inputs, layers.Dense(3)(x)), seed=5)
    kernel, bias = model.get_layer("last").get_weights()
    kernel[..., ::2] = 0.0  # every second map is constant
    model.get_layer("last").set_weights([kernel, bias])
    layout, found = sensed(model)
    return layout, found, unread(layout)


def test_detail_that_an_activation_reads_before_a_global_pooling_is_felt():
    layout, found, maps = behind_the_last("relu")
    assert len(maps) == 2 and set(maps).isdisjoint(readers(layout))
    felt = found[layout.channels[maps[0]]]
    assert np.allclose(felt[::2], 0, atol=1e-9) and (felt[1::2] > 1e-6).all()


def test_detail_that_a_global_pooling_alone_reads_is_not_felt():
    layout, found, maps = behind_the_last("linear")
    assert np.allclose(found[layout.channels[maps[0]]], 0, atol=1e-9)


def test_channels_that_no_convolution_reads_go_low_by_what_is_felt():
    layout, found, maps = behind_the_last("relu")
    rough = roughness(layout, survey(layout, nets.samples(IMAGES).batches(8), 2))
    components = layout.channels[maps[0]]
    assert np.isinf(rough[components]).all() and np.isinf(damage(rough, None)[components]).all()
    felt = damage(rough, found)
    assert np.allclose(felt[components], UNREAD * found[components])
    read = np.isfinite(rough)
    assert read.any() and np.allclose(felt[read], np.sqrt(rough[read] * found[read]))
    search = AlphaSearch(layout, MacCosts(layout, measure(layout.graph)[0], 2), felt)
    last = layout.components.groups_of(components)
    assert (search.curves[list(last), 4] < 1e-9).all() and (search.curves[list(last), -1] > 1e-6).all()


def test_a_map_behind_the_last_convolution_without_a_gradient_leaves_the_others_theirs():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(6, 3, padding="same")(x)
    classes = ops.argmax(layers.GlobalAveragePooling2D()(layers.ReLU()(y)), axis=-1)
    z = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, padding="same", activation="relu")(x))
    layout, found = sensed(randomise(keras.Model(inputs, [layers.Dense(3)(z), classes]), seed=5))
    for tensor in readers(layout):
        assert (found[layout.channels[tensor]] > 0).all()
    assert any(not found[layout.channels[tensor]].any() for tensor in unread(layout))
