"""Which synthetic images a model is calibrated on, and the crops of photographs among them."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from octconvert.calibration.data import photographs
from octconvert.calibration.data.generator import Generator, generator_of
from octconvert.calibration.data.natural import natural
from octconvert.calibration.data.natural import natural_in_parts as in_parts
from octconvert.calibration.data.nearest import synthetic_supply, with_nearest_images
from octconvert.calibration.data.photographs import photograph_crops
from octconvert.calibration.data.synthetic import dead_leaves
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions


def net(*shape, trained_on: np.ndarray | None = None) -> keras.Model:
    """One with the statistics of a training on some images, or without any normalisation."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3)(inputs)
    if trained_on is not None:
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.0)(x))
        x = layers.BatchNormalization(momentum=0.0)(layers.Conv2D(8, 3)(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    if trained_on is not None:
        model(trained_on, training=True)
    return model


def generator(model: keras.Model) -> Generator:
    made = generator_of(build_graph(model), CalibrationOptions(input_range=(0, 1)))
    assert made is not None
    return made


def crops(count, rows, columns, channels=3, seed=0):
    return photograph_crops(count, rows, columns, channels, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_of_photographs_is_calibrated_on_crops_of_photographs(channels):
    nearest, distance = with_nearest_images(
        generator(net(48, 48, channels, trained_on=crops(96, 48, 48, channels))), 48, 3
    )
    assert nearest.photographs and distance < 0.5
    label = nearest.supply(6, 3, 0).label
    assert label == "6 synthetic images, half of them crops of photographs"


def test_a_model_of_other_images_is_calibrated_on_dead_leaves():
    nearest, distance = with_nearest_images(generator(net(48, 48, 3, trained_on=dead_leaves(96, 48, 48))), 48, 3)
    assert not nearest.photographs and distance < 0.1
    assert nearest.supply(6, 3, 0).label == "6 synthetic images"


@pytest.mark.parametrize(
    "shape, are_photographs",
    [((64, 80, 3), True), ((48, 80, 3), False), ((64, 64, 1), False), ((64, 64, 4), False)],
)
def test_without_statistics_large_images_in_colour_are_photographs(shape, are_photographs):
    nearest, distance = with_nearest_images(generator(net(*shape)), 16, 3)
    assert distance is None and nearest.photographs == are_photographs


def test_the_ranges_of_an_integer_model_are_measured_on_the_same_images():
    supply = synthetic_supply(build_graph(net(64, 64, 3)), CalibrationOptions(), 4, 2)
    assert "crops of photographs" in supply.label


def test_crops_stand_between_dead_leaves():
    (images,) = in_parts(7, (20, 24), 3, seed=4, photographs=True)
    assert images.shape == (7, 20, 24, 3) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    assert np.array_equal(images[::2], dead_leaves(4, 20, 24, 3, seed=4))
    again, other = (next(in_parts(7, (20, 24), 3, seed=seed, photographs=True)) for seed in (4, 5))
    assert np.array_equal(images, again) and not np.isclose(images[1::2], other[1::2]).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("size, channels", [((32,), 3), ((12, 12), 4), ((6, 6, 6), 3)])
def test_what_can_be_no_photograph_is_as_without_them(size, channels):
    images = np.concatenate(list(in_parts(3, size, channels, 1, photographs=True)))
    assert np.array_equal(images, natural(3, size, channels, 1))


@pytest.mark.parametrize("size", [(1, 1), (8, 900), (700, 40), (33, 32)])
def test_crops_of_any_size_are_parts_of_photographs(size):
    images = crops(12, *size)
    assert images.shape == (12, *size, 3) and np.isfinite(images).all()
    if min(size) > 1:
        assert images.std(axis=(1, 2, 3)).min() > 0.01
    assert crops(2, *size, channels=1).shape == (2, *size, 1)


def test_no_crop_is_larger_than_its_photograph(monkeypatch):
    """Each column of this one is darker than the one before: what is left of a whole row of it has all of them."""
    ramp = np.tile(np.linspace(0, 255, 64, dtype="uint8")[None, :, None], (64, 1, 3))
    monkeypatch.setattr(photographs, "photographs", lambda: (ramp,))
    for name in ("LIGHT", "CONTRAST", "TINT"):
        monkeypatch.setattr(photographs, name, 0.0)
    spans = [abs(float(image[..., 0].max() - image[..., 0].min())) for image in crops(40, 16, 16)]
    assert max(spans) <= 1 and max(spans) > 0.7 and 0.15 < min(spans) < 0.5


def test_the_source_and_licence_of_every_photograph_are_named():
    files = sorted(file.name for file in photographs.FOLDER.glob("*.jpg"))
    text = (photographs.FOLDER / "README.md").read_text()
    assert len(files) == len(photographs.photographs()) >= 5
    assert all(f"| `{name}` |" in text for name in files)
    assert all("CC0" in line or "public domain" in line for line in text.splitlines() if line.startswith("| `"))


def test_channels_first_images_are_the_same():
    last = replace(generator(net(64, 64, 3)), photographs=True).make(4, 7).arrays[0]
    keras.backend.set_image_data_format("channels_first")
    try:
        inputs = keras.Input((3, 64, 64))
        model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs)))
    finally:
        keras.backend.set_image_data_format("channels_last")
    first = replace(generator(model), photographs=True).make(4, 7).arrays[0]
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)
