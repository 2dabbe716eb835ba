"""Reads a task from standard input and writes what the file contains to standard output, both as JSON.

Input: ``{"path", "kind", "seconds"}``. Output: ``{"contents": {...}}`` or ``{"refusal": reason}``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def _import_this_folder() -> None:
    """Makes this folder the package ``inspector``, without octconvert around it and without a change of the path."""
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "inspector", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["inspector"] = package
    spec.loader.exec_module(package)


def main() -> None:
    from . import hdf5_file, keras_archive, limits

    task = json.load(sys.stdin)
    limits.limit_time(task["seconds"])
    limits.limit_memory(limits.MEMORY)
    inspect = {"h5": hdf5_file.inspect, "keras": keras_archive.inspect}[task["kind"]]
    try:
        answer: dict[str, Any] = {"contents": inspect(task["path"])}
    except limits.Refusal as error:
        answer = {"refusal": str(error)}
    except MemoryError:
        answer = {"refusal": "requests more memory than a file of its size needs; download or save it again"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _import_this_folder()
    __package__ = "inspector"
    main()
