"""`Samples`: batches, subsets and splits; large ones lie in temporary files."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sample_data import images, net, pair_net, values

from octconvert.errors import InputError, UsageError
from octconvert.samples import Samples, read_samples, store


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
    monkeypatch.setattr(store, "LARGE", 40 * images(1).nbytes)
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
    monkeypatch.setattr(store, "LARGE", 10)
    samples = read_samples((images(3), np.arange(3)), model)
    assert values(samples) == [0, 1, 2] == samples.labels.tolist()


def test_a_failed_read_leaves_no_files(model, monkeypatch):
    monkeypatch.setattr(store, "LARGE", 10)
    with pytest.raises(InputError, match="nan"):
        read_samples(np.full((40, 8, 8, 3), np.nan), model)
    gc.collect()
    assert list(Path("temporary").iterdir()) == []


def test_temporary_files_that_can_not_be_written_are_told(model, monkeypatch):
    monkeypatch.setattr(store, "LARGE", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(Path("no/such/place").resolve()))
    with pytest.raises(InputError, match=r"calibration: temporary files in .*no/such/place \(TMPDIR\) can not be"):
        read_samples(images(3), model)


# ---- read already


def test_samples_that_fit_are_passed_through(model):
    samples = read_samples((images(5), np.arange(5)), model)
    assert read_samples(samples, model, limit=2, need_labels=True) is samples
    assert read_samples(samples, net(None, None, 3)) is samples
    own = Samples((images(2, (4, 4, 1)), images(2, (3,))), None, "ours")
    assert read_samples(own, pair_net()) is own


def test_samples_of_another_model_are_refused(model):
    whole = net(8, 8, 3, dtype="int32")
    for samples, other, said in (
        (read_samples(images(2), model), net(9, 9, 3), r"takes samples of shape \(9, 9, 3\), received \(8, 8, 3\)"),
        (read_samples(images(2), model), net(8, 8, 1), "takes 1 channels, received 3"),
        (read_samples(images(2), model), whole, "'image' takes int32, received float32"),
        (read_samples(images(2), whole), model, "'image' takes float32, received int32"),
        (read_samples(images(2), model), pair_net(), r"the model takes 2 inputs \(left, right\), received 1"),
        (Samples((images(2),) * 2, None, "given data (2 samples)"), model, r"takes 1 input \(image\), received 2"),
    ):
        with pytest.raises(InputError, match=rf"^given data \(2 samples\): .*{said}"):
            read_samples(samples, other)
    samples = read_samples(images(2), model)
    with pytest.raises(InputError, match=r"^given data \(2 samples\): holds no labels"):
        read_samples(samples, model, need_labels=True)
    with pytest.raises(UsageError, match=r"^given data \(2 samples\): have been read already; give `preprocess`"):
        read_samples(samples, model, preprocess="1/255")
