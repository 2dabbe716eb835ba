"""Image files: scaled, cropped, in the model's format; directories with classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sample_data import bitmap, net, picture, values

from octconvert.samples import read_samples


def test_a_directory_of_images(model):
    for number, name in enumerate(["c/2.png", "a/1.jpg", "b/deep/3.png", "a/0.png"]):
        picture(f"calib/{name}", 10 * number)
    Path("calib/empty").mkdir()
    Path("calib/a/notes.txt").write_text("x")
    Path("calib/.hidden.png").write_bytes(b"x")
    samples = read_samples("calib", model, need_labels=True)
    assert np.allclose(values(samples), [30, 10, 20, 0], atol=2)  # a/0 a/1 b/deep/3 c/2
    assert samples.labels.tolist() == [0, 0, 1, 2]
    assert samples.origin == "calib/ (4 images)" and samples.arrays[0].dtype == np.float32
    picture("calib/top.png")
    samples = read_samples("calib/", model)
    assert samples.labels is None and samples.origin == "calib/ (5 images)"


def test_one_subdirectory_tells_no_classes_apart(model):
    picture("calib/images/0.png")
    assert read_samples("calib", model).labels is None


def test_the_seed_chooses_among_many_images(model):
    for number in range(70):
        picture(f"calib/{number:02}.png", number)
    first = read_samples("calib", model, limit=40, seed=1)
    assert values(first) == sorted(set(values(first))) and first.origin == "calib/ (40 of 70 images)"
    assert values(read_samples("calib", model, limit=40, seed=1)) == values(first)
    assert values(read_samples("calib", model, limit=40, seed=2)) != values(first)


def test_images_are_scaled_and_cropped_around_their_centre(model):
    wide = np.zeros((16, 48, 3), "uint8")
    wide[:, 16:32] = 200
    picture("wide.png", wide)
    samples = read_samples("wide.png", model)
    assert samples.origin == "wide.png (1 image)"
    assert np.allclose(samples.arrays[0], 200)
    stripes = np.zeros((64, 64, 3), "uint8")
    stripes[:, ::2] = 200
    picture("stripes.png", stripes)
    inner = read_samples("stripes.png", model).arrays[0][0, :, 1:-1]
    assert np.allclose(inner, 100, atol=1)  # without antialias: 0 or 200
    picture("small.png", 70, (3, 5))
    assert np.allclose(read_samples("small.png", net(12, 4, 3)).arrays[0], 70)


def test_images_for_models_of_other_kinds():
    picture("grey.png", 50, channels=1)
    picture("clear.png", 50, channels=4)
    bitmap("colour.bmp", 8, 50)
    gif = b"GIF89a\x01\0\x01\0\x80\0\0\x32\x32\x32\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"  # one pixel
    Path("dot.gif").write_bytes(gif)
    for channels in (1, 3):
        for file in ("grey.png", "clear.png", "colour.bmp", "dot.gif"):
            samples = read_samples(file, net(8, 8, channels))
            assert samples.arrays[0].shape == (1, 8, 8, channels) and np.allclose(samples.arrays[0], 50), file
    first = read_samples("colour.bmp", net(3, 6, 9, data_format="channels_first"))
    assert first.arrays[0].shape == (1, 3, 6, 9)
    assert read_samples("colour.bmp", net(None, None, 3)).arrays[0].shape == (1, 224, 224, 3)
    assert read_samples("colour.bmp", net(8, 8, 3, dtype="uint8")).arrays[0].dtype == np.uint8


def test_channels_first_keeps_the_picture_upright():
    halves = np.zeros((8, 8, 3), "uint8")
    halves[:4, :, 0] = 90
    picture("halves.png", halves)
    (array,) = read_samples("halves.png", net(3, 8, 8, data_format="channels_first")).arrays
    assert np.array_equal(array[0].transpose(1, 2, 0), halves)
