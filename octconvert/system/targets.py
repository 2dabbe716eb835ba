"""Targets: every file and directory that the program writes is complete or not there.

A target is checked before any work is done for it (`check_target`), written under a temporary name beside it, checked
there, and then takes its place in one step: `checked_write`. Saved models, exports and text files are all written so.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from octconvert.errors import UsageError
from octconvert.system.temporaries import move, renaming, temporary

Result = TypeVar("Result")
_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link that leads nowhere",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
}
_MOST_BYTES = 40
"""Of the target's name in a temporary one, which must not be too long either."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux: fcntl.h, linux/fs.h
_RENAME_SWAP = 2  # macOS: sys/stdio.h
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def check_target(path: str | os.PathLike[str], *, directory: bool = False, overwrite: bool = False) -> Path:
    """Refuse a target that can not be written.

    Args:
        path: of the target, or of a symbolic link to it, which then stays a link.
        directory: whether a directory is written, not a file; those above it are then created by `checked_write`.
        overwrite: whether there may be one already.

    Returns:
        The path behind all links, of a regular file, a directory or nothing.

    Raises:
        UsageError: With the reason.
    """
    name = shown(path)
    try:
        place, kind = _place_and_kind(path)
        folder = _existing(place.parent) if directory and not os.path.islink(path) else place.parent
        parent = os.stat(folder).st_mode if folder.exists() else 0
    except (OSError, ValueError) as error:
        raise can_not_be_written(path, error, "name") from error
    expected, noun = (stat.S_IFDIR, "directory") if directory else (stat.S_IFREG, "file")
    if kind not in (0, expected):
        raise UsageError(f"{name}: is {_KINDS.get(kind, 'no regular file')}; name a {noun}")
    if not stat.S_ISDIR(parent):
        missing = place.parent if os.path.islink(path) else Path(path).parent
        raise UsageError(f"{name}: there is no directory {shown(missing)}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{name}: no permission to write into {shown(folder)}; choose another place")
    if kind and not overwrite:
        raise UsageError(f"{name}: exists already; choose another name or allow overwriting it")
    return place


def _existing(folder: Path) -> Path:
    """The folder, or the lowest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if os.path.lexists(each))


@contextlib.contextmanager
def _with_folders(folder: Path) -> Iterator[None]:
    """Create a folder and those above it that are missing; where the block fails, remove those again."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for each in missing:
            with contextlib.suppress(OSError):  # somebody else may use it meanwhile
                each.rmdir()
        raise


def _place_and_kind(path: str | os.PathLike[str]) -> tuple[Path, int]:
    """The path behind all links and the kind of file there, a stat.S_IF... number; 0: nothing."""
    os.fsencode(path)  # a name that no file system takes is a ValueError
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)  # a loop of links, too long a name
    place = Path(os.path.realpath(path))
    try:
        return place, stat.S_IFMT(os.lstat(place).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return place, 0


def can_not_be_written(path: str | os.PathLike[str], error: Exception, other: str = "place") -> UsageError:
    """The error for a target from one of the system, in one line; ``other``: what else the user should choose."""
    reason = (error.strerror if isinstance(error, OSError) else None) or shown(str(error))
    return UsageError(f"{shown(path)}: can not be written ({reason}); choose another {other}")


def shown(path: str | os.PathLike[str]) -> str:
    """A path in one line of characters that can be printed."""
    text = os.fspath(path)
    text = text if isinstance(text, str) else os.fsdecode(text)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@contextlib.contextmanager
def beside(place: Path, suffix: str = "") -> Iterator[Path]:
    """A free temporary name beside a target; a file or directory of that name is removed when the block ends.

    The name holds the number of this process, and ends with ``suffix``.
    """
    stem = os.fsencode(place.stem)[:_MOST_BYTES].decode(errors="ignore")
    name = f".{stem}.{os.getpid()}.{secrets.token_hex(4)}{suffix}"
    with temporary(place.with_name(name)) as path:
        yield path


def put_in_place(new: Path, place: Path) -> None:
    """Put a finished file or directory in the place of the target beside it, whose permissions it takes over.

    In one step: whenever this process is killed, the old or the new one is there, complete. Only where the file system
    can not exchange two names (`exchange`), an old directory is moved aside first. If the process dies then, its
    supervisor finishes the renames; if both die, the old directory keeps a temporary name.

    Raises:
        OSError: the target is unchanged.
    """
    flush(new)
    exists = os.path.lexists(place)
    if exists:
        shutil.copymode(place, new)
    with renaming:
        if not exists or not place.is_dir():
            os.replace(new, place)
        elif not exchange(new, place):
            with beside(place) as old:
                move([(place, old), (new, place)])
    _flush_directory(place.parent)


def exchange(first: Path, second: Path) -> bool:
    """Swap the names of two files or directories in one step; False where system or file system can not do that.

    Raises:
        OSError: the system can, but not with these.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*paths, _RENAME_SWAP)
    else:
        return False
    code = ctypes.get_errno()
    if failed and code not in _NO_EXCHANGE:
        raise OSError(code, os.strerror(code), str(second))
    return not failed


def flush(path: Path) -> None:
    """Write the cached content of a file, or of a directory and everything in it, to the disk.

    Raises:
        OSError: a file can not be written.
    """
    if path.is_dir():
        for each in path.iterdir():
            flush(each)
        _flush_directory(path)
        return
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    """The names in a directory, where the system can do that; the files are complete in any case."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_room(folder: Path, size: int, target: str | os.PathLike[str]) -> None:
    """Refuse a target where ``size`` bytes do not fit into ``folder``: libraries do not say why their writing failed.

    Raises:
        UsageError: With the system's reason.
    """
    try:
        with temporary(folder / f".room.{secrets.token_hex(4)}") as path, open(path, "xb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(1, size))
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise can_not_be_written(target, error) from error


def checked_write(
    target: str | os.PathLike[str],
    place: Callable[[], Path],
    work: Callable[[Path], Result],
    suffix: str = "",
    replace: Callable[[Path, Path], None] | None = None,
) -> Result:
    """Write beside a target, check what is written there, and only then put it in the target's place.

    Whatever goes wrong, the target stays as it was and nothing is left behind.

    Args:
        target: what messages call it.
        place: returns the path behind all links or raises UsageError, as `check_target`; called before the work, and
            after it: another process may have written meanwhile.
        work: writes to the path that it is called with, and checks the result; its own result is returned.
        suffix: the ending of that path.
        replace: puts a finished path in the place of another one; None: `put_in_place`.

    Raises:
        UsageError: the target can not be written.
        Exception: whatever ``work`` raises, errors of the system apart.
    """
    path = place()
    try:
        with _with_folders(path.parent), beside(path, suffix) as temporary_path:
            result = work(temporary_path)
            place()
            (replace or put_in_place)(temporary_path, path)
    except OSError as error:
        raise can_not_be_written(target, error) from error
    return result


def write_atomically(target: str | os.PathLike[str], text: str) -> None:
    """Write a text file, in place of the one that is there.

    Raises:
        UsageError: it can not be written; the target is unchanged.
    """

    def write(path: Path) -> None:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)

    checked_write(target, lambda: check_target(target, overwrite=True), write)
