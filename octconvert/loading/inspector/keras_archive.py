"""Inspects a .keras archive, a zip file with the architecture, its version and the weights."""

from __future__ import annotations

import os
import re
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

from . import hdf5_file
from .layout import CONFIG, METADATA, WEIGHTS
from .limits import (
    DAMAGED_ZIP,
    EXPANSION,
    LINKED,
    MEMBERS,
    MIB,
    SLACK,
    TEXT,
    Refusal,
    check_json,
    utf8,
)


def inspect(path: str) -> dict[str, Any]:
    """The contents of a .keras archive; of any other zip file only the names of its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _archive(archive, path)
    except (Refusal, MemoryError):
        raise
    except Exception:  # zipfile, zlib and struct raise many kinds
        raise Refusal(DAMAGED_ZIP) from None


def _archive(archive: zipfile.ZipFile, path: str) -> dict[str, Any]:
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if not {CONFIG, METADATA} <= names:
        return {"complete": False, "names": [entry.filename[-200:] for entry in entries[:MEMBERS]]}
    if len(entries) > MEMBERS:
        raise Refusal(f"holds more than {MEMBERS:,} files; no model has so many, save it again")
    if len(names) < len(entries):
        raise Refusal("holds two files of one name; Keras writes no such archive, download or save it again")
    for entry in entries:
        _check_member(entry)
    if WEIGHTS not in names:
        return {"complete": False, "names": sorted(names)}
    needed = [entry for entry in entries if entry.filename in (CONFIG, METADATA, WEIGHTS) or _is_asset(entry)]
    size = os.path.getsize(path)
    declared = sum(entry.file_size for entry in needed)
    if declared > SLACK + EXPANSION * size:
        raise Refusal(f"unpacks to {declared / MIB:,.0f} MiB from {size / MIB:,.1f} MiB; download or save it again")
    architecture = utf8(_member(archive, CONFIG, TEXT), "model_config")
    check_json(architecture)
    metadata = utf8(_member(archive, METADATA, MIB), METADATA)
    check_json(metadata)
    for entry in needed:
        if _is_asset(entry):
            _read_through(archive, entry)
    with _open_weights(archive, path) as stream:
        weights = hdf5_file.inspect_weights(stream, size, stream.seek(0, os.SEEK_END))
    return {
        "complete": True,
        "architecture": architecture,
        "metadata": metadata,
        "extra_members": len(needed) < len(entries),
        **weights,
    }


def _is_asset(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.startswith("assets/")


def _check_member(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if re.match(r"/|[A-Za-z]:", name) or "\\" in name or ".." in name.split("/"):
        raise Refusal(f"holds a file '{name[:80]}' that would lie outside of the archive; get it from its source again")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refusal(f"holds '{name[:80]}', a symbolic link{LINKED}")
    if entry.flag_bits & 1:
        raise Refusal("is encrypted; unpack it and zip it again without a password")
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise Refusal(DAMAGED_ZIP)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal("is compressed by a method that Keras never uses; unpack it and zip it again with deflate")


def _pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The content of a member in pieces, with its checksum compared at the end."""
    with archive.open(entry) as stream:
        while piece := stream.read(MIB):
            yield piece


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    for _ in _pieces(archive, entry):
        pass


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > most or entry.file_size > 4 * MIB + EXPANSION * entry.compress_size:
        raise Refusal(f"has a {name} of {entry.file_size / MIB:,.0f} MiB; no model needs that, save it again")
    return archive.read(entry)


def _open_weights(archive: zipfile.ZipFile, path: str) -> Any:
    """The HDF5 file inside: in its place in the archive, or unpacked into a temporary file."""
    entry = archive.getinfo(WEIGHTS)
    if entry.compress_type == zipfile.ZIP_STORED:
        _read_through(archive, entry)
        return _StoredMember(path, entry)
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115, the caller closes it
    for piece in _pieces(archive, entry):
        unpacked.write(piece)
    return unpacked


class _StoredMember:
    """An uncompressed member of a zip file as a file of its own, for h5py."""

    def __init__(self, path: str, entry: zipfile.ZipInfo) -> None:
        self._file = open(path, "rb")  # noqa: SIM115, closed in __exit__
        self._file.seek(entry.header_offset + 26)
        self._start = entry.header_offset + 30 + sum(struct.unpack("<HH", self._file.read(4)))
        self._size = entry.file_size
        self._position = 0

    def __enter__(self) -> _StoredMember:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view)
        self._position += count
        return count

    def read(self, count: int = -1) -> bytes:
        data = bytearray(self._size - self._position if count < 0 else count)
        return bytes(data[: self.readinto(data)])
