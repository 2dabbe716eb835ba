"""The commands that a report proposes: with the user's own paths, and they work when they are copied."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT, files

from octconvert.cli.app import app
from octconvert.cli.help import PAGES
from octconvert.cli.spelling import COMMANDS, shell_command
from octconvert.results.next_step import NextStep


def proposed(out):
    """The command lines of the section, joined where they take several lines."""
    section = out.split("\nNext\n")[1].replace("\\\n", " ")
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def understood(line):
    program, *tokens = shlex.split(line)
    assert program == "octconvert"
    app.parse_args(tokens, exit_on_error=False, print_error=False)
    return tokens


def test_a_conversion_proposes_times_and_an_export(net, run):
    pytest.importorskip("ai_edge_litert")
    name = "it's $mine -o.keras"
    net.rename(name)
    code, out, err = run(name, "--no-calibration", "--weights", "fresh")
    time, export = proposed(out)
    assert (code, err) == (0, "")
    assert understood(time) == ["bench", name, "it's $mine -o-octave.keras", "--runtime", "litert"]
    assert understood(export) == ["export", "it's $mine -o-octave.keras", "-o", "it's $mine -o-octave.tflite"]
    code, out, err = run(*understood(export))
    assert (code, err) == (0, "") and "it's $mine -o-octave.tflite" in files()
    (rounded,) = map(understood, proposed(out))
    assert rounded[-4:] == ["-o", "it's $mine -o-octave-int8.tflite", "--quantize", "int8"]


@pytest.mark.long
def test_all_commands_that_follow_each_other_can_be_copied(net):
    """In a shell, as a user does it, from the conversion to the rounded file."""
    pytest.importorskip("ai_edge_litert")
    line, done = "octconvert net.keras --no-calibration --min-size 4", []
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    pending = [line]
    while pending:
        line = pending.pop(0)
        script = f'octconvert() {{ {shlex.quote(sys.executable)} -m octconvert "$@"; }}; {line}'
        result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=env)
        assert result.returncode == 0, (line, result.stderr)
        done.append(line)
        if "\nNext\n" in result.stdout:
            pending += [each for each in proposed(result.stdout) if each not in (*done, *pending)]
        assert len(done) < 8
    assert {"net-octave.tflite", "net-octave-int8.tflite"} <= set(files())


def test_a_diff_proposes_times(net, run):
    Path("other.keras").write_bytes(net.read_bytes())
    out = run("diff", "net.keras", "other.keras")[1]
    (line,) = proposed(out)
    assert understood(line)[:3] == ["bench", "net.keras", "other.keras"]


def test_custom_objects_are_named_as_they_were_typed(net, run):
    Path("own.py").write_text("class Own: pass")
    out = run("net.keras", "--no-calibration", "--custom-objects", "own.py:Own")[1]
    for line in proposed(out):
        assert understood(line)[-2:] == ["--custom-objects", "own.py:Own"]


def test_json_has_the_steps_as_values(net, run):
    report = json.loads(run("net.keras", "--no-calibration", "--json")[1])
    assert {"purpose", "function", "models", "options"} == set(report["next_steps"][0])


@pytest.mark.parametrize(
    "step, expected",
    [
        (NextStep("", "convert", ("bench",), (("max_drop", 0.01),)), "octconvert ./bench --max-drop 0.01"),
        (NextStep("", "bench", ("-a.keras", "convert")), "octconvert bench ./-a.keras convert"),
        (
            NextStep("", "export", ("a b",), (("output", "-x.tflite"), ("input_shape", (8, 8, 3)), ("unsafe", True))),
            "octconvert export 'a b' -o=-x.tflite --input-shape 8,8,3 --unsafe",
        ),
        (NextStep("", "convert", ("m",), (("preprocess", "-1,1"),)), "octconvert m --preprocess=-1,1"),
    ],
)
def test_shell_commands(step, expected):
    assert " ".join(shell_command(step)) == expected
    assert understood(expected)


def test_the_commands_of_the_shell_are_those_of_the_program():
    assert set(COMMANDS) == set(PAGES)


def test_no_more_than_two_are_proposed():
    from results_to_show import five, text

    from octconvert.results.shown import renderable

    assert len(re.findall(r"^    octconvert", text(renderable(five())), re.MULTILINE)) <= 2
