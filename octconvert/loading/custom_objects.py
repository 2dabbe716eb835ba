"""Imports the user's own layers and functions, written as ``module.py:Name`` or ``package.module:Name``."""

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
    """Imports the object that ``spec`` names; returns its name and the object.

    The code of the module is run: call this only with text that the user typed.

    Raises:
        UsageError: ``spec`` has another form, the module is missing or fails, or it has no such name.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name.isidentifier():
        raise UsageError(f"a custom object must be written as module.py:Name or package.module:Name; received '{spec}'")
    module = _from_file(spec, Path(source)) if source.endswith(".py") else _from_package(spec, source)
    try:
        return name, getattr(module, name)
    except AttributeError:
        raise UsageError(f"'{spec}': {source} has no '{name}'") from None


def _from_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"'{spec}': no such file: {path}")
    # One module per file: two names from it must share their classes.
    key = "octconvert_user_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    if key in sys.modules:
        return sys.modules[key]
    module_spec = importlib.util.spec_from_file_location(key, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"'{spec}': {path} can not be imported")
    module = sys.modules[key] = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[key]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise UsageError(f"'{spec}': running {path} failed: {one_line(error)}") from error
    return module


def _from_package(spec: str, name: str) -> ModuleType:
    # "python -m" searches the working directory, an installed command does not: both search it here.
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UsageError(f"'{spec}': importing {name} failed: {one_line(error)}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
