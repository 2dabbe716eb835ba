"""Arrays: which are the inputs, which the labels; order, dtype and choice."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sample_data import images, net, pair_net, values

from octconvert.errors import InputError
from octconvert.samples import read_samples


def test_an_array_is_read_as_float32(model):
    samples = read_samples(images(10, dtype="float64"), model)
    (array,) = samples.arrays
    assert array.dtype == np.float32 and array.shape == (10, 8, 8, 3)
    assert values(samples) == list(range(10))
    assert samples.count == 10 and samples.labels is None and samples.notes == ()
    assert samples.origin == "given data (10 samples)"


def test_tensors_tuples_and_dicts_of_one_input(model):
    x, y = images(5), np.arange(5)
    for data in (tf.constant(x), keras.ops.convert_to_tensor(x), {"image": x}, {"x": x}, (x,), [x]):
        assert values(read_samples(data, model)) == list(range(5))
    for data in ((x, y), (x, list(y)), (tf.constant(x), y, np.ones(5)), {"image": x, "y": y}, {"data": x, "label": y}):
        samples = read_samples(data, model, need_labels=True)
        assert samples.labels.tolist() == list(range(5))
    assert read_samples((x, {"a": y}), model).labels is None


def test_the_seed_chooses_among_many_samples(model):
    x, y = images(500), np.arange(500)
    samples = read_samples((x, y), model, limit=50, seed=1)
    assert samples.count == 50 and samples.origin == "given data (50 of 500 samples)"
    assert values(samples) == sorted(set(values(samples))) == samples.labels.tolist()
    assert values(read_samples(x, model, limit=50, seed=1)) == values(samples)
    assert values(read_samples(x, model, limit=50, seed=2)) != values(samples)


def test_several_inputs_by_order_or_name():
    left, right, y = images(6, (4, 4, 1)), images(6, (3,)) + 10, np.arange(6)
    named = {"right": right, "left": left}
    batches = ([left[:4], right[:4]], [left[4:], right[4:]])
    for data in ((left, right), [left, right], named, ((left, right), y), ([left, right], y), (named, y)):
        samples = read_samples(data, pair_net())
        assert [a.shape for a in samples.arrays] == [(6, 4, 4, 1), (6, 3)]
        assert values(samples, 1) == list(range(10, 16))
    for data in (
        list(batches),
        ((x, None) for x in batches),
        ((l, r) for l, r in zip(left, right, strict=True)),  # noqa: E741
        tf.data.Dataset.from_tensor_slices((named, y)).batch(4),
        tf.data.Dataset.from_tensor_slices((left, right)),
    ):
        assert values(read_samples(data, pair_net()), 1) == list(range(10, 16))


def test_a_model_called_with_a_dict_takes_its_keys():
    a, b = keras.Input((1,), name="a"), keras.Input((2,), name="b")
    with pytest.warns(UserWarning, match="must match the names"):
        model = keras.Model({"second": a, "first": b}, layers.Concatenate()([a, b]))
    x, y = images(4, (2,)), images(4, (1,))
    assert [array.shape[1] for array in read_samples({"first": x, "second": y}, model).arrays] == [2, 1]
    assert [array.shape[1] for array in read_samples({"b": x, "a": y}, model).arrays] == [2, 1]


def test_grey_images_get_their_channel_axis():
    for shape, model in (
        ((5, 6, 7, 1), net(6, 7, 1)),
        ((5, 6, 7, 1), net(None, None, 1)),
        ((5, 1, 6, 7), net(1, 6, 7, data_format="channels_first")),
    ):
        for data in (images(5, (6, 7)), list(images(5, (6, 7))), [images(3, (6, 7)), images(2, (6, 7))]):
            assert read_samples(data, model).arrays[0].shape == shape
        assert read_samples(list(images(5, shape[1:])), model).arrays[0].shape == shape


def test_integer_inputs_keep_their_dtype():
    model = net(8, 8, 3, dtype="int32")
    samples = read_samples(images(4, dtype="int64") + 2**24 + 1, model)
    assert samples.arrays[0].dtype == np.int32 and values(samples)[0] == 2**24 + 1
    with pytest.raises(InputError, match="'image' takes int32"):
        read_samples(images(4) + 0.5, model)


def test_bfloat16_and_bool_are_numbers(model):
    assert values(read_samples(tf.cast(images(4), "bfloat16"), model)) == [0, 1, 2, 3]
    assert read_samples(images(2) > 0, model).arrays[0].dtype == np.float32
