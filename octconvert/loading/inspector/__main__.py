"""Inspects a model file from a stranger; a script that `octconvert.loading.inspection` runs in a process of its own.

HDF5 is a C library: a damaged file can make it loop for ever, crash or ask for any amount of memory. All of that
happens here first, under limits of time and memory, before the process of the user opens the file. The whole structure
is walked (every link, every dataset's header); data that go through filters are read once, piece by piece.

Standard input: ``{"path", "kind", "seconds"}`` as JSON. Standard output: ``{"contents": ...}`` or ``{"refusal": why}``.
Nothing of octconvert, Keras or TensorFlow is imported.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import stat
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

MIB = 1 << 20
TEXT = 64 * MIB  # the longest architecture, and the most that all lists of names take together
TOKENS = 4_000_000  # values in an architecture; each takes about 100 bytes once it is read
DEPTH = 200  # levels of nesting in an architecture; Keras adds three for a model inside a model
OBJECTS = 1_000_000  # groups and datasets of an HDF5 file
MEMBERS = 10_000  # of a zip
SLACK = 64 * MIB  # what a small file may declare, whatever it stores
EXPANSION = 100  # above that: bytes that are declared, for each byte of the file
CHUNK = 1024 * MIB
MEMORY = 1024 * MIB  # address space beside that of Python and its libraries

# deflate, shuffle, fletcher32, szip, nbit, scaleoffset: HDF5's own; lzf: h5py's.
FILTERS = {1, 2, 3, 4, 5, 6, 32000}
LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
NUMBERS = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.OPAQUE}  # bool is an enum, bfloat16 is opaque
OLD_PLACE = "_layer_checkpoint_dependencies"
WEIGHTS = "model.weights.h5"

LINKED = "; Keras writes none, and such a file can read other files of yours; get it from its source again"
DAMAGED_HDF5 = "is a damaged or incomplete HDF5 file; download or save it again"
DAMAGED_ZIP = "is a damaged or incomplete zip (.keras) file; download or save it again"


class Refusal(Exception):
    """Why the file is not read; one line without the file's name."""


def main() -> None:
    task = json.load(sys.stdin)
    _limit_time(task["seconds"])
    _limit_memory(MEMORY)
    look = {"h5": hdf5_file, "keras": keras_archive}[task["kind"]]
    try:
        answer: dict[str, Any] = {"contents": look(task["path"])}
    except Refusal as error:
        answer = {"refusal": str(error)}
    except MemoryError:
        answer = {"refusal": "asks for more memory than a file of its size needs; download or save it again"}
    json.dump(answer, sys.stdout)


def _limit_time(seconds: int) -> None:
    """Ends this process even where the one that waits for it is gone, and in the middle of a loop of HDF5."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds + 5)


def _limit_memory(more: int) -> None:
    """Lets this process grow by ``more`` bytes; where the system does not say how large it is, by any number."""
    try:
        import resource

        with open("/proc/self/statm") as stream:
            now = int(stream.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = now + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


# -- HDF5 --------------------------------------------------------------------------------------------------------------


def hdf5_file(path: str) -> dict[str, Any]:
    """What an .h5 file holds; of one that is no whole model only what it may be instead."""
    with _opened(path) as file:
        return _guarded(lambda: _whole_model(file, os.path.getsize(path)))


def _opened(source: Any) -> h5py.File:
    try:
        return h5py.File(source, "r")
    except BlockingIOError:
        raise Refusal("is being written by another program; wait for it to finish") from None
    except Exception:
        raise Refusal(DAMAGED_HDF5) from None


def _guarded(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``look`` gives; all that h5py raises about a file means that it is damaged."""
    try:
        return look()
    except (Refusal, MemoryError):
        raise
    except Exception:
        raise Refusal(DAMAGED_HDF5) from None


