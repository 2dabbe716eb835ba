"""What is done to the images, and the note where nothing is."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sample_data import images, net, pair_net, picture, values

from octconvert.errors import UsageError
from octconvert.samples import read_samples
from octconvert.samples.reading import RAW_NOTE


def test_preprocess_by_name_is_the_one_of_keras(model):
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")
    for name, own in (
        ("resnet", keras.applications.resnet),
        ("ResNet50", keras.applications.resnet),
        ("mobilenet_v2", keras.applications.mobilenet_v2),
        ("MobileNetV2", keras.applications.mobilenet_v2),
        ("densenet", keras.applications.densenet),
        ("efficientnet", keras.applications.efficientnet),
    ):
        samples = read_samples(x, model, preprocess=name)
        assert np.allclose(samples.arrays[0], own.preprocess_input(x.astype("float32")), atol=1e-5)
        assert samples.notes == ()
    first = net(3, 8, 8, data_format="channels_first")
    swapped = read_samples(x.transpose(0, 3, 1, 2), first, preprocess="resnet").arrays[0].transpose(0, 2, 3, 1)
    assert np.allclose(swapped, keras.applications.resnet.preprocess_input(x.astype("float32")), atol=1e-5)


def test_preprocess_by_numbers(model):
    x = images(3, dtype="uint8")
    for text, expected in (("1/2,-1", [-1, -0.5, 0]), ("2,0.5", [0.5, 2.5, 4.5]), ("1/4", [0, 0.25, 0.5])):
        assert values(read_samples(x, model, preprocess=text)) == expected


def test_preprocess_by_ones_own_function(model):
    Path("mine.py").write_text("def double(x):\n    assert x.dtype == 'float32'\n    x *= 2\n    return x\n")
    x = images(3)
    for preprocess in ("mine.py:double", "mine:double", lambda batch: tf.constant(batch) * 2):
        assert values(read_samples(x, model, preprocess=preprocess)) == [0, 2, 4]
    assert values(read_samples(x, model)) == [0, 1, 2]  # not changed in place
    grown = read_samples(images(3, (4, 4, 3)), model, preprocess=lambda batch: batch.repeat(2, 1).repeat(2, 2))
    assert grown.arrays[0].shape == (3, 8, 8, 3)


def test_preprocess_is_for_the_images_among_several_inputs():
    samples = read_samples((images(3, (4, 4, 1)), images(3, (3,))), pair_net(), preprocess="10,0")
    assert values(samples, 0) == [0, 10, 20] and values(samples, 1) == [0, 1, 2]


def test_raw_bytes_are_noted_where_nothing_scales_them(model):
    picture("calib/0.png")
    x = images(3, dtype="uint8")
    for data in ("calib", x, list(x), tf.data.Dataset.from_tensor_slices(x)):
        assert read_samples(data, model).notes == (RAW_NOTE,)
        assert read_samples(data, model, preprocess="1/255,0").notes == ()
    assert read_samples(x, model).split(0.5, seed=0)[0].notes == (RAW_NOTE,)
    assert read_samples(images(3), model).notes == ()  # floats may be anything
    assert read_samples(images(2, dtype="uint8"), model).notes == ()  # 0 and 1
    inputs = keras.Input((8, 8, 3))
    conv = layers.Conv2D(2, 1)
    scaled = [
        keras.Sequential([inputs, layers.Rescaling(1 / 255), conv]),
        keras.Sequential([inputs, keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 255)]), conv]),
        keras.Model(inputs, conv(layers.Normalization(mean=1.0, variance=2.0)(inputs))),
        keras.Model(inputs, conv(inputs / 127.5 - 1)),
    ]
    for own in scaled:
        assert read_samples(x, own).notes == ()
    assert read_samples(x, keras.Model(inputs, layers.Rescaling(2.0)(conv(inputs)))).notes == (RAW_NOTE,)


@pytest.mark.parametrize(
    "preprocess, said",
    [
        ("resnet51", ["resnet51", "mobilenet_v2"]),
        ("imagenet,0", ["'imagenet,0'", "scale,offset"]),
        ("0,1", ["'0,1'", "scale,offset"]),
        ("1/0,1", ["scale,offset"]),
        ("1,2,3", ["scale,offset"]),
        ("nan", ["'nan'"]),
        ("nowhere.py:f", ["preprocess", "nowhere.py"]),
        ("math:pi", ["'math:pi' is not a function"]),
        (7, ["preprocess", "7"]),
        (lambda x: x[:1], ["preprocess", "4 samples", "(1, 8, 8, 3)"]),
        (lambda x: None, ["preprocess", "4 samples"]),
        (lambda x: x @ np.ones((7, 7)), ["preprocess failed", "(4, 8, 8, 3)", "ValueError"]),
    ],
)
def test_bad_preprocess_is_a_usage_error(preprocess, said, model):
    with pytest.raises(UsageError) as caught:
        read_samples(images(4), model, preprocess=preprocess)
    line = str(caught.value)
    assert "\n" not in line
    assert [part for part in said if part not in line] == [], line
