"""One clear line for whatever can not be used."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sample_data import images, net, pair_net, picture

from octconvert.errors import InputError, UsageError
from octconvert.samples import read_samples


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
    ("text named npz", lambda: _text("calib.npz"), ["calib.npz", "is not an .npz file, or damaged"]),
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


@pytest.mark.parametrize("limit", [0, -1, 2.5, None, True])
def test_bad_limits(limit, model):
    with pytest.raises(UsageError, match="`limit` takes a positive number"):
        read_samples(X, model, limit=limit)
    with pytest.raises(UsageError, match="at least 1"):
        read_samples(X, model).batches(0)
