"""Activations of all batches between two steps of calibration: in memory while they are few, else in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from octconvert.system.temporaries import temporary_folder

IN_MEMORY = 256 * 2**20
"""Bytes of activations held in memory; all further ones go to files in a temporary directory."""


class Frontier:
    """Values of the tensors that are still to be read, batch by batch.

    ``take`` hands a batch's values out (they are forgotten here), ``put`` stores what is left of them.
    """

    def __init__(self, in_memory: int = IN_MEMORY):
        self._room = in_memory
        self._held: dict[int, dict[int, np.ndarray | _File]] = {}
        self._folder: Path | None = None

    def take(self, batch: int) -> dict[int, object]:
        """BackendTensor number -> tensor."""
        values: dict[int, object] = {}
        for number, array in self._held.pop(batch, {}).items():
            if isinstance(array, _File):
                array = array.read()
            else:
                self._room += array.nbytes
            values[number] = keras.ops.convert_to_tensor(array)
        return values

    def forget(self, batch: int) -> None:
        """Drop a batch's values."""
        for array in self._held.pop(batch, {}).values():
            if isinstance(array, _File):
                array.path.unlink()
            else:
                self._room += array.nbytes

    def put(self, batch: int, values: dict[int, object]) -> None:
        held: dict[int, np.ndarray | _File] = {}
        for number, tensor in values.items():
            array = keras.ops.convert_to_numpy(tensor)
            if array.nbytes <= self._room:
                self._room -= array.nbytes
                held[number] = array
            else:
                held[number] = self._write(batch, number, array)
        self._held[batch] = held

    def _write(self, batch: int, number: int, array: np.ndarray) -> _File:
        if self._folder is None:
            self._folder = temporary_folder(self)
        path = self._folder / f"{batch}-{number}.raw"
        array.tofile(path)
        return _File(path, array.shape, array.dtype)


@dataclass(frozen=True)
class _File:
    """Raw numbers; NumPy's own format knows no bfloat16."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> np.ndarray:
        """The array; the file is deleted."""
        array = np.fromfile(self.path, "uint8").view(self.dtype).reshape(self.shape)
        self.path.unlink()
        return array
