"""What the command line answers before TensorFlow is started."""

import re

from command_line import shell


def test_answers_without_tensorflow():
    """One process for all of them: none has imported it, so the next one begins without it."""
    answers = [
        (["--help"], 0),
        (["--version"], 0),
        (["diff", "--help"], 0),
        (["no-such.h5"], 2),
        (["fixtures/fashion_cnn.h5", "--calibrate", "no-such.npz"], 2),
        (["fixtures/fashion_cnn.h5", "--input-range", "1,-1"], 2),
        (["fixtures/fashion_cnn.h5", "--target-macs", "60"], 2),
        (["fixtures/fashion_cnn.h5", "--evaluate", "fixtures/legacy"], 2),
        (["fixtures/fashion_cnn.h5", "--evaluate", "fixtures/fashion_test_200.npz", "--metric", "f1"], 2),
    ]
    code = f"""
import sys
from octconvert import cli
for argv in {[argv for argv, _ in answers]!r}:
    try:
        cli.main(argv)
    except SystemExit as ended:
        print("exit", ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    exits = [line for line in shell(code).stdout.splitlines() if line.startswith("exit")]
    assert exits == [f"exit {code} False" for _, code in answers]


def test_help_names_every_option(run):
    code, out, err = run("--help")
    options = "output alpha alpha-map include exclude min-size preset stride-mode weights portable octave elementwise"
    others = "input-shape plan dry-run json verify unsafe custom-objects force quiet verbose debug"
    accuracy = "calibrate no-calibration preprocess input-range target-macs max-drop evaluate metric seed"
    more = "calibration-samples calibration-budget calibration-steps"
    assert code == 0 and err == ""
    assert [name for name in f"{options} {others} {accuracy} {more}".split() if f"--{name} " not in out] == []
    titles = ["How it is converted", "Keeping the accuracy", "Output"]
    assert sorted(titles, key=out.index) == titles
    assert "octconvert diff A B" in out and max(map(len, out.splitlines())) <= 80


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\S*|unknown \(not installed\)", out.strip())
