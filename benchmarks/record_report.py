"""Records the report of a real run as the SVG that the README shows.

python benchmarks/record_report.py [MODEL] [DATA] [SVG]
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console

import octconvert
from octconvert.display.report import render

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="fixtures/fashion_cnn.h5")
    parser.add_argument("data", nargs="?", default="fixtures/fashion_test_200.npz")
    parser.add_argument("svg", nargs="?", type=Path, default=ROOT / "benchmarks" / "report.svg")
    arguments = parser.parse_args()
    target = f"{Path(arguments.model).stem}-octave.keras"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, target)
        report = octconvert.convert(arguments.model, alpha=0.5, evaluate=arguments.data, output=output).report
    command_after = report.next_command.replace(f"{folder}/", "")
    report = dataclasses.replace(report, target=target, next_command=command_after)
    command = f"$ octconvert {arguments.model} --alpha 0.5 --evaluate {arguments.data} -o {target}"
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(command, style="bold", highlight=False)
    console.print(render(report))
    text = console.export_svg(title="octconvert", unique_id="report")
    arguments.svg.write_text(re.sub(r"@font-face \{[^}]*\}\s*", "", text))


if __name__ == "__main__":
    main()
