"""`Store`: chunks of arrays -> whole arrays, in memory or, once they are large, in temporary files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.errors import InputError, one_line
from octconvert.system.temporaries import temporary_folder

LARGE = 256 * 2**20
"""Bytes above which samples are kept in temporary files."""


class Store:
    """Arrays that grow by samples: in memory, from `LARGE` bytes on in files.

    While they grow the files are written, not mapped: so a full disk is an error, not a crash.
    """

    def __init__(self, most: int, label: str):
        self.most, self.label, self.count = most, label, 0
        self.kinds: list[tuple[tuple[int, ...], np.dtype]] = []  # of one sample
        self.in_memory: list[np.ndarray] = []
        self.files: list[Any] = []
        self.folder: Folder | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files:
            file.close()

    @property
    def sizes(self) -> str:
        """The shapes of one sample, for messages."""
        return ", ".join(str(shape) for shape, _ in self.kinds)

    def accepts(self, arrays: list[np.ndarray]) -> bool:
        """Whether they have the shapes and dtypes of those before."""
        return not self.kinds or self.kinds == [(array.shape[1:], array.dtype) for array in arrays]

    def add(self, arrays: list[np.ndarray]) -> None:
        """Append samples.

        Raises:
            InputError: temporary files can not be written.
        """
        if not self.kinds:
            self.kinds = [(array.shape[1:], array.dtype) for array in arrays]
            each = sum(array.nbytes for array in arrays) // len(arrays[0])
            room = min(self.most, LARGE // max(each, 1))
            self.in_memory = [np.empty((room, *shape), dtype) for shape, dtype in self.kinds]
        count = self.count + len(arrays[0])
        if self.in_memory and count > len(self.in_memory[0]):
            self._spill()
        if self.in_memory:
            for array, new in zip(self.in_memory, arrays, strict=True):
                array[self.count : count] = new
        else:
            self._write(arrays)
        self.count = count

    def finish(self) -> tuple[np.ndarray, ...]:
        """The arrays, read-only; nothing may be added afterwards."""
        if self.in_memory:
            for array in self.in_memory:
                array.flags.writeable = False
            return tuple(array[: self.count] for array in self.in_memory)
        with self._room():
            for file in self.files:
                file.close()
        kinds = enumerate(self.kinds)
        return tuple(np.memmap(self._path(n), dtype, "r", shape=(self.count, *shape)) for n, (shape, dtype) in kinds)

    def _spill(self) -> None:
        arrays, self.in_memory = [array[: self.count] for array in self.in_memory], []
        with self._room():
            self.folder = Folder()
            self.files = [open(self._path(number), "wb") for number in range(len(arrays))]  # noqa: SIM115
        self._write(arrays)

    def _write(self, arrays: list[np.ndarray]) -> None:
        with self._room():
            for file, array in zip(self.files, arrays, strict=True):
                file.write(np.ascontiguousarray(array))

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder.path / f"{number}.raw"

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"temporary files in {tempfile.gettempdir()} (TMPDIR) can not be written: {one_line(error)}"
            raise InputError(f"{self.label}: {reason}") from error


class Folder:
    """A temporary directory, removed when this object is collected as garbage, at exit at the latest."""

    def __init__(self) -> None:
        self.path = temporary_folder(self)
