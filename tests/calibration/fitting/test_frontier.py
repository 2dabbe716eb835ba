import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from octconvert.calibration.fitting.frontier import Frontier


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
@pytest.mark.parametrize("in_memory", [10**9, 100, 0])
def test_what_goes_in_comes_out(folder, in_memory, dtype):
    rng = np.random.default_rng(0)
    values = {b: {n: ops.cast(rng.integers(0, 99, (2, 3, n)), dtype) for n in (1, 4, 7)} for b in range(3)}
    frontier = Frontier(in_memory)
    for _ in range(2):
        for batch, held in values.items():
            frontier.put(batch, held)
        assert bool(files(folder)) == (in_memory < 10**9)
        for batch, held in values.items():
            found = frontier.take(batch)
            assert list(found) == list(held)
            for number, tensor in held.items():
                assert found[number].dtype == tensor.dtype
                assert bool(ops.all(found[number] == tensor))
        assert not files(folder)


def test_memory_that_became_free_is_used_again(folder):
    frontier = Frontier(400)
    for batch in range(5):
        frontier.put(batch, {0: ops.ones((100,))})
        assert not files(folder)
        frontier.take(batch)
    frontier.put(0, {0: ops.ones((100,)), 1: ops.ones((100,))})
    assert len(files(folder)) == 1


def test_the_folder_goes_with_the_object(folder):
    frontier = Frontier(0)
    frontier.put(0, {0: ops.ones((4,))})
    assert files(folder)
    del frontier
    gc.collect()
    assert not list(folder.iterdir())


def test_a_batch_of_nothing():
    frontier = Frontier()
    frontier.put(0, {})
    assert frontier.take(0) == {} and frontier.take(1) == {}
