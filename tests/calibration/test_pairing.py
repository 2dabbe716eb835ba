"""Which tensors stand for which: with octave=1 they hold the same numbers."""

import numpy as np
import pytest
import twin_models as nets
from keras import ops


@pytest.mark.parametrize("make", [nets.residual, *nets.TOPOLOGIES, nets.dense_net])
def test_counterparts_hold_the_channels_of_the_source(make):
    model = make()
    twins = nets.twins_of(model, octave=1)
    inputs = [np.random.default_rng(0).standard_normal((2, *t.shape[1:])).astype("float32") for t in model.inputs]
    source, converted = nets.everything(twins.source, inputs), nets.everything(twins.converted, inputs)
    pairs = 0
    for number, counterpart in twins.counterparts.items():
        pairs += counterpart.split is not None
        parts = twins.parts(source[number], counterpart.split)
        for part, other in zip(parts, counterpart.numbers, strict=True):
            scale = float(ops.max(ops.abs(part)))
            assert float(ops.max(ops.abs(part - converted[other]))) <= 1e-4 * scale
    assert pairs > 3
    pending = sum(call.class_name == "ZeroPadding2D" for call in twins.source.calls)
    assert len(twins.counterparts) >= len(twins.source.tensors) - pending


def test_low_parts_are_pooled_at_octave_2():
    twins = nets.twins_of(nets.residual(), octave=2)
    source = nets.everything(twins.source, [nets.images(2)])
    number, split = next((n, c.split) for n, c in twins.counterparts.items() if c.split is not None)
    high, low = twins.parts(source[number], split)
    x = np.asarray(source[number])
    assert np.allclose(high, x[..., split.high])
    assert np.allclose(low, x[..., split.low].reshape(2, 8, 2, 8, 2, -1).mean((2, 4)), atol=1e-5)


def test_vectors_are_split_without_pooling():
    twins = nets.twins_of(nets.small(), octave=2)
    vectors = [n for n, c in twins.counterparts.items() if c.split and len(twins.source.tensors[n].shape) == 2]
    source = nets.everything(twins.source, [nets.images(2)])
    converted = nets.everything(twins.converted, [nets.images(2)])
    assert vectors
    for number in vectors:
        parts = twins.parts(source[number], twins.counterparts[number].split)
        found = [converted[n] for n in twins.counterparts[number].numbers]
        assert [part.shape for part in parts] == [other.shape for other in found]


def test_units_are_layers_that_are_called_once():
    twins = nets.twins_of(nets.shared())
    names = [unit.source.layer_name for unit in twins.units]
    assert "again" not in names
    kernels = [call for call in twins.source.calls if call.class_name == "Conv2D" and call.layer_name != "again"]
    assert {call.layer_name for call in kernels} <= set(names)
    positions = [unit.call.index for unit in twins.units]
    assert positions == sorted(positions)


def test_layers_of_a_nested_model_are_units_when_it_is_called_once():
    names = [unit.source.layer_name for unit in nets.twins_of(nets.nested()).units]
    assert sum(name.startswith("backbone/conv2d") for name in names) == 2
