"""How octconvert is installed here, and the command that adds one of its extras to that."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "octconvert"
_PROJECT = "pyproject.toml"


def install_command(extra: str) -> str:
    """The command line that installs what an extra adds, into the Python that runs this.

    Of a checkout (``pip install -e``, or one that is only on the path) it names the directory; of a file, an address or
    a repository that pip has installed from, that.
    """
    return f"{_installer()} {requirement(extra, _checkout(), _direct_url())}"


def requirement(extra: str, checkout: Path | None, direct_url: Mapping[str, Any] | None) -> str:
    """What is installed, as the arguments of ``pip install``.

    Args:
        checkout: the directory of the project that runs, if it runs from there.
        direct_url: what pip has noted (PEP 610); None for a package of an index.
    """
    if checkout is not None:
        return f"-e {_quoted(_shown(checkout), extra)}"
    if direct_url is None:
        return _quoted(NAME, extra)
    url = str(direct_url.get("url", ""))
    parts = urlsplit(url)
    if parts.scheme == "file" and "vcs_info" not in direct_url:
        editable = "-e " if direct_url.get("dir_info", {}).get("editable") else ""
        return f"{editable}{_quoted(_shown(Path(unquote(parts.path))), extra)}"
    source = url
    if "vcs_info" in direct_url:
        info = direct_url["vcs_info"]
        source = f"{info.get('vcs', 'git')}+{url}@{info.get('requested_revision') or info.get('commit_id', 'HEAD')}"
    return shlex.quote(f"{NAME}[{extra}] @ {source}")


def _quoted(place: str, extra: str) -> str:
    """In quotes always: a shell takes the brackets for a pattern."""
    text = f"{place}[{extra}]"
    return f"'{text}'" if "'" not in text else shlex.quote(text)


def _shown(path: Path) -> str:
    """Relative to the working directory where it lies below that, else absolute."""
    relative = os.path.relpath(path)
    below = not relative.startswith(os.pardir)
    if not below:
        return str(path)
    return relative if relative == os.curdir or not path.is_file() else os.path.join(os.curdir, relative)


def _checkout() -> Path | None:
    """The project's directory that this package lies in, where it does."""
    root = Path(__file__).resolve().parents[2]
    try:
        text = (root / _PROJECT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return root if f'name = "{NAME}"' in text else None


def _direct_url() -> Mapping[str, Any] | None:
    try:
        text = metadata.distribution(NAME).read_text("direct_url.json")
        content = json.loads(text) if text else None
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _installer() -> str:
    """pip of this Python, by its short name where the shell finds that one; uv where there is no pip."""
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip install -p {shlex.quote(sys.executable)}"
    found = shutil.which("pip")
    if found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve():
        return "pip install"
    return f"{shlex.quote(_shown(Path(sys.executable)))} -m pip install"
