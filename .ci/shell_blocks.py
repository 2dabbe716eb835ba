"""Runs the shell blocks of Markdown pages: the ``bash`` blocks of one page are one script.

    python .ci/shell_blocks.py PAGE...

A script runs in an empty folder in which ``fixtures`` is that of the repository, and ends at the first command that
fails. It begins with the commands of the comment ``<!-- before the commands ... -->``, which makes what readers have
themselves: a model, photos. Blocks of another language (``console``) are shown and not run.
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
BLOCK = re.compile(r"^<!-- before the commands\n(.*?)^-->$|^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script_of(text: str) -> str:
    """The commands of a page, each at the line that it has there, so that messages of the shell name it."""
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        group = 1 if block[1] is not None else 2
        start = text.count("\n", 0, block.start(group))
        code = block[group].splitlines()
        lines[start : start + len(code)] = code
    return "\n".join(lines) + "\n"


def run(page: Path) -> int:
    """Run the script of a page and return its exit code."""
    script = script_of(page.read_text(encoding="utf-8"))
    if not script.strip():
        sys.exit(f"{page.relative_to(ROOT)}: has no bash block")
    started = time.perf_counter()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "fixtures", Path(folder, "fixtures"))
        Path(folder, "page.sh").write_text(script, encoding="utf-8")
        command = ["bash", "-euxo", "pipefail", "page.sh"]
        code = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}).returncode
    state = "passed" if code == 0 else f"exit code {code}"
    print(f"{page.relative_to(ROOT)}: {state}, {time.perf_counter() - started:.0f} s", flush=True)
    return code


def main() -> None:
    failed = [page for page in sys.argv[1:] if run(Path(page).resolve()) != 0]
    sys.exit(f"shell blocks fail in {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