def _whole_model(file: h5py.File, size: int) -> dict[str, Any]:
    names = {name.decode("utf-8", "replace") for name in file.id}
    if not _has(file, "model_config") or "model_weights" not in names:
        weights = _has(file, "layer_names") or bool({"layers", OLD_PLACE} & names)
        return {"whole": False, "architecture": _has(file, "model_config"), "weights": weights}
    _walk(file)
    group = file["model_weights"]
    if not isinstance(group, h5py.Group):
        raise Refusal(DAMAGED_HDF5)
    config = _text(file, "model_config") or ""
    check_json(config)
    training = _text(file, "training_config")
    check_json(training or "")
    data = _Data(size, size)
    layers = [[name, data.of(group[name])] for name in _names(group, "layer_names")]
    top = data.of(group["top_level_model_weights"]) if "top_level_model_weights" in group else []
    data.read()
    said = [key for key in ("keras_version", "backend") if _has(group, key)]
    return {
        "whole": True,
        "config": config,
        "training": training,
        "layers": layers,
        "top": top,
        "elements": data.elements,
        "version": _text(group if "keras_version" in said else file, "keras_version"),
        "backend": _text(group if "backend" in said else file, "backend"),
    }


def _walk(file: h5py.File) -> dict[str, h5py.h5d.DatasetID]:
    """Every object of the file has been seen, and each dataset's header read: path -> dataset.

    Links are looked at and only followed where they are hard ones, which can not lead out of the file.
    """
    found: dict[str, h5py.h5d.DatasetID] = {}
    groups: set[int] = set()
    waiting: list[tuple[str, h5py.h5g.GroupID]] = [("", file.id)]
    count = 0
    while waiting:
        path, group = waiting.pop()
        place = h5py.h5o.get_info(group).addr
        if place in groups:
            raise Refusal(f"links to its group '{path}' from two places; Keras writes no such file, save it again")
        groups.add(place)
        for raw in group:
            count += 1
            if count > OBJECTS:
                raise Refusal(f"holds more than {OBJECTS:,} objects; no model has so many, save it again")
            name = f"{path}/{raw.decode('utf-8', 'replace')}".lstrip("/")
            link = group.links.get_info(raw).type
            if link != h5py.h5l.TYPE_HARD:
                raise Refusal(f"has {LINKS.get(link, 'a link of an unknown kind')} at '{name}'{LINKED}")
            item = h5py.h5o.open(group, raw)
            if isinstance(item, h5py.h5g.GroupID):
                waiting.append((name, item))
            elif isinstance(item, h5py.h5d.DatasetID):
                _check_storage(name, item)
                found[name] = item
    return found


def _check_storage(name: str, dataset: h5py.h5d.DatasetID) -> None:
    settings = dataset.get_create_plist()
    if settings.get_layout() == h5py.h5d.VIRTUAL:
        raise Refusal(f"has a virtual dataset at '{name}'{LINKED}")
    if settings.get_external_count():
        raise Refusal(f"keeps the data of '{name}' in another file{LINKED}")


