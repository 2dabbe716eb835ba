"""The command line as tests run it, and what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

from octconvert.system import environment

ROOT = Path(__file__).resolve().parents[2]


DATA = ROOT / "fixtures" / "fashion_test_200.npz"


QUICKLY = ["--calibration-steps", "solve", "--calibration-samples", "24", "--seed", "1"]


def shell(code_or_args, cwd=ROOT, **variables):
    """A fresh Python in which nothing has been imported yet."""
    kept = {name: value for name, value in os.environ.items() if name not in environment.DEFAULTS}
    env = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}
    args = ["-c", code_or_args] if isinstance(code_or_args, str) else ["-m", "octconvert", *code_or_args]
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=cwd, env=env)


def files(folder="."):
    return sorted(item.name for item in Path(folder).iterdir())


def assert_one_error_line(result, code, *parts):
    assert result[0] == code and result[1] == ""
    assert result[2].startswith("octconvert: ") and result[2].count("\n") == 1
    assert [part for part in parts if part not in result[2]] == []
