"""The tables of measured times."""

import json

import numpy as np
import pytest
from results_to_show import bench

from octconvert.options.timing import RUNTIMES


def test_the_table_fits_the_terminal(monkeypatch):
    for width in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        text = str(bench())
        assert max(map(len, text.splitlines())) <= width
        assert all(part in " ".join(text.split()) for part in ("1.30x", "72%", "failed", "it has no [op]", "a note"))
        assert [line.strip() for line in text.splitlines() if line.strip() in RUNTIMES] == ["tf", "litert"]
    assert "models/of/mine/resnet50-octave.keras" in text and "46.9-49.2" in text and text.isascii()


def test_a_bench_shows_itself():
    assert repr(bench()) == "<Bench of 2 models on tf, litert>"
    assert "1.30x" in bench()._repr_mimebundle_((), ())["text/html"]
    assert json.loads(json.dumps(bench().to_dict()))["rows"][1]["efficiency"] == pytest.approx(1.3 / 1.81)
    assert len(bench().measured) == 2 and np.isclose(bench().rows[1].efficiency, 0.718, atol=1e-3)
