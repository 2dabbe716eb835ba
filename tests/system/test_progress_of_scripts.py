"""The argument ``progress`` outside notebooks."""

import sys

import keras
import pytest

import octconvert
from octconvert import UsageError
from octconvert.system.progress import silent
from octconvert.system.progress_bars import progress_for


@pytest.mark.parametrize("requested", [None, False])
def test_a_script_shows_nothing_unless_asked(requested):
    with progress_for(requested) as progress:
        assert progress is silent


def test_a_function_is_called_itself():
    stages = []
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3)])
    octconvert.convert(model, calibration=False, progress=lambda *state: stages.append(state))
    assert {stage for stage, _, _ in stages} >= {"read", "plan", "build", "check"}


def test_a_terminal_has_a_bar_where_it_is_requested(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress_for(True) as progress:
        progress("solve", 2, 5)
    out, err = capsys.readouterr()
    assert out == "" and "solve" in err and "2/5" in err


def test_a_pipe_has_lines_in_place_of_a_bar(capsys):
    with progress_for(True) as progress:
        progress("solve", 2, 5)  # the first line comes after some seconds
    assert progress is not silent and capsys.readouterr() == ("", "")


def test_anything_else_is_refused():
    with pytest.raises(UsageError, match="`progress` takes a function"):
        octconvert.plan("fixtures/fashion_cnn.h5", progress="yes")
