"""Executes the notebooks of examples/ and fails where a cell does.

    python .ci/notebooks.py [--write] [NOTEBOOK...]

A notebook runs in an empty folder beside ``fixtures``, which is that of the repository. ``--write`` puts its output
into the file, without what differs from run to run: times of execution, progress, versions and colours of terminals.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 600
"""Seconds for one cell."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> Any:
    """The notebook with its output.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "fixtures", Path(folder, "fixtures"))
        work = Path(folder, "examples")
        work.mkdir()
        client = NotebookClient(notebook, timeout=LONGEST, kernel_name="python3", record_timing=False)
        client.execute(cwd=str(work), stderr=subprocess.DEVNULL)
    return notebook


def tidied(notebook: Any) -> Any:
    """Without what nobody reads, or what differs from run to run."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in cell.outputs if not _is_empty(output)])
            for output in cell.outputs:
                _uncolour(output)
    return notebook


def _is_empty(output: Any) -> bool:
    """A progress bar that has gone."""
    return output.output_type == "display_data" and not any(output.data.values())


def _joined(outputs: list[Any]) -> list[Any]:
    """Successive pieces of one stream as one."""
    result: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def _uncolour(output: Any) -> None:
    if output.output_type == "stream":
        output.text = ESCAPES.sub("", output.text)
    elif "text/plain" in output.get("data", {}):
        output.data["text/plain"] = ESCAPES.sub("", output.data["text/plain"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(ROOT.glob("examples/*.ipynb")))
    parser.add_argument("--write", action="store_true", help="put the output into the files")
    options = parser.parse_args()
    for path in options.notebooks:
        started = time.perf_counter()
        try:
            notebook = executed(path)
        except CellExecutionError as error:
            print(f"{path}: {ESCAPES.sub('', str(error))}")
            return 1
        if options.write:
            nbformat.write(tidied(notebook), path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
