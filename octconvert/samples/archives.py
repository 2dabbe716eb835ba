"""Files of arrays, .npy and .npz, as a source; read a few samples at a time."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from octconvert.errors import InputError, OctconvertError, one_line
from octconvert.samples.chunks import Choice, Source
from octconvert.samples.columns import Column, column_of, column_source
from octconvert.samples.elements import check_numeric, named
from octconvert.samples.inputs import Input


def npy_source(path: Path, inputs: list[Input], choice: Choice) -> Source:
    if len(inputs) != 1:
        raise InputError(
            f"{path}: holds one array, the model takes {len(inputs)} inputs; give an .npz with all of them"
        )
    with reading(path), open(path, "rb") as file:
        shape, _, dtype = _header(file)
    check_numeric(dtype, str(path))
    if 0 in shape or not shape:
        array = np.empty(shape, dtype)  # nothing that could be mapped
    else:
        with reading(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    return column_source([column_of(array)], None, str(path), str(path), choice)


def npz_source(path: Path, inputs: list[Input], choice: Choice) -> Source:
    with reading(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    found, labels = named(names, inputs, str(path))
    columns = [_member(path, name) for name in found]
    return column_source(columns, _member(path, labels) if labels else None, str(path), str(path), choice)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OctconvertError:
        raise
    except Exception as error:  # damaged files raise almost anything
        raise InputError(f"{path}: can not be read, damaged perhaps: {one_line(error)}") from error


def _member(path: Path, name: str) -> Column:
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, column_major, dtype = _header(file)
    check_numeric(dtype, f"{path}: '{name}'")
    if column_major and len(shape) > 1:  # its samples do not lie one after the other
        return Column(shape, partial(_whole_member, path, name))
    return Column(shape, partial(_member_rows, path, name))


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, dtype."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f".npy version {version} holds no plain numbers")


def _whole_member(path: Path, name: str, parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    with reading(path), np.load(path, allow_pickle=False) as archive:
        array = archive[name]
    return (array[rows] for rows in parts)


def _member_rows(path: Path, name: str, parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Chosen rows out of the stream of bytes that a member of an archive is."""
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, _, dtype = _header(file)
        size, at = dtype.itemsize * math.prod(shape[1:]), 0
        for rows in parts:
            content = bytearray()
            for row in rows.tolist():
                file.seek((row - at) * size, os.SEEK_CUR)
                content += file.read(size)
                at = row + 1
            if len(content) < size * len(rows):
                raise EOFError(f"'{name}' is cut off")
            yield np.frombuffer(content, dtype).reshape(len(rows), *shape[1:])
