"""Path of an .npy or .npz file -> `ChunkSource`; the file is read a few samples at a time."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from octconvert.errors import InputError, OctconvertError, one_line
from octconvert.samples.arrays import StoredArray, array_source, stored_array
from octconvert.samples.chunks import ChunkSource, Selection
from octconvert.samples.elements import check_numeric, input_names
from octconvert.samples.inputs import ModelInput


def npy_source(path: Path, inputs: list[ModelInput], selection: Selection) -> ChunkSource:
    """One array, for a model with one input.

    Raises:
        InputError: the model takes several inputs, or the file can not be read.
    """
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
    return array_source([stored_array(array)], None, str(path), str(path), selection)


def npz_source(path: Path, inputs: list[ModelInput], selection: Selection) -> ChunkSource:
    """Arrays by name: the inputs, and perhaps labels.

    Raises:
        InputError: inputs are missing, or the file can not be read.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    own, labels = input_names(names, inputs, str(path))
    stored = [_member(path, name) for name in own]
    return array_source(stored, _member(path, labels) if labels else None, str(path), str(path), selection)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of the block are an `InputError` that names the file.

    Raises:
        InputError: with the reason.
    """
    try:
        yield
    except OctconvertError:
        raise
    except Exception as error:  # damaged files raise errors of any kind
        raise InputError(f"{path}: can not be read, damaged perhaps: {one_line(error)}") from error


def _member(path: Path, name: str) -> StoredArray:
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, column_major, dtype = _header(file)
    check_numeric(dtype, f"{path}: '{name}'")
    if column_major and len(shape) > 1:  # its samples do not lie one after the other
        return StoredArray(shape, partial(_whole_member, path, name))
    return StoredArray(shape, partial(_member_rows, path, name))


def _header(file: BinaryIO | IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
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
    """Chosen rows of a member of an archive, which can only be read as a stream of bytes."""
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
