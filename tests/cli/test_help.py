"""What the command line answers before TensorFlow is started."""

import re

import pytest
from command_line import shell


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["diff", "--help"],
        ["no-such.h5"],
        ["fixtures/fashion_cnn.h5", "--calibrate", "no-such.npz"],
        ["fixtures/fashion_cnn.h5", "--input-range", "1,-1"],
        ["fixtures/fashion_cnn.h5", "--target-macs", "60"],
    ],
)
def test_answers_without_tensorflow(argv):
    code = f"""
import sys
from octconvert import cli
try:
    cli.main({argv!r})
except SystemExit as ended:
    print("exit", ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    result = shell(code)
    assert result.stdout.splitlines()[-1] == f"exit {0 if argv[-1].startswith('--') else 2} False"


def test_help_names_every_option(run):
    code, out, err = run("--help")
    options = "output alpha alpha-map include exclude min-size preset stride-mode weights portable octave elementwise"
    others = "input-shape plan dry-run json verify unsafe custom-objects force quiet verbose debug"
    accuracy = "calibrate no-calibration preprocess input-range target-macs max-drop evaluate seed"
    more = "calibration-samples calibration-budget calibration-steps"
    assert code == 0 and err == ""
    assert [name for name in f"{options} {others} {accuracy} {more}".split() if f"--{name} " not in out] == []
    titles = ["How it is converted", "Keeping the accuracy", "Output"]
    assert sorted(titles, key=out.index) == titles
    assert "octconvert diff A B" in out and max(map(len, out.splitlines())) <= 80


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\S*|unknown \(not installed\)", out.strip())
