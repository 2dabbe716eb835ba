"""Files of arrays: .npz and .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_data import images, pair_net, values

from octconvert.samples import read_samples


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
