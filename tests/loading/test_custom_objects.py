"""Custom objects are imported from files and packages, or refused with one line."""

from __future__ import annotations

import pytest

from octconvert import loading
from octconvert.errors import UsageError


def test_parse_custom_object_from_a_file(tmp_path):
    (tmp_path / "own.py").write_text("class One: pass\nclass Two: friend = One\n")
    name, one = loading.parse_custom_object(f"{tmp_path / 'own.py'}:One")
    assert name == "One" and one.__name__ == "One"
    # The file is run once: its classes know each other.
    assert loading.parse_custom_object(f"{tmp_path / 'own.py'}:Two")[1].friend is one


def test_parse_custom_object_from_a_package(tmp_path, monkeypatch):
    assert loading.parse_custom_object("collections:OrderedDict")[0] == "OrderedDict"
    (tmp_path / "besides_the_user.py").write_text("def act(x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    assert loading.parse_custom_object("besides_the_user:act")[1](5) == 5


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("nothing", "module.py:Name"),
        (":Name", "module.py:Name"),
        ("own.py:not a name", "module.py:Name"),
        ("missing.py:Name", "no such file: missing.py"),
        ("no.such.package:Name", "importing no.such.package failed"),
        ("collections:Nope", "has no 'Nope'"),
        ("broken.py:Name", "ZeroDivisionError"),
        ("leaves.py:Name", "SystemExit"),
    ],
)
def test_parse_custom_object_reports_the_reason(spec, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UsageError) as caught:
        loading.parse_custom_object(spec)
    assert what in str(caught.value) and "\n" not in str(caught.value)
