"""Temporary files and directories, removed when the work that needs them ends.

Each is registered before it is created. The supervisor of this process listens (`listen`): it removes what a dead
process has left, and finishes the renames that it had begun. Without a supervisor a temporary is removed where its
``with`` block ends, by KeyboardInterrupt and SystemExit too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Move = tuple[Path, Path]
"""(old name, new name)."""
Listener = Callable[[str, list[str]], None]
"""Called with 'temporary', 'removed', 'moving' or 'moved', and paths."""

_registered: dict[Path, int] = {}
"""Path -> the process that it belongs to: a fork of it must not remove anything."""
_listeners: list[Listener] = []
_REMOVE = """
import contextlib, os, shutil, sys, time
parent, *paths = sys.argv[1:]
while os.getppid() == int(parent):
    time.sleep(0.01)
for path in paths:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)
"""
renaming = threading.RLock()
"""Locked during renames: `remove_all` of another thread waits for them, and none begins afterwards."""


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Remove what is at ``path`` when the block ends, however it ends: a file, a directory with all in it, or nothing.

    The path is registered before the block begins, so create the file or directory inside of it.
    """
    place = _register(path)
    try:
        yield path
    finally:
        _discard(place)


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """A new directory for temporary files, removed with all in it when the block ends.

    Raises:
        OSError: it can not be created.
    """
    with temporary(_folder_name()) as path:
        path.mkdir(mode=0o700)
        yield path


def temporary_folder(owner: Any) -> Path:
    """The same, removed when ``owner`` is collected as garbage, at exit at the latest.

    Raises:
        OSError: it can not be created.
    """
    path = _folder_name()
    weakref.finalize(owner, _discard, _register(path))
    path.mkdir(mode=0o700)
    return path


def _folder_name() -> Path:
    """A free name in the system's directory for temporary files."""
    return Path(tempfile.gettempdir()) / f"octconvert-{secrets.token_hex(8)}"


def move(moves: Sequence[Move]) -> None:
    """Rename one after the other; if the process dies meanwhile, its supervisor finishes the rest.

    Where a rename fails, those before it are undone; an interrupt in between takes effect when all are complete. Each
    new name must be free or one that `os.replace` replaces.

    Raises:
        OSError: of the rename that failed.
    """
    absolute = [(Path(os.path.abspath(old)), Path(os.path.abspath(new))) for old, new in moves]
    names = [str(path) for pair in absolute for path in pair]
    done: list[Move] = []
    with renaming:
        _report("moving", names)
        try:
            for old, new in absolute:
                os.replace(old, new)
                done.append((old, new))
        except OSError:
            for old, new in reversed(done):
                os.replace(new, old)
            raise
        except BaseException:
            finish(absolute)
            raise
        finally:
            _report("moved", names)


def finish(moves: Sequence[Move]) -> None:
    """Complete the renames of a process that died within `move`.

    An old name may be in use again after a later rename, never after an earlier one. So all renames up to the last one
    whose old name is missing are complete.
    """
    missing = [number for number, (old, _) in enumerate(moves) if not os.path.lexists(old)]
    for old, new in moves[max(missing, default=-1) + 1 :]:
        with contextlib.suppress(OSError):
            os.replace(old, new)


def remove(path: Path) -> None:
    """Remove a file or a directory with all in it; one that is missing or can not be removed is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def remove_all() -> None:
    """Remove everything that is registered in this process, which is about to end; see `renaming`."""
    renaming.acquire()
    for path in list(_registered):
        _discard(path)


def remove_all_at_end() -> None:
    """The same where other threads still write: a process of its own removes once more when this one has ended.

    They may create a file, or fill a directory, between its removal and the end.
    """
    renaming.acquire()
    paths = [str(path) for path in _registered]
    with contextlib.suppress(OSError):  # no process can be started, or Python has gone
        subprocess.Popen([sys.executable, "-I", "-c", _REMOVE, str(os.getpid()), *paths], stdin=subprocess.DEVNULL)
    remove_all()


def listen(listener: Listener) -> None:
    """Call ``listener`` from now on: before anything is created or renamed, and after it is removed or renamed."""
    _listeners.append(listener)


def _register(path: Path) -> Path:
    place = Path(os.path.abspath(path))  # the working directory may change
    _registered[place] = os.getpid()
    _report("temporary", [str(place)])
    return place


def _discard(place: Path) -> None:
    if _registered.get(place) != os.getpid():
        return
    remove(place)
    _registered.pop(place, None)
    _report("removed", [str(place)])


def _report(kind: str, paths: list[str]) -> None:
    for listener in _listeners:
        listener(kind, paths)
