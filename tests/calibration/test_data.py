"""Calibration data: what is read, in which order and dtype, and one clear line for whatever can not be used."""

from __future__ import annotations

import gc
import itertools
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from octconvert.calibration import data as module
from octconvert.calibration.data import RAW_NOTE, read_samples
from octconvert.errors import InputError, UsageError


def net(*shape, dtype="float32", data_format="channels_last", name="image"):
    inputs = keras.Input(shape, dtype=dtype, name=name)
    x = layers.Rescaling(1.0)(inputs) if dtype != "float32" else inputs
    return keras.Model(inputs, layers.Conv2D(2, 1, data_format=data_format)(x), name="net")


def pair_net():
    left, right = keras.Input((4, 4, 1), name="left"), keras.Input((3,), name="right")
    pooled = layers.GlobalAveragePooling2D()(left)
    return keras.Model([left, right], layers.Concatenate()([pooled, right]), name="pair")


@pytest.fixture(scope="module")
def model():
    return net(8, 8, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, and the place of temporary files below it."""
    monkeypatch.chdir(tmp_path)
    Path("temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def images(count=10, shape=(8, 8, 3), dtype="float32"):
    """Sample i is filled with i."""
    return np.broadcast_to(np.arange(count, dtype=dtype).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()


def values(samples, number=0):
    """The first value of each sample."""
    return [row.flat[0] for row in samples.arrays[number]]


def picture(path, value=100, size=(8, 8), channels=3):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, channels), value, "uint8") if np.isscalar(value) else value
    encode = tf.io.encode_jpeg if str(path).endswith("jpg") else tf.io.encode_png
    Path(path).write_bytes(encode(pixels).numpy())
    return path


def bitmap(path, size, value):
    """A 24-bit BMP of one colour; TensorFlow has no encoder."""
    header = b"BM" + np.array([54 + 3 * size * size, 0, 54, 40, size, size], "<u4").tobytes()
    header += np.array([1, 24], "<u2").tobytes() + np.array([0, 3 * size * size, 0, 0, 0, 0], "<u4").tobytes()
    Path(path).write_bytes(header + bytes([value]) * (3 * size * size))


# ---- arrays


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


# ---- Samples


def test_batches_are_copies_in_the_order_asked_for(model):
    samples = read_samples(images(10), model)
    sizes = [len(x) for (x,) in samples.batches(4)]
    assert sizes == [4, 4, 2]
    ((first,), (second,)) = samples.batches(2, [7, 1, 3])
    assert [x.flat[0] for x in (*first, *second)] == [7, 1, 3]
    first[:] = -1
    assert values(samples) == list(range(10))
    with pytest.raises(ValueError, match="read-only"):
        samples.arrays[0][:] = 0


def test_subset_and_split(model):
    samples = read_samples((images(20), np.arange(20)), model)
    part = samples.subset([3, 1])
    assert values(part) == [3, 1] == part.labels.tolist()
    assert part.origin == "given data (20 samples), 2 of them"
    assert samples.subset(np.arange(20) > 17).count == 2
    fit, held_out = samples.split(0.25, seed=0)
    assert (fit.count, held_out.count) == (15, 5)
    assert sorted(values(fit) + values(held_out)) == list(range(20))
    assert values(samples.split(0.25, seed=0)[1]) == values(held_out) != values(samples.split(0.25, seed=1)[1])
    assert held_out.labels.tolist() == values(held_out)
    assert [part.count for part in samples.subset([0, 1]).split(0.01, seed=0)] == [1, 1]
    with pytest.raises(InputError, match="one sample can not be split"):
        samples.subset([0]).split(0.5, seed=0)
    with pytest.raises(InputError, match="without samples"):
        samples.subset([])
    for share in (0, 1):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            samples.split(share, seed=0)


def _files():
    return [file for file in Path("temporary").rglob("*") if file.is_file()]


@pytest.mark.parametrize("known", [True, False], ids=["array", "generator"])
def test_large_samples_lie_in_files_that_go_with_them(model, known, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 40 * images(1).nbytes)
    x, y = images(100), np.arange(100)
    samples = read_samples((x, y) if known else ((x[i : i + 7], y[i : i + 7]) for i in range(0, 100, 7)), model)
    assert isinstance(samples.arrays[0], np.memmap) and len(_files()) == 1
    assert values(samples) == list(range(100)) == samples.labels.tolist()
    assert all(type(x) is np.ndarray and x.flags.owndata for (x,) in samples.batches(30))
    large, small = samples.split(0.1, seed=0)
    assert isinstance(large.arrays[0], np.memmap) and not isinstance(small.arrays[0], np.memmap)
    del samples
    gc.collect()
    assert len(_files()) == 1 and values(large) == large.labels.tolist()
    del large
    gc.collect()
    assert list(Path("temporary").iterdir()) == []
    assert len(values(small)) == 10


def test_one_sample_may_be_larger_than_the_limit(model, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 10)
    samples = read_samples((images(3), np.arange(3)), model)
    assert values(samples) == [0, 1, 2] == samples.labels.tolist()


def test_a_failed_read_leaves_no_files(model, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 10)
    with pytest.raises(InputError, match="nan"):
        read_samples(np.full((40, 8, 8, 3), np.nan), model)
    gc.collect()
    assert list(Path("temporary").iterdir()) == []


def test_temporary_files_that_can_not_be_written_are_told(model, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(Path("no/such/place").resolve()))
    with pytest.raises(InputError, match=r"calibration: temporary files in .*no/such/place \(TMPDIR\) can not be"):
        read_samples(images(3), model)


# ---- datasets, generators


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


# ---- .npz and .npy


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_by_the_names_people_use(model, save):
    x, y = images(100), np.arange(100)
    for arrays in ({"x": x, "y": y}, {"images": x, "labels": y, "more": y}, {"pixels": x, "y": y}):
        save("calib.npz", **arrays)
        samples = read_samples("calib.npz", model, limit=60)
        assert values(samples) == samples.labels.tolist() and samples.count == 60
        assert samples.origin == "calib.npz (60 of 100 samples)"
    save("calib.npz", x_test=x, y_train=y - 1, y_test=y)
    assert read_samples(Path("calib.npz"), model).labels.tolist() == y.tolist()
    save("calib.npz", image=np.asfortranarray(x))
    assert values(read_samples("calib.npz", model)) == y.tolist()


def test_an_npz_of_several_inputs():
    np.savez("calib.npz", left=images(4, (4, 4, 1)), right=images(4, (3,)), y=np.arange(4))
    samples = read_samples("calib.npz", pair_net())
    assert [a.shape for a in samples.arrays] == [(4, 4, 4, 1), (4, 3)] and samples.labels.tolist() == [0, 1, 2, 3]


def test_an_npy_is_read_alike(model):
    np.save("calib.npy", images(100))
    samples = read_samples("calib.npy", model, limit=10, seed=3)
    assert values(samples) == values(read_samples(images(100), model, limit=10, seed=3))
    assert samples.origin == "calib.npy (10 of 100 samples)"


# ---- images


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


# ---- preprocess


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


# ---- errors


def _npz(**arrays):
    np.savez("calib.npz", **arrays)
    return "calib.npz"


def _npy(array):
    np.save("calib.npy", array, allow_pickle=True)
    return "calib.npy"


def _objects():
    return np.array([{"a": 1}, None], dtype=object)


def _cut(path):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    return path


def _text(name):
    Path(name).write_text("hello world" * 20)
    return name


def _empty_folder():
    Path("calib/deep").mkdir(parents=True)
    return _text("calib/notes.txt") and "calib"


def _one_corrupt():
    for number in range(5):
        picture(f"calib/{number}.jpg")
    _cut("calib/3.jpg")
    return "calib"


def _zip_of_text():
    with zipfile.ZipFile("calib.npz", "w") as archive:
        archive.writestr("a.txt", "x")
    return "calib.npz"


def _raising():
    yield images(3)
    raise RuntimeError("the camera\nis off")


def _with_nan(*places):
    x = images(20)
    x[list(places), 0, 0, 0] = np.nan
    return x


X, Y = images(4), np.arange(4)
BAD = [
    ("missing file", lambda: "nowhere.npz", ["nowhere.npz", "no such file"]),
    ("text file", lambda: _text("notes.txt"), ["notes.txt", "neither .npz nor .npy", "directory"]),
    ("text named npz", lambda: _text("calib.npz"), ["calib.npz", "neither"]),
    ("empty directory", _empty_folder, ["calib", "without images", ".png"]),
    ("corrupt image", _one_corrupt, ["calib/3.jpg", "can not be read as an image", "JPEG"]),
    ("text named png", lambda: _text("a.png"), ["a.png", "Unknown image file format"]),
    ("empty image", lambda: Path("a.png").write_bytes(b"") or "a.png", ["a.png", "empty"]),
    ("truncated npz", lambda: _cut(_npz(x=X)), ["calib.npz", "damaged"]),
    ("truncated npy", lambda: _cut(_npy(X)), ["calib.npy", "damaged"]),
    ("zip of something else", _zip_of_text, ["calib.npz", "no arrays"]),
    ("no usable array", lambda: _npz(a=X, b=X), ["calib.npz", "none of image, x, images, inputs", "it has a, b"]),
    ("only labels", lambda: _npz(y=Y), ["calib.npz", "it has y"]),
    ("objects in npz", lambda: _npz(x=_objects()), ["calib.npz: 'x'", "Python objects"]),
    ("objects as labels in npz", lambda: _npz(x=X, y=_objects()), ["calib.npz: 'y'", "Python objects"]),
    ("objects in npy", lambda: _npy(_objects()), ["calib.npy", "Python objects"]),
    ("objects", _objects, ["calibration", "Python objects"]),
    ("strings", lambda: np.array(["a", "b"]), ["calibration", "numbers", "<U1"]),
    ("structured", lambda: _npy(np.zeros(3, [("a", "f4")])), ["calib.npy", "numbers"]),
    ("complex", lambda: X.astype("complex64"), ["calibration", "complex64"]),
    ("different lengths", lambda: ([[1.0], [1.0, 2.0]], Y), ["calibration", "can not be read as an array"]),
    ("wrong size", lambda: images(3, (9, 8, 3)), ["'image'", "(8, 8, 3)", "(9, 8, 3)"]),
    ("wrong size in npy", lambda: _npy(images(3, (9, 8, 3))), ["calib.npy", "(8, 8, 3)", "(9, 8, 3)"]),
    ("wrong size in a batch", lambda: [images(3, (9, 8, 3))], ["calibration", "(8, 8, 3)", "(9, 8, 3)"]),
    ("wrong channels", lambda: images(3, (8, 8, 1)), ["3 channels, received 1", "(8, 8, 1)"]),
    ("channels first", lambda: images(4, (3, 8, 8)), ["(8, 8, 3)", "(3, 8, 8)", "channels_last"]),
    ("without sample axis", lambda: X[0], ["(8, 8, 3)", "first axis of an array is the sample"]),
    ("single number", lambda: np.float32(3), ["calibration", "single number"]),
    ("labels too few", lambda: (X, Y[:3]), ["calibration", "4 samples but 3 labels"]),
    ("labels too few in npz", lambda: _npz(x=X, y=Y[:3]), ["calib.npz", "4 samples but 3 labels"]),
    ("labels too few in a batch", lambda: iter([(X, Y[:3])]), ["calibration", "4 samples but 3 labels"]),
    ("nan", lambda: _with_nan(17, 5, 9), ["calibration", "3 of 20 samples", "nan or infinity", "first: sample 5"]),
    ("nan in a generator", lambda: iter([X, _with_nan(2)]), ["1 of 24 samples", "first: sample 6"]),
    ("infinity", lambda: _npy(np.full((2, 8, 8, 3), 1e300)), ["calib.npy", "2 of 2", "first: sample 0"]),
    ("no samples", lambda: X[:0], ["calibration", "no samples"]),
    ("no samples in npy", lambda: _npy(X[:0]), ["calib.npy", "no samples"]),
    ("empty list", lambda: [], ["calibration", "no samples"]),
    ("empty batches for ever", lambda: (X[:0] for _ in itertools.count()), ["batches without samples"]),
    ("raising generator", _raising, ["element 1", "RuntimeError: the camera is off"]),
    ("raising sequence", lambda: map(int, ["x"]), ["element 0", "ValueError"]),
    ("None", lambda: None, ["calibration", "expected a path", "NoneType"]),
    ("function", lambda: _raising.__get__, ["calibration", "expected a path"]),
    ("unknown names", lambda: {"a": X, "b": X}, ["none of image", "a, b"]),
]


@pytest.mark.parametrize("make, said", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_data_are_refused_in_one_line(make, said, model):
    with pytest.raises(InputError) as caught:
        read_samples(make(), model)
    line = str(caught.value)
    assert "\n" not in line and "{{" not in line
    assert [part for part in said if part not in line] == [], line


def test_the_argument_is_named_as_asked(model):
    with pytest.raises(InputError, match=r"^evaluation: holds no samples"):
        read_samples([], model, where="evaluation")


def test_nan_of_a_chosen_sample_is_told_by_its_own_number(model):
    x = images(100)
    x[90] = np.nan
    with pytest.raises(InputError, match=r"1 of 99 samples hold nan or infinity \(first: sample 90\)"):
        read_samples(x, model, limit=99, seed=0)


def test_preprocess_that_makes_nan_names_the_image(model):
    picture("calib/a.png", 1)
    picture("calib/b.png", 0)
    with pytest.raises(InputError, match=r"1 of 2 samples .* after preprocess \(first: calib/b.png\)"):
        read_samples("calib", model, preprocess=lambda x: np.where(x == 0, np.inf, x))


def test_missing_labels_are_told_where_they_are_needed(model):
    picture("calib/0.png")
    for data, name in ((X, "calibration"), ("calib", "calib"), (iter([X]), "calibration")):
        with pytest.raises(InputError, match=f"^{name}: holds no labels"):
            read_samples(data, model, need_labels=True)


def test_several_inputs_are_counted_and_named():
    pair = pair_net()
    left, right = images(4, (4, 4, 1)), images(4, (3,))
    np.savez("one.npz", left=left)
    np.save("one.npy", left)
    picture("calib/0.png")
    for data, said in (
        (left, r"calibration: the model takes 2 inputs \(left, right\), received 1"),
        ([left], "received 1|2 inputs"),
        ((left, right, right), "received 3"),
        ({"left": left}, "not all of left, right; it has left"),
        ((left, right[:2]), "different numbers of samples: 4, 2"),
        (iter([(left, right[:2])]), "different numbers of samples: 4, 2"),
        ("one.npz", "one.npz: has not all of left, right; it has left"),
        ("one.npy", "one.npy: holds one array, the model takes 2 inputs"),
        ("calib", "calib: images are for one input, the model takes 2"),
    ):
        with pytest.raises(InputError, match=said):
            read_samples(data, pair)


def test_images_for_models_that_take_none():
    picture("a.png")
    with pytest.raises(InputError, match=r"a.png: input 'image' takes 4 channels; images have 1 or 3"):
        read_samples("a.png", net(8, 8, 4))
    inputs = keras.Input((5,), name="vector")
    with pytest.raises(InputError, match=r"a.png: input 'vector' .* \(5,\), which are no images"):
        read_samples("a.png", keras.Model(inputs, layers.Dense(1)(inputs)))
    words = keras.Input((1,), dtype="string", name="words")
    with pytest.raises(InputError, match="'words' takes strings"):
        read_samples(X, keras.Model(words, layers.Identity()(words)))


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
        ("math:pi", ["'math:pi' is no function"]),
        (7, ["preprocess", "7"]),
        (lambda x: x[:1], ["preprocess", "4 samples", "(1, 8, 8, 3)"]),
        (lambda x: None, ["preprocess", "4 samples"]),
        (lambda x: x @ np.ones((7, 7)), ["preprocess failed", "(4, 8, 8, 3)", "ValueError"]),
    ],
)
def test_bad_preprocess_is_a_usage_error(preprocess, said, model):
    with pytest.raises(UsageError) as caught:
        read_samples(X, model, preprocess=preprocess)
    line = str(caught.value)
    assert "\n" not in line
    assert [part for part in said if part not in line] == [], line


@pytest.mark.parametrize("limit", [0, -1, 2.5, None, True])
def test_bad_limits(limit, model):
    with pytest.raises(UsageError, match="limit takes a positive number"):
        read_samples(X, model, limit=limit)
    with pytest.raises(UsageError, match="at least 1"):
        read_samples(X, model).batches(0)