class _Data:
    """The datasets that are going to be read: what they declare is held against the size of the file.

    ``end``: the last byte of the HDF5 file, which may be a packed one inside the file.
    """

    def __init__(self, size: int, end: int):
        self.size, self.end = size, end
        self.elements = 0
        self._chunk = 0
        self._declared = 0
        self._seen: dict[int, h5py.h5d.DatasetID] = {}

    def of(self, group: Any) -> list[list]:
        """``[name, shape]`` of each weight that the group lists."""
        names = _names(group, "weight_names")
        return [[name, self.add(name, group[name].id)] for name in names]

    def add(self, name: str, dataset: h5py.h5d.DatasetID) -> list[int]:
        """Takes a dataset in; its shape."""
        if not isinstance(dataset, h5py.h5d.DatasetID) or dataset.shape is None:
            raise Refusal(DAMAGED_HDF5)
        kind = dataset.get_type()
        if kind.get_class() not in NUMBERS or kind.get_size() > 16:
            raise Refusal(f"has something else than numbers as the weight '{name}'; save the model again")
        place = h5py.h5o.get_info(dataset).addr
        if place not in self._seen:
            self._seen[place] = dataset
            self._check(name, dataset, math.prod(dataset.shape), kind.get_size())
        return list(dataset.shape)

    def _check(self, name: str, dataset: h5py.h5d.DatasetID, elements: int, width: int) -> None:
        settings = dataset.get_create_plist()
        declared, stored, offset = elements * width, dataset.get_storage_size(), dataset.get_offset()
        if settings.get_layout() == h5py.h5d.CHUNKED:
            chunk = math.prod(settings.get_chunk()) * width
            unknown = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())} - FILTERS
            if unknown:
                todo = "repack it with 'h5repack -f NONE' or save it again"
                raise Refusal(f"has the weight '{name}' packed with HDF5 filter {min(unknown)}; {todo}")
            if chunk > CHUNK:
                raise Refusal(f"has the weight '{name}' in one piece of {chunk / MIB:,.0f} MiB; save the model again")
            declared, self._chunk = max(declared, chunk), max(self._chunk, chunk)
        elif stored and (stored < declared or (offset is not None and offset + stored > self.end)):
            raise Refusal(DAMAGED_HDF5)
        self.elements += elements
        self._declared += declared
        if self._declared > SLACK + EXPANSION * self.size:
            raise Refusal(
                f"declares weights of {self._declared / MIB:,.0f} MiB ('{name}' of shape {dataset.shape}) "
                f"in a file of {self.size / MIB:,.1f} MiB; download or save it again"
            )

    def read(self) -> None:
        """Reads all data once that HDF5 has to work on: what is packed, or in another form than NumPy's."""
        _limit_memory(MEMORY + 4 * self._chunk)
        for dataset in self._seen.values():
            whole = h5py.Dataset(dataset)
            if 0 in whole.shape:
                continue
            if whole.chunks:
                for piece in whole.iter_chunks():
                    whole[piece]
            elif not h5py.h5t.py_create(whole.dtype, logical=True).equal(dataset.get_type()):
                _read_rows(whole)


