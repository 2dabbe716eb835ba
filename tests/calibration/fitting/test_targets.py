"""The oracle of the calibration: with octave=1 the layers put out exactly what their targets ask for."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.applications.convnext import LayerScale
from oracle import randomise

from octconvert.calibration.fitting.linear import draw_positions, regressions
from octconvert.calibration.fitting.waves import waves_of


def readings_of(alignment):
    return [each for wave in waves_of(alignment) for layer in wave.layers for each in layer.calls]


def check(model, **options):
    """Compares all targets; unit name -> target."""
    alignment = nets.alignment_of(model, octave=1, **options)
    inputs = [np.random.default_rng(0).standard_normal((4, *t.shape[1:])).astype("float32") for t in model.inputs]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    found = {}
    for reading in readings_of(alignment):
        unit, target = reading.aligned, reading.target
        wanted = target.compute(alignment, source, converted)
        inputs = reading.inputs(alignment, source, converted)
        made = regressions(unit.layer)
        assert len(wanted) == len(made), unit.source.name
        for regression, y in zip(made, wanted, strict=True):
            positions = draw_positions(np.random.default_rng(1), regression.last(y).shape, 2_000)
            own = np.asarray(regression.rows(inputs, positions), dtype="float64") @ regression.weights()
            if regression.bias_variable is not None:
                own += np.asarray(regression.bias_variable).reshape(len(own), 1, -1)
            expected = np.asarray(regression.targets(ops.cast(y, "float32"), positions))
            assert np.abs(own - expected).max() <= 2e-4 * np.abs(own).max(), (unit.source.name, unit.part)
        found[unit.source.name, unit.part] = target
    return found


def kinds(found) -> tuple[int, int]:
    """(targets at a sum, targets before a rectifier)."""
    return sum(t.total is not None for t in found.values()), sum(t.limit is not None for t in found.values())


def test_residual_blocks():
    found = check(nets.residual())
    assert len(found) == 7 and kinds(found) == (2, 3)


@pytest.mark.long
def test_inverted_residual_blocks_with_gates():
    found = check(nets.inverted_residual())
    assert kinds(found)[0] == 2


@pytest.mark.quick("nested", "shared", "two_inputs")
@pytest.mark.parametrize(
    "make", [nets.assorted, nets.nested, *nets.CALLED_OFTEN, nets.two_inputs, nets.unet, nets.dense_net]
)
def test_other_nets(make):
    assert len(check(make())) >= 3


def test_a_sum_of_three_is_made_right_by_its_last_member():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    y = layers.Conv2D(8, 3, padding="same")(layers.ReLU()(x))
    z = layers.Dropout(0.3)(layers.Conv2D(8, 1)(layers.ReLU()(y)))
    x = layers.Add()([x, y, layers.BatchNormalization(center=False)(z)])
    found = check(randomise(keras.Model(inputs, nets.head(layers.Conv2D(8, 3)(x)))))
    assert kinds(found)[0] == 1


def test_dense_on_sequences():
    found = check(nets.transformer_tail())
    assert sum(unit[1] == "clone" for unit in found) == 2


def test_layer_scale_and_projection_behind_a_block():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 4, strides=1, padding="same")(inputs)
    for _ in range(2):
        y = layers.DepthwiseConv2D(5, padding="same")(x)
        y = layers.Dense(8)(layers.Dense(16, activation="gelu")(layers.LayerNormalization()(y)))
        x = layers.Add()([x, LayerScale(1e-2, 8)(y)])
    model = randomise(keras.Model(inputs, nets.head(layers.Conv2D(8, 3)(x))))
    assert kinds(check(model))[0] == 2


def test_a_channel_that_normalisation_hides_keeps_its_own_output():
    model = nets.residual()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma = np.array(layer.gamma)
            gamma[::3] = 0.0
            layer.gamma.assign(gamma)
    check(model)


def test_relu6_that_is_saturated():
    inputs = keras.Input((8, 8, 3))
    x = nets.conv_bn(nets.conv_bn(inputs, 8, activation="relu6"), 8, activation="relu6")
    model = randomise(keras.Model(inputs, nets.head(x)))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.beta.assign(6.0 * np.ones(8))
    check(model)


def test_low_cells_aim_at_the_mean_of_what_the_rectifier_lets_through():
    model = nets.residual()
    alignment = nets.alignment_of(model, octave=2)
    inputs = [nets.images(4)]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    target = next(each.target for each in readings_of(alignment) if each.target.limit is not None)
    unit = target.aligned
    low = np.asarray(target.compute(alignment, source, converted)[1])
    split = target.split
    after = np.maximum(low * target.scale[split.low] + target.offset[split.low], 0)
    activated = alignment.source.consumers[alignment.source.consumers[unit.source.outputs[0]][0].outputs[0]][0].outputs[
        0
    ]
    wanted = np.asarray(source[activated])[..., split.low].reshape(4, 8, 2, 8, 2, -1).mean((2, 4))
    assert np.allclose(after, wanted, atol=1e-4)


@pytest.mark.parametrize("axis", [1, 2])
def test_normalisation_of_rows_or_columns_is_none_of_channels(axis):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    y = layers.Conv2D(8, 3, padding="same")(layers.ReLU()(x))
    x = layers.Add()([x, layers.BatchNormalization(axis=axis)(y)])
    x = layers.ReLU()(layers.BatchNormalization(axis=axis)(layers.Conv2D(8, 1)(x)))
    check(randomise(keras.Model(inputs, nets.head(layers.Conv2D(8, 3)(x)))))


def test_channels_first():
    inputs = keras.Input((3, 12, 12))  # Keras adds the bias along the columns where there are as many as filters
    first = dict(data_format="channels_first")
    x = layers.Conv2D(8, 3, padding="same", **first)(inputs)
    y = layers.BatchNormalization(axis=1)(layers.Conv2D(8, 3, padding="same", **first)(layers.ReLU()(x)))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D(**first)(layers.Conv2D(8, 3, **first)(x))
    found = check(randomise(keras.Model(inputs, layers.Dense(3)(x))))
    assert kinds(found)[0] == 1


@pytest.mark.quick("residual")
@pytest.mark.parametrize("make", [nets.residual, nets.assorted, nets.shared, nets.unet])
def test_whole_low_tensors(make):
    found = check(make(), alpha=1.0)
    assert any(t.split is not None and t.split.whole_low for t in found.values())


def test_interiors_that_are_whole_low():
    found = check(nets.residual(), alpha=0.0, interior=1.0)
    assert kinds(found) == (2, 3)


def last_of_whole_low(model, **options):
    """(target, its map, source, converted) of the first layer that makes a plain tensor of one that is whole-low."""
    alignment = nets.alignment_of(model, octave=2, **options)
    inputs = [nets.images(4)]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    whole_low = (each for each in readings_of(alignment) if getattr(each.aligned.layer, "low_input", None))
    target = next(each.target for each in whole_low if each.aligned.layer.low_input.whole_low)
    (y,) = target.compute(alignment, source, converted)
    return target, np.asarray(y), source, converted


def cells(x):
    """Means of 2x2 positions."""
    return np.asarray(x).reshape(4, 8, 2, 8, 2, -1).mean((2, 4))


def test_a_plain_output_of_a_whole_low_tensor_is_fitted_to_the_mean_of_each_cell():
    """Here of what the sum lacks."""
    target, y, source, converted = last_of_whole_low(nets.small(), alpha=0.0, interior=1.0)
    assert target.total is not None and y.shape == (4, 8, 8, 8)
    lacking = source[target.total] - converted[target.others[0][0]]
    assert np.allclose(y * target.scale + target.offset, cells(lacking), atol=1e-3)


def test_a_plain_output_of_a_whole_low_tensor_aims_at_the_mean_of_what_the_rectifier_lets_through():
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(nets.conv_bn(inputs, 8), 8)
    model = randomise(keras.Model(inputs, nets.head(x)))
    target, y, source, _ = last_of_whole_low(model, alpha=1.0, exclude=("dense",))
    graph = target.aligned.source
    after = np.maximum(y * target.scale + target.offset, 0)
    own = np.asarray(source[graph.outputs[0]]) * target.scale + target.offset
    assert np.allclose(after, cells(np.maximum(own, 0)), atol=1e-3)
