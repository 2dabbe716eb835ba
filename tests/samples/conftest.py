from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from sample_data import net


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