def _read_rows(dataset: h5py.Dataset) -> None:
    if not dataset.shape:
        dataset[()]
        return
    step = max(1, SLACK * len(dataset) // (dataset.size * dataset.dtype.itemsize))
    for row in range(0, len(dataset), step):
        dataset[row : row + step]


def _has(place: Any, name: str) -> bool:
    return h5py.h5a.exists(place.id, name.encode())


def _attribute(place: Any, name: str) -> Any:
    header = h5py.h5a.open(place.id, name.encode())
    if math.prod(header.shape or ()) * header.get_type().get_size() > TEXT:
        raise Refusal(f"has an attribute '{name}' of more than {TEXT // MIB} MiB; save the model again")
    return place.attrs[name]


def _text(place: Any, name: str) -> str | None:
    """The attribute as text; None where there is none."""
    if not _has(place, name):
        return None
    value = _attribute(place, name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    value = value if isinstance(value, str) else bytes(value)
    if len(value) > TEXT:
        raise Refusal(f"has an attribute '{name}' of more than {TEXT // MIB} MiB; save the model again")
    return _utf8(value, name)


def _utf8(value: str | bytes, name: str) -> str:
    try:
        return value.encode().decode() if isinstance(value, str) else value.decode()  # h5py lets wrong bytes through
    except UnicodeError:
        what = "an unreadable architecture" if name == "model_config" else f"an unreadable '{name}'"
        raise Refusal(f"has {what} (it is no UTF-8 text); download or save it again") from None


def _names(group: Any, key: str) -> list[str]:
    """A list of names kept in an attribute; long lists are kept in pieces ``key0``, ``key1``, ..."""
    pieces = [key] if _has(group, key) else []
    while key not in pieces and _has(group, f"{key}{len(pieces)}"):
        pieces.append(f"{key}{len(pieces)}")
    names: list[str] = []
    length = 0
    for piece in pieces:
        for name in np.ravel(_attribute(group, piece)).tolist():
            names.append(_utf8(name, piece))
            length += len(name)
            if length > TEXT:
                raise Refusal(f"has a list of more than {TEXT // MIB} MiB in '{key}'; save the model again")
    return names


# -- JSON --------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def check_json(text: str) -> None:
    """An architecture that is small enough to be read; whether it is JSON at all is not asked here."""
    if sum(text.count(sign) for sign in ",[{") > TOKENS:
        raise Refusal(f"has more than {TOKENS:,} values in its architecture; no model needs that, save it again")
    depth = 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        depth += (sign in "[{") - (sign in "]}")
        if depth > DEPTH:
            raise Refusal(f"nests its architecture more than {DEPTH} levels deep; no model needs that, save it again")


# -- .keras ------------------------------------------------------------------------------------------------------------


def keras_archive(path: str) -> dict[str, Any]:
    """What a zip holds; of one that is no Keras model only the names of its members."""
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
    if not {"config.json", "metadata.json"} <= names:
        return {"whole": False, "names": [entry.filename[-200:] for entry in entries[:MEMBERS]]}
    if len(entries) > MEMBERS:
        raise Refusal(f"holds more than {MEMBERS:,} files; no model has so many, save it again")
    if len(names) < len(entries):
        raise Refusal("holds two files of one name; Keras writes no such archive, download or save it again")
    for entry in entries:
        _check_member(entry)
    if WEIGHTS not in names:
        return {"whole": False, "names": sorted(names)}
    kept = [entry for entry in entries if entry.filename in ("config.json", "metadata.json", WEIGHTS) or _asset(entry)]
    size = os.path.getsize(path)
    declared = sum(entry.file_size for entry in kept)
    if declared > SLACK + EXPANSION * size:
        raise Refusal(f"unpacks to {declared / MIB:,.0f} MiB from {size / MIB:,.1f} MiB; download or save it again")
    config = _utf8(_member(archive, "config.json", TEXT), "model_config")
    check_json(config)
    metadata = _utf8(_member(archive, "metadata.json", MIB), "metadata.json")
    check_json(metadata)
    for entry in kept:
        if _asset(entry):
            _drain(archive, entry)
    with _weights(archive, path) as stream, _opened(stream) as file:
        about = _guarded(lambda: _stored(file, size, stream.seek(0, os.SEEK_END)))
    extra = len(kept) < len(entries)
    return {"whole": True, "config": config, "metadata": metadata, "extra": extra, **about}


def _asset(entry: zipfile.ZipInfo) -> bool:
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
        raise Refusal("is zipped in a way that Keras never uses; unpack it and zip it again with plain deflate")


def _pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | str) -> Iterator[bytes]:
    """The content of a member in pieces, with its checksum compared at the end."""
    with archive.open(entry) as stream:
        while piece := stream.read(MIB):
            yield piece


def _drain(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | str) -> None:
    for _ in _pieces(archive, entry):
        pass


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > most or entry.file_size > 4 * MIB + EXPANSION * entry.compress_size:
        raise Refusal(f"has a {name} of {entry.file_size / MIB:,.0f} MiB; no model needs that, save it again")
    return archive.read(entry)


def _weights(archive: zipfile.ZipFile, path: str) -> Any:
    """The HDF5 file inside: as it lies in the archive, or unpacked into a temporary file."""
    entry = archive.getinfo(WEIGHTS)
    if entry.compress_type == zipfile.ZIP_STORED:
        _drain(archive, entry)
        return _Part(path, entry)
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115, the caller closes it
    for piece in _pieces(archive, entry):
        unpacked.write(piece)
    return unpacked


class _Part:
    """A stored member of a zip as a file of its own, for h5py."""

    def __init__(self, path: str, entry: zipfile.ZipInfo):
        self._file = open(path, "rb")  # noqa: SIM115, closed in __exit__
        self._file.seek(entry.header_offset + 26)
        self._start = entry.header_offset + 30 + sum(struct.unpack("<HH", self._file.read(4)))
        self._size = entry.file_size
        self._at = 0

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def read(self, count: int = -1) -> bytes:
        data = bytearray(self._size - self._at if count < 0 else count)
        return bytes(data[: self.readinto(data)])


def _stored(file: h5py.File, size: int, end: int) -> dict[str, Any]:
    datasets = _walk(file)
    data = _Data(size, end)
    for name, dataset in datasets.items():
        data.add(name, dataset)
        _text(h5py.Dataset(dataset), "dtype")  # Keras reads this one, of each
    data.read()
    return {"elements": data.elements, "old": OLD_PLACE in file}


if __name__ == "__main__":
    main()
