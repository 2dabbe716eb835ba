"""Makes docs/assets/report.svg, the picture in README.md: what a conversion prints in a terminal.

    python docs/make_picture.py

It takes about two minutes. Nothing else should run meanwhile: a calibration that runs out of time says so in its
report.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "assets" / "report.svg"
WIDTH = 80
COMMAND = "octconvert model.h5 --alpha 0.5 --evaluate test.npz"
FILES = {"model.h5": "fashion_cnn.h5", "test.npz": "fashion_test_200.npz"}
END = "Chain:"
"""The section of the report before which the picture ends: the rest would make it too tall for a README."""


def main() -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f"$ {COMMAND}", style="bold", highlight=False)
    console.print(Text.from_ansi(_shortened(_output())))
    svg = console.export_svg(title="octconvert", unique_id="report")
    PICTURE.write_text(re.sub(r"@font-face \{[^}]*\}\s*", "", svg), encoding="utf-8")  # no font from other servers


def _output() -> str:
    """What the command prints, with its colours."""
    variables = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        for name, fixture in FILES.items():
            Path(folder, name).write_bytes((ROOT / "fixtures" / fixture).read_bytes())
        argv = [sys.executable, "-m", *COMMAND.split()]
        done = subprocess.run(argv, cwd=folder, env={**os.environ, **variables}, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def _shortened(output: str) -> str:
    """The report up to `END`, without the spaces at the ends of its lines."""
    lines = [line.rstrip() for line in output.splitlines()]
    last = next(number for number, line in enumerate(lines) if END in line)
    return "\n".join([*lines[:last], "..."])


if __name__ == "__main__":
    main()
