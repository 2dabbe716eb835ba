"""The completion script in a bash of its own."""

import subprocess
from pathlib import Path

import pytest
from command_line import assert_one_error_line

COMPLETE = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_octconvert
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(run, tmp_path, monkeypatch):
    """What bash offers for the last of the words."""
    monkeypatch.chdir(tmp_path)
    code, script, err = run("completion", "bash")
    assert (code, err) == (0, "")
    Path("script").write_text(script)
    Path("net.keras").touch()

    def offered(*words):
        argv = ["bash", "--norc", "-c", COMPLETE, "bash", "./script", "octconvert", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    return offered


def test_bash_completes_commands_options_values_and_files(complete):
    assert complete("exp") == ["export"]
    assert {"--alpha", "--alpha-map"} <= set(complete("net.keras", "--al"))
    assert complete("convert", "net.keras", "--target-m") == ["--target-macs"]
    assert complete("export", "net.keras", "--op") == ["--opset"]
    assert complete("net.keras", "--weights", "") == ["slice", "fold", "fresh"]
    assert complete("bench", "net.keras", "--runtime", "on") == ["onnx"]
    assert complete("ne") == ["net.keras"] and complete("bench", "ne") == ["net.keras"]
    assert complete("net.keras", "--calibrate", "n") == ["net.keras"]


def test_it_is_installed_where_bash_reads_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, err = run("completion", "bash", "--install")
    assert (code, err) == (0, "") and out.count("\n") == 1
    shell = "source ~/.bashrc; complete -p octconvert"
    done = subprocess.run(["bash", "--norc", "-c", shell], capture_output=True, text=True, check=True)
    assert "_octconvert" in done.stdout


def test_a_place_that_can_not_be_written(run, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert_one_error_line(run("completion", "bash", "--install"), 2, "can not be written")


def test_a_shell_that_is_unknown(run):
    assert_one_error_line(run("completion", "bsh"), 2, "SHELL takes bash, zsh or fish", "did you mean 'bash'?")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts_as_well(run, shell):
    code, script, err = run("completion", shell)
    assert (code, err) == (0, "") and "octconvert" in script and "alpha-map" in script
