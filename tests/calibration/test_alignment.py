"""Which tensors stand for which: with octave=1 they hold the same numbers."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers, ops
from oracle import randomise


@pytest.mark.quick("residual", "nested", "two_inputs")
@pytest.mark.parametrize("make", [nets.residual, *nets.TOPOLOGIES, nets.dense_net, *nets.CALLED_OFTEN[1:]])
def test_counterparts_hold_the_channels_of_the_source(make):
    model = make()
    alignment = nets.alignment_of(model, octave=1)
    inputs = [np.random.default_rng(0).standard_normal((2, *t.shape[1:])).astype("float32") for t in model.inputs]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    pairs = 0
    for number, counterpart in alignment.counterparts.items():
        pairs += counterpart.split is not None
        parts = alignment.parts(source[number], counterpart.split)
        for part, other in zip(parts, counterpart.numbers, strict=True):
            scale = float(ops.max(ops.abs(part)))
            assert float(ops.max(ops.abs(part - converted[other]))) <= 1e-4 * scale
    assert pairs > 3
    pending = sum(call.class_name == "ZeroPadding2D" for call in alignment.source.calls)
    assert len(alignment.counterparts) >= len(alignment.source.tensors) - pending


def test_low_parts_are_pooled_at_octave_2():
    alignment = nets.alignment_of(nets.residual(), octave=2)
    source = nets.everything(alignment.source, [nets.images(2)])
    number, split = next((n, c.split) for n, c in alignment.counterparts.items() if c.split is not None)
    high, low = alignment.parts(source[number], split)
    x = np.asarray(source[number])
    assert np.allclose(high, x[..., split.high])
    assert np.allclose(low, x[..., split.low].reshape(2, 8, 2, 8, 2, -1).mean((2, 4)), atol=1e-5)


def test_vectors_are_split_without_pooling():
    alignment = nets.alignment_of(nets.small(), octave=2)
    vectors = [n for n, c in alignment.counterparts.items() if c.split and len(alignment.source.tensors[n].shape) == 2]
    source = nets.everything(alignment.source, [nets.images(2)])
    converted = nets.everything(alignment.converted, [nets.images(2)])
    assert vectors
    for number in vectors:
        parts = alignment.parts(source[number], alignment.counterparts[number].split)
        found = [converted[n] for n in alignment.counterparts[number].numbers]
        assert [part.shape for part in parts] == [other.shape for other in found]


@pytest.mark.quick("small", "shared", "nested_twice")
@pytest.mark.parametrize("make", [nets.small, nets.nested, *nets.CALLED_OFTEN])
def test_every_call_of_a_convolution_is_a_unit(make):
    alignment = nets.alignment_of(make())
    names = {unit.source.name for unit in alignment.calls}
    assert {call.name for call in alignment.source.calls if call.class_name == "Conv2D"} <= names
    positions = [unit.call.index for unit in alignment.calls]
    assert positions == sorted(positions)
    every = [unit for units in alignment.layers for unit in units]
    assert len(every) == len(alignment.calls)
    assert all(unit.layer is units[0].layer for units in alignment.layers for unit in units)


def test_calls_of_a_net_do_not_depend_on_their_order():
    """The second image goes a longer way before it meets the net, in the source as in its conversion."""
    first, second, part = keras.Input((16, 16, 3)), keras.Input((16, 16, 3)), nets.backbone()
    longer = layers.Conv2D(3, 3, padding="same")(layers.Conv2D(8, 3, padding="same", activation="relu")(second))
    model = randomise(keras.Model([first, second], nets.head(layers.Concatenate()([part(longer), part(first)]))))
    alignment = nets.alignment_of(model, octave=1)
    inputs = [nets.images(2, seed=1), nets.images(2, seed=2)]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    looked_at = 0
    for number, counterpart in alignment.counterparts.items():
        for part, other in zip(alignment.parts(source[number], counterpart.split), counterpart.numbers, strict=True):
            assert np.allclose(part, converted[other], atol=1e-4)
            looked_at += 1
    assert looked_at > 20


@pytest.mark.parametrize(
    "make, options",
    [
        (nets.residual, dict(alpha=0.0, interior=1.0)),
        (nets.unet, dict(alpha=1.0)),
        (nets.shared, dict(alpha=1.0)),
    ],
)
def test_counterparts_that_are_whole_low(make, options):
    model = make()
    alignment = nets.alignment_of(model, octave=1, **options)
    inputs = [nets.images(2, tensor.shape[1]) for tensor in model.inputs]
    source, converted = nets.everything(alignment.source, inputs), nets.everything(alignment.converted, inputs)
    whole_low = 0
    for number, counterpart in alignment.counterparts.items():
        (part,), (other,) = alignment.parts(source[number], counterpart.split), counterpart.numbers
        assert np.allclose(part, converted[other], atol=1e-4)
        whole_low += counterpart.split is not None and counterpart.split.whole_low
    assert whole_low > 3


def test_a_whole_low_part_is_pooled_at_octave_2():
    alignment = nets.alignment_of(nets.small(), alpha=0.0, interior=1.0)
    source = nets.everything(alignment.source, [nets.images(2)])
    number, split = next((n, c.split) for n, c in alignment.counterparts.items() if c.split is not None)
    (low,) = alignment.parts(source[number], split)
    assert np.allclose(low, np.asarray(source[number]).reshape(2, 8, 2, 8, 2, -1).mean((2, 4)), atol=1e-5)
