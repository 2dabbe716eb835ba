"""OctaveLayerNormalization and OctaveGroupNormalization against numpy, for any sizes; configuration and errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_reference import close, first, maps, pool, randomise, upsample

from octconvert.layers import OctaveGroupNormalization, OctaveLayerNormalization

GROUPS = ([2, 1], [1, 1])  # channels of the high and of the low map in the first and the second group


def built(layer, inputs):
    layer(inputs)
    return randomise(layer)


def applied(layer, parts):
    """Gain and shift of each map."""
    for group, part in zip(("high", "low"), parts, strict=True):
        gamma, beta = getattr(layer, f"{group}_gamma"), getattr(layer, f"{group}_beta")
        part = part if gamma is None else part * np.asarray(gamma)
        yield part if beta is None else part + np.asarray(beta)


def over_channels(inputs, mode, epsilon, octave):
    """Statistics at a position: its channels, and those of the cell above it or the average of those under it."""
    high, low = (np.asarray(x, "float64") for x in inputs)
    count = 1 if mode == "unit" else high.shape[-1] + low.shape[-1]

    def shared(a, b):
        a, b = (x.sum(-1, keepdims=True) / count for x in (a, b))
        return a + upsample(b, octave, a), pool(a, octave) + b

    parts = [high, low]
    if mode == "layer":
        parts = [part - mean for part, mean in zip(parts, shared(*parts), strict=True)]
    squares = shared(*(part**2 for part in parts))
    if mode == "unit":
        return [part / np.maximum(np.sqrt(s), epsilon) for part, s in zip(parts, squares, strict=True)]
    return [part / np.sqrt(s + epsilon) for part, s in zip(parts, squares, strict=True)]


@pytest.mark.parametrize("octave", [1, 2, 4])
@pytest.mark.parametrize("mode", ["layer", "rms", "unit"])
def test_statistics_join_both_maps(mode, octave):
    for size in ((8, 12), (9, 6)) if octave < 4 else ((8, 12),):
        inputs = maps(*size, octave=octave)
        layer = built(OctaveLayerNormalization(mode, 1e-3, octave=octave), inputs)
        expected = applied(layer, over_channels(inputs, mode, 1e-3, octave))
        for actual, wanted in zip(layer(inputs), expected, strict=True):
            close(actual, wanted)


def test_groups_join_channels_of_both_maps():
    """Every channel counts once in its group, whatever the size of its map."""
    for size in ((6, 8), (7, 5)):
        high, low = inputs = maps(*size)
        layer = built(OctaveGroupNormalization(*GROUPS), inputs)
        expected = [np.empty(part.shape) for part in inputs]
        for a, b in ((slice(0, 2), slice(0, 1)), (slice(2, 3), slice(1, 2))):
            channels = [high[..., a], low[..., b]]
            for _ in range(2):  # the mean, then the mean square of what is left
                flat = np.concatenate([part.mean((1, 2)) for part in channels], -1)
                means = flat.mean(-1)[:, None, None, None]
                if _ == 0:
                    centred = [part - means for part in channels]
                    channels = [part**2 for part in centred]
            expected[0][..., a], expected[1][..., b] = (part / np.sqrt(means + 1e-3) for part in centred)
        for actual, wanted in zip(layer(inputs), applied(layer, expected), strict=True):
            close(actual, wanted)


@pytest.mark.parametrize(
    ("joint", "plain"),
    [
        (OctaveLayerNormalization(octave=1), keras.layers.LayerNormalization()),
        (OctaveGroupNormalization(*GROUPS, octave=1), None),
    ],
    ids=["layer", "group"],
)
def test_vectors_at_octave_1(joint, plain):
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(3, width)).astype("float32") for width in (3, 2)]
    found = np.concatenate(joint(parts), -1)
    if plain is not None:
        close(found, plain(np.concatenate(parts, -1)))
    else:
        owners = [[0, 1, 3], [2, 4]]
        joined = np.concatenate(parts, -1)
        for owner in owners:
            part = joined[:, owner]
            wanted = (part - part.mean(-1, keepdims=True)) / np.sqrt(part.var(-1, keepdims=True) + 1e-3)
            close(found[:, owner], wanted)


def make_layer(**options):
    return OctaveLayerNormalization(**options)


def make_group(**options):
    return OctaveGroupNormalization(*GROUPS, **options)


@pytest.mark.parametrize("make", [make_layer, make_group])
def test_unknown_sizes_give_the_same_numbers(make):
    layer = make()
    inputs = [keras.Input((None, None, channels)) for channels in (3, 2)]
    model = keras.Model(inputs, layer(inputs))
    randomise(layer)
    function = tf.function(lambda x: model(x), input_signature=[[tf.TensorSpec([None, None, None, c]) for c in (3, 2)]])
    for size in ((6, 8), (7, 5)):
        data = maps(*size)
        for actual, wanted in zip(function(data), layer(data), strict=True):
            close(actual, wanted)


@pytest.mark.parametrize("make", [make_layer, make_group])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_channels_first(make, size):
    inputs = maps(*size)
    last_layer = built(make(), inputs)
    first_layer = make(data_format="channels_first")
    first_layer([first(x) for x in inputs])
    first_layer.set_weights(last_layer.get_weights())
    for actual, wanted in zip(first_layer([first(x) for x in inputs]), last_layer(inputs), strict=True):
        close(actual, first(wanted))


@pytest.mark.parametrize("make", [make_layer, make_group])
def test_half_precision_keeps_its_statistics_in_float32(make):
    """The squares of these values do not fit float16."""
    inputs = [1000 * x for x in maps(6, 8)]
    layer, reference = make(dtype="mixed_float16"), make()
    halves = [x.astype("float16") for x in inputs]
    outputs = layer(halves)
    assert {keras.backend.standardize_dtype(x.dtype) for x in outputs} == {"float16"}
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    for actual, wanted in zip(outputs, reference(inputs), strict=True):
        close(actual, wanted, 5e-3)


@pytest.mark.parametrize("make", [make_layer, make_group])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True), (False, False)])
def test_weights_and_configuration(make, center, scale):
    layer = make(
        center=center,
        scale=scale,
        epsilon=1e-6,
        data_format="channels_last",
        gamma_initializer="zeros",
        beta_regularizer="l1",
        gamma_constraint="non_neg",
        name="norm",
        dtype="mixed_bfloat16",
    )
    layer(maps(4, 4))
    assert layer.count_params() == 5 * (center + scale)
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    assert (copy.name, copy.epsilon, copy.octave) == ("norm", 1e-6, 2)
    assert keras.saving.get_registered_name(type(layer)) == f"octconvert>{type(layer).__name__}"


def test_regularisers_and_constraints_hold_for_both_maps():
    layer = built(OctaveLayerNormalization(gamma_regularizer=keras.regularizers.L2(0.1)), maps(4, 4))
    gammas = np.concatenate([layer.high_gamma, layer.low_gamma])
    assert float(sum(layer.losses)) == pytest.approx(0.1 * (gammas**2).sum(), rel=1e-5)
    layer = OctaveLayerNormalization(beta_constraint="non_neg")
    layer(maps(4, 4))
    assert layer.high_beta.constraint is not None and layer.low_beta.constraint is not None


@pytest.mark.parametrize("make", [make_layer, make_group])
def test_every_weight_gets_a_gradient(make):
    inputs = maps(6, 6)
    layer = built(make(), inputs)
    with tf.GradientTape() as tape:
        loss = sum(keras.ops.sum(keras.ops.tanh(x)) for x in layer(inputs))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert len(gradients) == 4
    assert all(np.abs(gradient).min() > 0 for gradient in gradients)


@pytest.mark.parametrize("make", [make_layer, make_group])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(None, 8, 8, 3), (None, 8, 8, 2)], r"norm9.*octave=2.*\(4, 4\).*\(8, 8\)"),
        ([(None, 9, 9, 3), (None, 4, 4, 2)], r"norm9.*\(5, 5\)"),
        ((None, 8, 8, 3), "norm9.*one tensor"),
        ([(None, 8, 8, 3)] * 3, "norm9.*3 tensors"),
    ],
)
def test_wrong_inputs(make, shapes, message):
    tensors = [keras.KerasTensor(s) for s in shapes] if isinstance(shapes, list) else keras.KerasTensor(shapes)
    with pytest.raises(ValueError, match=message):
        make(name="norm9")(tensors)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"octave.*power of two"):
        OctaveLayerNormalization(octave=3)
    with pytest.raises(ValueError, match="data_format"):
        OctaveLayerNormalization(data_format="nhwc")
    with pytest.raises(ValueError, match=r"norm9.*differ in length"):
        OctaveGroupNormalization([2, 1], [2], name="norm9")
