"""Runs the Python blocks of Markdown pages: the blocks of one page are one script.

    python .ci/python_blocks.py PAGE...

A script runs in an empty folder in which ``fixtures`` is that of the repository. A block behind the line
``<!-- no run -->`` is left out: it needs data that only the reader has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^(<!-- no run -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script_of(text: str) -> str:
    """The Python blocks of a page, each at the lines that it has there, so that tracebacks name them."""
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        if block[1] is None:
            start = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines) + "\n"


def run(page: Path) -> int:
    """Run the script of a page and return its exit code; a page without blocks is done."""
    script = script_of(page.read_text(encoding="utf-8"))
    if not script.strip():
        return 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "fixtures", Path(folder, "fixtures"))
        Path(folder, "page.py").write_text(script, encoding="utf-8")
        code = subprocess.run([sys.executable, "page.py"], cwd=folder).returncode
    state = "passed" if code == 0 else f"exit code {code}"
    print(f"{page.relative_to(ROOT)}: {state}, {time.perf_counter() - started:.0f} s", flush=True)
    return code


def main() -> None:
    failed = [page for page in sys.argv[1:] if run(Path(page).resolve()) != 0]
    sys.exit(f"Python blocks fail in {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
