"""Data that are refused before TensorFlow is started for them."""

from pathlib import Path

import numpy as np
import pytest

from octconvert.cli.data_files import check_data
from octconvert.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: np.savez("data", x=np.zeros(3), z=np.zeros(3)), "it has x, z, and no y"),
        (lambda: np.savez("data"), "it has nothing, and no y"),
        (lambda: (np.save("data", np.zeros(3)), Path("data.npy").rename("data.npz")), "it is one array"),
        (
            lambda: (Path("data.npz/cats").mkdir(parents=True), Path("data.npz/cats/a.png").touch()),
            "its images do not lie in a subdirectory for each class",
        ),
    ],
)
def test_data_without_labels(make, reason):
    make()
    with pytest.raises(InputError) as error:
        check_data(None, "data.npz")
    assert str(error.value) == f"data.npz: holds no labels, which are needed for --evaluate: {reason}"
    check_data("data.npz", None)


def test_what_may_have_labels_is_left_for_the_reading():
    np.savez("data", x=np.zeros(3), labels=np.zeros(3))
    for name in ("cats", "dogs"):
        Path("photos", name).mkdir(parents=True)
    Path("photos/dogs/a.JPG").touch()
    for path in ("data.npz", "photos"):
        check_data(None, path)


def test_what_is_no_data_at_all():
    for name in ("text.npz", "text.txt"):
        Path(name).write_text("no archive")
    Path("folder/inside").mkdir(parents=True)
    for path, reason in (
        ("text.npz", "is not an .npz file"),
        ("text.txt", "is neither .npz nor .npy"),
        ("folder", "a directory without images"),
    ):
        for data in ((path, None), (None, path)):
            with pytest.raises(InputError, match=f"^{path}: .*"):
                check_data(*data)
        with pytest.raises(InputError, match=reason):
            check_data(path, None)
