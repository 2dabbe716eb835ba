"""The user's own layers and functions, named as ``module.py:Name`` or ``package.module:Name``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from octconvert.errors import UsageError, one_line


def parse_custom_object(spec: str) -> tuple[str, Any]:
    """Imports what ``spec`` names and returns it with its name.

    The module's code is run: only ever call this with what the user typed.

    Raises:
        UsageError: ``spec`` has no such form, the module is missing or fails, or it has no such name.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise UsageError(f"'{spec}' names no custom object; write module.py:Name or package.module:Name")
    module = _from_file(spec, Path(place)) if place.endswith(".py") else _from_package(spec, place)
    try:
        return name, getattr(module, name)
    except AttributeError:
        raise UsageError(f"'{spec}': {place} has no '{name}'") from None


def _from_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"'{spec}': there is no file {path}")
    # One module for one file: two names from it must share their classes.
    key = "octconvert_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    if key in sys.modules:
        return sys.modules[key]
    found = importlib.util.spec_from_file_location(key, path)
    if found is None or found.loader is None:
        raise UsageError(f"'{spec}': {path} can not be imported")
    module = sys.modules[key] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[key]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise UsageError(f"'{spec}': running {path} failed: {one_line(error)}") from error
    return module


def _from_package(spec: str, name: str) -> ModuleType:
    # An installed command does not look into the working directory, "python -m" does: look there in both cases.
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UsageError(f"'{spec}': importing {name} failed: {one_line(error)}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
