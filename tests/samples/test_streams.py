"""Datasets, generators and whatever else gives samples or batches."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from sample_data import images, net, values

from octconvert.errors import InputError
from octconvert.samples import read_samples


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return images(2) + 2 * index, np.arange(2) + 2 * index


class OldSequence:
    """The old protocol: no iteration of its own, no end."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return images(6)[2 * index : 2 * index + 2]


def test_datasets_of_every_kind(model):
    x, y, one = images(6), np.arange(6), np.ones(6)
    slices = tf.data.Dataset.from_tensor_slices
    labelled = [slices((x, y)), slices((x, y)).batch(4), slices((x, y, one)).batch(4), Batches()]
    labelled += [slices({"image": x, "label": y}).batch(4), zip(x, y, strict=True), [(x[:3], y[:3]), (x[3:], y[3:])]]
    for data in labelled:
        samples = read_samples(data, model)
        assert values(samples) == list(range(6)) == samples.labels.tolist()
    for data in (slices(x), slices(x).batch(4), list(x), iter([x[:5], x[5]]), OldSequence(), [[x[:4]], [x[4:]]]):
        samples = read_samples(data, model)
        assert values(samples) == list(range(6)) and samples.labels is None


def test_labels_that_make_no_array_are_left_out(model):
    x = images(4)
    ragged = [(x[:2], np.arange(2)), (x[2:], np.ones((2, 5)))]
    now_and_then = [(x[:2], np.arange(2)), x[2:]]
    several = [(x, [np.arange(4), np.arange(4)]), (x, ["a"] * 4), (x, tf.ragged.constant([[1], [2, 3], [], [4]]))]
    for data in (ragged, now_and_then, *([pair] for pair in several)):
        assert read_samples(data, model).labels is None
        with pytest.raises(InputError, match="holds no labels"):
            read_samples(data, model, need_labels=True)


def test_an_endless_generator_is_read_once_and_no_further_than_needed(model):
    asked = itertools.count()
    data = (np.full((8, 8, 3), next(asked), "float32") for _ in itertools.count())
    samples = read_samples(data, model, limit=5)
    assert values(samples) == [0, 1, 2, 3, 4] and samples.origin == "given data (5 samples)"
    assert next(data).flat[0] == 5
    batches = (images(4) for _ in itertools.count())
    assert values(read_samples(batches, model, limit=6)) == [0, 1, 2, 3, 0, 1]
    assert read_samples(tf.data.Dataset.from_tensors(images(4)).repeat(), model, limit=6).count == 6


def test_a_model_of_open_size_takes_arrays_of_one_size():
    model = net(None, None, 3)
    assert read_samples([images(2, (5, 7, 3))], model).arrays[0].shape == (2, 5, 7, 3)
    with pytest.raises(InputError, match=r"different sizes: after \(5, 7, 3\), \(6, 7, 3\)"):
        read_samples([images(2, (5, 7, 3)), images(2, (6, 7, 3))], model)
