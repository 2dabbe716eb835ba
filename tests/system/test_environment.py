"""The backend of Keras, as it is known before Keras is imported."""

import importlib.util
import json
import sys

import pytest

from octconvert.errors import UsageError
from octconvert.system import environment


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No Keras yet, and its settings in a folder of the test's."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv(environment.BACKEND, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "keras.json"


def test_the_environment_comes_before_the_settings_of_keras(fresh, monkeypatch):
    assert environment.keras_backend() == "tensorflow"
    fresh.write_text(json.dumps({"backend": "jax"}))
    assert environment.keras_backend() == "jax"
    monkeypatch.setenv(environment.BACKEND, "torch")
    assert environment.keras_backend() == "torch"


@pytest.mark.parametrize("content", ["[]", "{", "{}"])
def test_broken_settings_are_none(fresh, content):
    fresh.write_text(content)
    assert environment.keras_backend() == "tensorflow"


def test_what_is_not_there_is_refused(fresh, monkeypatch):
    environment.check_backend()
    monkeypatch.setenv(environment.BACKEND, "torch")
    with pytest.raises(UsageError, match="set to run on 'torch'; set KERAS_BACKEND to tensorflow or jax"):
        environment.check_backend()
    monkeypatch.setenv(environment.BACKEND, "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"jax, which is not installed: .*pip install .*\[jax\]'"):
        environment.check_backend()
