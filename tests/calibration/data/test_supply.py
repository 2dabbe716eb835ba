"""What a conversion is calibrated on."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers

from octconvert.calibration.data.nearest import synthetic_supply
from octconvert.calibration.data.supply import user_supply
from octconvert.errors import InputError, UsageError
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions


def graph_of(*shapes, dtype="float32", data_format="channels_last"):
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    outputs = []
    for x in inputs:
        if len(x.shape) == 4:
            x = layers.Conv2D(4, 3, padding="same", data_format=data_format)(x)
            outputs.append(layers.GlobalAveragePooling2D(data_format=data_format)(x))
        else:
            outputs.append(layers.Dense(4)(x if len(x.shape) == 2 else layers.GlobalAveragePooling1D()(x)))
    return build_graph(keras.Model(inputs, layers.Add()(outputs) if len(outputs) > 1 else outputs[0]))


@pytest.mark.parametrize(
    "shapes, expected, images",
    [
        ([(16, 20, 3)], [(16, 20, 3)], True),
        ([(16, 16, 1)], [(16, 16, 1)], True),
        ([(16, 16, 5)], [(16, 16, 5)], False),
        ([(16, 16, 3), (7,)], [(16, 16, 3), (7,)], False),
        ([(16, 16, 3), (4, 7)], [(16, 16, 3), (4, 7)], False),
        ([(None, None, 3)], [(128, 128, 3)], True),
    ],
    ids=str,
)
def test_synthetic_samples_have_the_shapes_of_the_inputs(shapes, expected, images):
    supply = synthetic_supply(graph_of(*shapes), CalibrationOptions(), 9, 5)
    assert [array.shape for array in supply.fit.arrays] == [(9, *shape) for shape in expected]
    assert [array.shape for array in supply.held_out.arrays] == [(5, *shape) for shape in expected]
    assert supply.images == images
    assert all(array.dtype == "float32" and np.isfinite(array).all() for array in supply.fit.arrays)
    assert "9 synthetic" in supply.label
    assert all(array.std() > 0.05 for array in supply.fit.arrays)


def timed(shape, time=3, data_format="channels_last", **kwargs):
    """A convolution in `TimeDistributed`."""
    inside = keras.Sequential([keras.Input(shape), layers.Conv2D(4, 3, padding="same", data_format=data_format)])
    video = keras.Input((time, *shape), **kwargs)
    return build_graph(keras.Model(video, layers.TimeDistributed(inside)(video)))


@pytest.mark.parametrize("time, expected", [(3, 3), (None, 8)])
def test_videos_consist_of_images(time, expected):
    supply = synthetic_supply(timed((16, 20, 3), time), CalibrationOptions(input_range=(0.0, 1.0)), 9, 5)
    (x,) = supply.fit.arrays
    assert x.shape == (9, expected, 16, 20, 3) and supply.held_out.arrays[0].shape == (5, expected, 16, 20, 3)
    assert x.min() >= 0 and x.max() <= 1
    assert np.abs(np.diff(x, axis=2)).mean() < np.abs(np.diff(x, axis=1)).mean() / 2  # smooth along the rows
    assert len(np.unique(x[:, :, 8, 10, 0])) > 9 * expected / 2  # every frame is another image
    assert not supply.images  # to be flipped and shifted as single ones


def test_videos_with_channels_first():
    supply = synthetic_supply(timed((3, 12, 16), data_format="channels_first"), CalibrationOptions(), 4, 2)
    (x,) = supply.fit.arrays
    assert x.shape == (4, 3, 3, 12, 16)
    assert np.abs(np.diff(x, axis=3)).mean() < np.abs(np.diff(x, axis=1)).mean() / 2


def test_channels_first():
    supply = synthetic_supply(graph_of((3, 12, 16), data_format="channels_first"), CalibrationOptions(), 4, 2)
    (x,) = supply.fit.arrays
    assert x.shape == (4, 3, 12, 16) and x.flags.c_contiguous and supply.images
    rows = np.abs(np.diff(x, axis=2)).mean()
    assert rows < np.abs(np.diff(x, axis=0)).mean()  # images are smooth along rows, samples are not


@pytest.mark.parametrize("dtype", ["int32", "bool", "string"])
def test_nothing_is_made_up_for_what_are_no_real_numbers(dtype):
    inputs = keras.Input((16, 16, 3)), keras.Input((4,), dtype=dtype)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs[0]))
    graph = build_graph(keras.Model(inputs, [x, layers.Identity()(inputs[1])]))
    assert synthetic_supply(graph, CalibrationOptions(), 4, 2) is None


def test_the_seed_decides():
    graph = graph_of((16, 16, 3), (4,))
    first, again, other = (synthetic_supply(graph, CalibrationOptions(seed=seed), 6, 3) for seed in (1, 1, 5))
    for i in range(2):
        assert np.array_equal(first.fit.arrays[i], again.fit.arrays[i])
        assert np.array_equal(first.held_out.arrays[i], again.held_out.arrays[i])
        assert not np.array_equal(first.fit.arrays[i], other.fit.arrays[i])
        assert not np.array_equal(first.fit.arrays[i][:3], first.held_out.arrays[i])
    more = first.more(6, 9)
    assert more.count == 6 and not np.array_equal(more.arrays[0], first.fit.arrays[0])


def test_the_given_range_is_kept():
    supply = synthetic_supply(graph_of((16, 16, 3)), CalibrationOptions(input_range=(-100.0, 300.0)), 16, 2)
    (x,) = supply.fit.arrays
    assert x.min() >= -100 and x.max() <= 300 and x.max() > 200 and x.min() < -50
    assert "-100" in supply.input_range


def test_preprocessing_of_made_up_samples_is_refused():
    with pytest.raises(UsageError, match="preprocess"):
        synthetic_supply(graph_of((16, 16, 3)), CalibrationOptions(preprocess="resnet50"), 2, 2)


@pytest.mark.parametrize("count, held_out", [(2, 1), (8, 1), (80, 10), (3000, 256)])
def test_given_samples_are_divided(count, held_out):
    data = np.arange(count, dtype="float32").reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 5), "float32")
    supply = user_supply(graph_of((4, 4, 5)), CalibrationOptions(data=data, samples=4000))
    assert (supply.fit.count, supply.held_out.count) == (count - held_out, held_out)
    both = np.concatenate([each.arrays[0][:, 0, 0, 0] for each in (supply.fit, supply.held_out)])
    assert np.array_equal(np.sort(both), np.arange(count))
    assert not supply.images and supply.more is None and not supply.input_range


def test_images_that_are_held_out_are_not_among_the_others():
    data = np.arange(40, dtype="float32").reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 3), "float32")
    supply = user_supply(graph_of((4, 4, 3)), CalibrationOptions(data=data))
    fit, held_out = (np.unique(each.arrays[0]) for each in (supply.fit, supply.held_out))
    assert supply.images and len(fit) == 35 and len(held_out) == 5
    assert np.array_equal(np.union1d(fit, held_out), np.arange(40))


def test_no_more_than_asked_for_are_taken():
    data = nets.images(50, channels=5)
    supply = user_supply(graph_of((16, 16, 5)), CalibrationOptions(data=data, samples=20))
    assert supply.fit.count + supply.held_out.count == 20


def test_one_sample_is_too_few():
    with pytest.raises(InputError, match="give two or more"):
        user_supply(graph_of((16, 16, 3)), CalibrationOptions(data=nets.images(1)))
