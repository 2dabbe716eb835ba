"""Options from a TOML file."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from command_line import assert_one_error_line, files

from octconvert.cli.app import OPTIONS_FILE, app


def read(text, *argv):
    """The arguments of the command line with this file."""
    Path("o.toml").write_text(text)
    line = [*argv, "--config", "o.toml"]
    _, bound, _ = app.parse_args(line, exit_on_error=False, print_error=False)
    groups = (each for each in bound.kwargs.values() if dataclasses.is_dataclass(each))
    return {name: value for each in groups for name, value in vars(each).items()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


EVERYTHING = """
[convert]
alpha = 0.25
octave = [1, 2, 2]
alpha-map = { "block1.*" = 0.5, conv2 = 0 }
include = ["a", "b"]
exclude = "c"
min-size = 4
preset = "paper"
portable = true
calibrate = "photos"
input_range = [-1, 1.5]
input-shape = [224, 224, 3]
calibration-steps = ["select", "solve"]
json = true
quiet = false
force = true
output = "out.keras"

[bench]
runtime = ["litert", "onnx"]
threads = 4

[export]
batch = "dynamic"
"""


def test_every_kind_of_value():
    values = read(EVERYTHING, "m.keras")
    expected = {
        "alpha": 0.25,
        "octave": "1,2,2",
        "alpha_map": ["block1.*=0.5", "conv2=0"],
        "include": ["a", "b"],
        "exclude": ["c"],
        "min_size": "4",
        "preset": "paper",
        "portable": True,
        "calibrate": "photos",
        "input_range": "-1,1.5",
        "input_shape": "224,224,3",
        "calibration_steps": "select,solve",
        "json": "-",
        "quiet": False,
        "force": True,
        "output": "out.keras",
    }
    assert {name: values[name] for name in expected} == expected
    assert read(EVERYTHING, "convert", "m.keras") == values
    timed = read(EVERYTHING, "bench", "a", "b")
    assert timed["runtime"] == ["litert", "onnx"] and timed["threads"] == "4"
    assert read(EVERYTHING, "export", "m.keras", "-o", "x.onnx")["batch"] == "dynamic"
    assert read('[bench]\nruntime = "litert"', "bench", "a")["runtime"] == ["litert"]


def test_what_is_typed_counts_first():
    values = read(EVERYTHING, "m.keras", "--alpha", "0.75", "--include", "z", "-o", "b.keras", "--force=false")
    assert (values["alpha"], values["include"], values["output"]) == (0.75, ["z"], "b.keras")
    assert values["force"] is False and values["min_size"] == "4"


WRONG = {
    "[convert]\nalhpa = 0.5": "o.toml: [convert] has an unknown key 'alhpa'; did you mean 'alpha'?",
    "[convert]\nopset = 17": "unknown key 'opset'",
    "[convert]\nmodel = 'net.keras'": "unknown key 'model'",
    "[convert]\nconfig = 'o.toml'": "unknown key 'config'",
    "[convert]\nmin-size = 1\nmin_size = 2": "has the key 'min_size' twice",
    "[covnert]\nalpha = 0.5": "unknown table [covnert]; the tables are [convert], [bench], [export], [show] or [diff]",
    "alpha = 0.5": "the key 'alpha' is in no table; put it below [convert]",
    "[convert]\nalpha = 'half'": "o.toml: 'alpha' in [convert] takes a number; received 'half'",
    "[convert]\nalpha = true": "takes a number; received True",
    "[convert]\nalpha = [0.5]": "takes a number; received [0.5]",
    "[convert]\nalpha = 1.5": "--alpha must be from 0 to 1, received 1.5 (--alpha of o.toml)",
    "[convert]\nmin-size = 2.5": "takes a whole number; received 2.5",
    "[convert]\nmin-size = '8'": "takes a whole number; received '8'",
    "[convert]\nforce = 'yes'": "takes true or false; received 'yes'",
    "[convert]\ncalibrate = 5": "takes a text in quotes; received 5",
    "[convert]\ninclude = [1]": "takes a text in quotes or a list of them; received [1]",
    "[convert]\nweights = 'slicc'": "takes slice, fold or fresh; received 'slicc'; did you mean 'slice'?",
    "[convert]\nweights = {a = 1}": "takes a text in quotes",
    "[convert]\noctave = [1, 'x']": "takes a whole number or a list of them",
    "[convert]\ninput-range = [true, 1]": "takes a list of two numbers",
    "[convert]\njson = 3": "takes the path of a file, or true; received 3",
    "[convert]\nalpha = 1979-05-27": "takes a number",
    "[convert": "o.toml: is no TOML that can be read: ",
    "[convert]\nalpha = " + "9" * 5000: "o.toml: is no TOML that can be read: ",
    "[convert]\nalpha = " + "[" * 5000: "o.toml: is no TOML that can be read: ",
    "[convert]\ntarget-macs = 0.5\nalpha = 0.5": "(--target-macs and --alpha of o.toml)",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_one_line(run, text):
    Path("net.keras").touch()
    Path("o.toml").write_text(text)
    assert_one_error_line(run("net.keras", "--config", "o.toml"), 2, WRONG[text])
    assert files() == ["net.keras", "o.toml"]


def test_an_option_of_the_file_that_contradicts_a_typed_one_is_named(run):
    Path("o.toml").write_text("[convert]\nalpha = 0.25")
    result = run("net.keras", "--target-macs", "0.6", "--config=o.toml")
    assert_one_error_line(result, 2, "--alpha can not be combined with --target-macs", "(--alpha of o.toml)")


@pytest.mark.parametrize(
    "setting, message",
    [
        ("calibrate = 'photos'", "there is no such file or directory (--calibrate) (--calibrate of o.toml)"),
        ("output = 'net.keras'", "give another name with -o (-o of o.toml)"),
    ],
)
def test_files_that_the_options_name_are_said_to_come_from_there(net, run, setting, message):
    Path("o.toml").write_text(f"[convert]\n{setting}")
    assert_one_error_line(run("net.keras", "--config", "o.toml"), 2, message)


def test_files_that_can_not_be_read(run):
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("binary").write_bytes(b"\xff\xfe\x00")
    with open("huge.toml", "wb") as file:
        file.truncate(2**31)
    for name, reason in {
        "missing.toml": "there is no such file (--config)",
        "hueg.toml": "did you mean huge.toml?",
        "folder": "is no regular file",
        "pipe": "is no regular file",
        "/dev/zero": "is no regular file",
        "binary": "is no TOML",
        "huge.toml": "has 2.15 GB; a file of options has at most 1.05 MB",
    }.items():
        assert_one_error_line(run("net.keras", "--config", name), 2, name, reason)


def test_no_file_is_read_unless_it_is_named(net, run):
    for name in ("octconvert.toml", ".octconvert.toml", "pyproject.toml"):
        Path(name).write_text("[convert]\nno = such option")
    assert run("net.keras", "--dry-run", "-q") == (0, "", "")
    assert OPTIONS_FILE.taken == ()


def test_a_conversion_with_a_file(net, run):
    Path("o.toml").write_text("[convert]\nalpha = 0.25\ncalibration-steps = ['solve']\njson = 'plan.json'")
    code, _, err = run("net.keras", "--config", "o.toml", "--dry-run")
    plan = json.loads(Path("plan.json").read_text())
    assert (code, err) == (0, "") and {group["alpha"] for group in plan["groups"]} == {0.25}


def test_the_result_is_not_written_over_the_options(net, run):
    Path("o.json").write_text("[convert]\nforce = true")
    assert_one_error_line(run("net.keras", "--config", "o.json", "--json", "o.json"), 2, "is a file that is read")
