"""How a command ends where something unexpected happens."""

import os
import subprocess
import sys

import pytest
from command_line import ROOT, assert_one_error_line, shell

from octconvert.cli import convert


def test_unexpected_exception_is_one_line_naming_exception_and_file(net, run, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("three\nlines\nlong")

    monkeypatch.setattr(convert, "check_output", broken)
    assert_one_error_line(run("net.keras"), 1, "net.keras", "ZeroDivisionError", "--debug")
    code, _, err = run("net.keras", "--debug")
    assert code == 1 and "Traceback" in err and "in broken" in err


def test_debug_shows_the_traceback_of_an_expected_error_too(run):
    code, _, err = run("missing.h5", "--debug")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("octconvert: missing.h5")


def test_interrupt_is_one_line(net, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "check_output", interrupted)
    assert run("net.keras") == (130, "", "octconvert: interrupted\n")


@pytest.mark.long
def test_a_reader_that_goes_away_is_no_crash(net):
    command = [sys.executable, "-m", "octconvert", "net.keras", "--dry-run"]
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=net.parent, env=env)
    os.close(write)
    assert result.returncode == 141 and "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr


@pytest.mark.long
def test_channels_first_runs_on_every_processor(tmp_path):
    """TensorFlow's own kernels for the CPU lack it; those of oneDNN must be requested without AVX-512."""
    model = ROOT / "fixtures" / "legacy" / "keras1_channels_first.h5"
    arguments = [model, "-o", tmp_path / "out.keras", "--min-size", "1", "--no-calibration"]
    assert shell([str(each) for each in arguments]).returncode == 0
    code = f"import octconvert; octconvert.convert({str(model)!r}, min_size=1, calibration=False)"
    error = shell(code, TF_ENABLE_ONEDNN_OPTS="0").stderr.splitlines()[-1]
    assert "InputError: TensorFlow can not run layer 'convolution2d_3' here" in error and "NHWC" in error
    assert error.endswith("TF_ENABLE_ONEDNN_OPTS=1 in the environment brings more operations")
