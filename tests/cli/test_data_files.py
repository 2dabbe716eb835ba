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
        (lambda: Path("data.npz/cats").mkdir(parents=True), "its images do not lie in a subdirectory for each class"),
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
    Path("text.npz").write_text("no archive")
    for name in ("cats", "dogs"):
        Path("photos", name).mkdir(parents=True)
    for path in ("data.npz", "text.npz", "photos"):
        check_data(None, path)
