"""Every option of a conversion, on small networks."""

import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, example, largest_difference, randomise, reasons, roles, run

import octconvert


def network(size=(16, 16)):
    """A stem before a max-pooling, a residual block with a strided convolution, a classifier."""
    inputs = Input((*size, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="stem")(inputs)))
    x = layers.MaxPooling2D(2)(x)
    y = layers.ReLU()(layers.Conv2D(8, 3, strides=2, padding="same", name="block_a")(x))
    y = layers.Conv2D(8, 3, padding="same", name="block_b")(y)
    x = layers.Add()([y, layers.Conv2D(8, 1, strides=2, name="shortcut")(x)])
    x = layers.Conv2D(12, 3, padding="same", name="top")(layers.ReLU()(x))
    return Model(inputs, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


ALL = {
    "stem": "first",
    "block_a": "intermediate",
    "block_b": "intermediate",
    "shortcut": "intermediate",
    "top": "intermediate",
}


def test_everything():
    assert roles(assert_oracle(network(), converted=5)) == ALL


def test_include():
    result = assert_oracle(network(), converted=2, include=["block"])
    assert roles(result) == {
        "stem": "plain",
        "block_a": "first",
        "shortcut": "plain",
        "block_b": "last",
        "top": "plain",
    }
    assert reasons(result)["stem"] == "not selected by include"


def test_exclude():
    result = assert_oracle(network(), converted=3, exclude=["^stem$", "shortcut"])
    assert reasons(result)["stem"] == "excluded by '^stem$'"
    assert roles(result) == {
        "stem": "plain",
        "block_a": "first",
        "shortcut": "plain",
        "block_b": "last",
        "top": "first",
    }


def test_one_pattern_as_a_string():
    assert roles(octconvert.plan(network(), min_size=1, exclude="block"))["block_a"] == "plain"


def test_alpha_map():
    result = assert_oracle(network(), converted=5, alpha=0.25, alpha_map={"block_a": 0.5, "shortcut": 0.75})
    alpha = {c.name: c.alpha_out for c in result.plan.convolutions}
    assert alpha == {"stem": 0.25, "block_a": 0.5, "shortcut": 0.75, "block_b": 0.75, "top": 0.25}


def test_alpha_map_with_zero_makes_a_group_plain():
    result = assert_oracle(network(), alpha_map=[("shortcut", 0.0)])
    assert roles(result) == {**ALL, "shortcut": "last", "block_b": "last", "top": "first"}


def test_min_size():
    result = assert_oracle(network(), min_size=8)
    assert roles(result) == {"stem": "first", "block_a": "last", "shortcut": "last", "block_b": "plain", "top": "plain"}
    assert "4x4 map, below min_size 8" in reasons(result)["block_b"]


def test_preset_paper_leaves_the_stem():
    result = assert_oracle(network((32, 32)), converted=4, preset="paper")
    assert roles(result) == {**ALL, "stem": "plain", "block_a": "first", "shortcut": "first"}
    assert "stem" in reasons(result)["stem"]


def test_preset_paper_leaves_maps_of_7x7_whatever_min_size_is():
    result = assert_oracle(network((28, 28)), converted=0, preset="paper")
    assert "7x7 map" in reasons(result)["block_b"] and result.plan.min_size == 8


@pytest.mark.quick("exclude1-size1")
@pytest.mark.parametrize("size", [(16, 16), (18, 15)])
@pytest.mark.parametrize("exclude", [(), ("stem",)])
def test_stride_mode_pool_keeps_shapes(size, exclude):
    """Average pooling and a stride-1 convolution: another function, so only the shapes can be compared."""
    model = randomise(network(size))
    converted = octconvert.convert(model, min_size=1, stride_mode="pool", exclude=exclude, calibration=False).model
    assert converted.get_layer("block_a").strides == (1, 1)
    sample = example(model)
    found = run(converted, sample)
    assert [o.shape for o in found] == [o.shape for o in run(model, sample)]
    assert converted.count_params() == model.count_params()
    portable = octconvert.convert(
        model, min_size=1, stride_mode="pool", exclude=exclude, portable=True, calibration=False
    ).model
    assert largest_difference(found, run(portable, sample)) < 1e-5


def test_stride_mode_pool_keeps_a_stride_that_it_can_not_replace():
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    model = Model(inputs, layers.Conv2D(8, 3, strides=2, name="valid")(x))
    result = octconvert.convert(model, min_size=1, stride_mode="pool", calibration=False)
    assert any("'valid' keeps its stride" in note for note in result.report.notes)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_weights(size):
    model = randomise(network(size))
    sample = example(model)
    found = {}
    for weights in ("slice", "fold", "fresh"):
        twin = octconvert.convert(model, octave=1, min_size=1, weights=weights, calibration=False)
        difference = largest_difference(run(model, sample), run(twin.model, sample))
        assert (difference < 1e-5) is (weights != "fresh"), "without low resolution there is nothing to fold"
        found[weights] = run(octconvert.convert(model, min_size=1, weights=weights, calibration=False).model, sample)
    assert largest_difference(found["slice"], found["fold"]) > 1e-3
    high = [
        octconvert.convert(model, min_size=1, weights=w, calibration=False).model.get_layer("stem").hh_kernel
        for w in ("slice", "fold")
    ]
    np.testing.assert_array_equal(*high)


@pytest.mark.long
@pytest.mark.parametrize("size", [(16, 16), (19, 14)])
@pytest.mark.parametrize("weights", ["slice", "fold"])
def test_portable(size, weights):
    model = randomise(network(size))
    sample = example(model)
    for octave in (1, 2, 4):
        options = {"octave": octave, "min_size": 1, "weights": weights}
        found = [
            run(octconvert.convert(model, portable=p, calibration=False, **options).model, sample)
            for p in (False, True)
        ]
        assert largest_difference(*found) < 1e-5, octave


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(16, 16), (13, 22)])
def test_octave_four(size):
    model = network(size)
    result = octconvert.convert(randomise(model), octave=4, min_size=1, calibration=False)
    sample = example(model)
    assert [o.shape for o in run(result.model, sample)] == [o.shape for o in run(model, sample)]
    rows = {row.name: row for row in result.convolutions}
    assert rows["stem"].low_shape[:2] == tuple(-(-n // 4) for n in size)
    assert result.after.macs < octconvert.convert(model, min_size=1, calibration=False).after.macs


def test_the_same_conversion_twice_is_the_same():
    model = randomise(network())
    first, second = (octconvert.convert(model, min_size=1, calibration=False) for _ in range(2))
    assert first.plan == second.plan
    assert largest_difference(run(first.model, example(model)), run(second.model, example(model))) == 0


def test_deep_check_passes():
    checks = octconvert.convert(
        randomise(network((15, 17))), min_size=1, weights="fold", verify="deep", calibration=False
    ).checks
    assert [check.passed for check in checks] == [True] * len(checks)
    assert any("oracle" in check.name for check in checks)
