"""The datasets of an HDF5 file: where their bytes are, how much they declare, and whether they can be read."""

from __future__ import annotations

import math
from typing import Any

import h5py

from .hdf5_attributes import names
from .limits import (
    CHUNK,
    DAMAGED_HDF5,
    EXPANSION,
    LINKED,
    MEMORY,
    MIB,
    OBJECTS,
    SLACK,
    Refusal,
    limit_memory,
)

FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset: HDF5's own; lzf: h5py's."""
LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
NUMBERS = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.OPAQUE}
"""bool is an enum, bfloat16 is opaque."""


def all_datasets(file: h5py.File) -> dict[str, h5py.h5d.DatasetID]:
    """Path -> dataset, after every object of the file was visited and each dataset's header read.

    Only hard links are followed, which can not lead out of the file.

    Raises:
        Refusal: There is another link, data outside of the file, a cycle, or too many objects.
    """
    datasets: dict[str, h5py.h5d.DatasetID] = {}
    groups: set[int] = set()
    waiting: list[tuple[str, h5py.h5g.GroupID]] = [("", file.id)]
    count = 0
    while waiting:
        path, group = waiting.pop()
        address = h5py.h5o.get_info(group).addr
        if address in groups:
            raise Refusal(f"links to its group '{path}' from two places; Keras writes no such file, save it again")
        groups.add(address)
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
                datasets[name] = item
    return datasets


def _check_storage(name: str, dataset: h5py.h5d.DatasetID) -> None:
    settings = dataset.get_create_plist()
    if settings.get_layout() == h5py.h5d.VIRTUAL:
        raise Refusal(f"has a virtual dataset at '{name}'{LINKED}")
    if settings.get_external_count():
        raise Refusal(f"keeps the data of '{name}' in another file{LINKED}")


class WeightData:
    """The datasets that will be read as weights: what they declare is compared with the size of the file.

    Args:
        size: Bytes of the whole file.
        end: Last byte of the HDF5 file, which may be unpacked from an archive.
    """

    def __init__(self, size: int, end: int) -> None:
        self.size, self.end = size, end
        self.elements = 0
        self._largest_chunk = 0
        self._declared = 0
        self._seen: dict[int, h5py.h5d.DatasetID] = {}

    def add_group(self, group: Any) -> list[list[Any]]:
        """``[name, shape]`` of each weight that the group lists."""
        return [[name, self.add(name, group[name].id)] for name in names(group, "weight_names")]

    def add(self, name: str, dataset: h5py.h5d.DatasetID) -> list[int]:
        """Checks a dataset and counts it; returns its shape."""
        if not isinstance(dataset, h5py.h5d.DatasetID) or dataset.shape is None:
            raise Refusal(DAMAGED_HDF5)
        kind = dataset.get_type()
        if kind.get_class() not in NUMBERS or kind.get_size() > 16:
            raise Refusal(f"holds no numbers in the weight '{name}'; save the model again")
        address = h5py.h5o.get_info(dataset).addr
        if address not in self._seen:
            self._seen[address] = dataset
            self._check(name, dataset, math.prod(dataset.shape), kind.get_size())
        return list(dataset.shape)

    def _check(self, name: str, dataset: h5py.h5d.DatasetID, elements: int, width: int) -> None:
        settings = dataset.get_create_plist()
        declared, stored, offset = elements * width, dataset.get_storage_size(), dataset.get_offset()
        if settings.get_layout() == h5py.h5d.CHUNKED:
            chunk = math.prod(settings.get_chunk()) * width
            unknown = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())} - FILTERS
            if unknown:
                remedy = "repack it with 'h5repack -f NONE' or save it again"
                raise Refusal(f"has the weight '{name}' packed with HDF5 filter {min(unknown)}; {remedy}")
            if chunk > CHUNK:
                raise Refusal(f"has the weight '{name}' in one chunk of {chunk / MIB:,.0f} MiB; save the model again")
            declared, self._largest_chunk = max(declared, chunk), max(self._largest_chunk, chunk)
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
        """Reads once all data that HDF5 has to unpack or to convert to a type of NumPy."""
        limit_memory(MEMORY + 4 * self._largest_chunk)
        for identifier in self._seen.values():
            dataset = h5py.Dataset(identifier)
            if 0 in dataset.shape:
                continue
            if dataset.chunks:
                for chunk in dataset.iter_chunks():
                    dataset[chunk]
            elif not h5py.h5t.py_create(dataset.dtype, logical=True).equal(identifier.get_type()):
                _read_rows(dataset)


def _read_rows(dataset: h5py.Dataset) -> None:
    if not dataset.shape:
        dataset[()]
        return
    step = max(1, SLACK * len(dataset) // (dataset.size * dataset.dtype.itemsize))
    for row in range(0, len(dataset), step):
        dataset[row : row + step]
