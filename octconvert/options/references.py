"""Names of what belongs to the user or to Keras, checked as far as that goes without importing it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from octconvert.errors import UsageError
from octconvert.text.nearest import did_you_mean

EXAMPLES = "resnet50, mobilenet_v2, efficientnet, vgg16, ..."
_MOST_BYTES = 2**24


def check_reference(spec: str, option: str) -> None:
    """Check text of the form ``module.py:Name`` or ``package.module:Name``; nothing of the module is run.

    Raises:
        UsageError: it has another form, or there is no such module, or Python can not read it.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name.isidentifier():
        raise UsageError(f"`{option}` takes module.py:Name or package.module:Name; received '{spec}'")
    if not source.endswith(".py"):
        package = source.partition(".")[0]
        known = package in sys.builtin_module_names or package in sys.modules
        if not known and PathFinder.find_spec(package, [str(Path.cwd()), *sys.path]) is None:
            raise UsageError(f"`{option}`: '{spec}': there is no module {package}")
        return
    if not Path(source).is_file():
        raise UsageError(f"`{option}`: '{spec}': no such file: {source}")
    try:
        if Path(source).stat().st_size <= _MOST_BYTES:
            compile(Path(source).read_bytes(), source, "exec")
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise UsageError(f"`{option}`: '{spec}': {source}{where}: {error.msg}") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"`{option}`: '{spec}': {source} can not be read: {error}") from None


def plain_name(name: str) -> str:
    """Of a module or model of keras.applications, without what its spellings differ in."""
    return re.sub(r"[-_ ]", "", name).lower()


def check_application(name: str) -> None:
    """
    Raises:
        UsageError: keras.applications has no module or model of that name.
    """
    names = _applications()
    if not names or plain_name(name) in map(plain_name, names):
        return
    hint = did_you_mean(name, names, quote="")
    raise UsageError(
        f"`preprocess`: keras.applications has no '{name}' ({EXAMPLES}); write scale,offset or file.py:function{hint}"
    )


def _applications() -> list[str]:
    """What `keras.applications` imports, read from its source; nothing where that can not be found."""
    spec = importlib.util.find_spec("keras")
    places = () if spec is None else spec.submodule_search_locations or ()
    for place in places:
        try:
            tree = ast.parse((Path(place) / "applications" / "__init__.py").read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        return [alias.asname or alias.name for node in imports for alias in node.names]
    return []
