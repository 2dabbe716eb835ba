"""Data of any kind -> the `ChunkSource` of that kind: a file, a directory, arrays, or an iterable of batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octconvert.errors import InputError
from octconvert.model.graph import CallGraph
from octconvert.options.data import IMAGE_ENDINGS, NPZ_BEGINS, no_data
from octconvert.samples.archives import npy_source, npz_source, reading
from octconvert.samples.arrays import array_source, stored_array
from octconvert.samples.chunks import ChunkSource, Selection
from octconvert.samples.elements import is_array, split_element
from octconvert.samples.images import image_files, image_source
from octconvert.samples.inputs import ModelInput
from octconvert.samples.streams import stream_chunks


def source_of(data: Any, graph: CallGraph, inputs: list[ModelInput], selection: Selection, where: str) -> ChunkSource:
    """The data as chunks.

    Args:
        where: what messages call data without a path.

    Raises:
        InputError: the data are of no known kind, or do not fit the model.
    """
    if isinstance(data, (str, os.PathLike)):
        return _path_source(Path(data), graph, inputs, selection)
    one = len(inputs) == 1
    listed = isinstance(data, list) and not one and len(data) == len(inputs) and all(is_array(x) for x in data)
    if is_array(data) or isinstance(data, (Mapping, tuple)) or listed:
        arrays, labels = split_element(data, inputs, where)
        stored = [stored_array(array) for array in arrays]
        return array_source(stored, None if labels is None else stored_array(labels), where, "given data", selection)
    if isinstance(data, Iterable) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        chunks = stream_chunks(data, inputs, selection.limit, where)
        return ChunkSource(where, "given data", "sample", chunks, selection.limit, None, "sample {}".format)
    kinds = "a path, arrays, a dataset or an iterable of samples or batches"
    raise InputError(f"{where}: expected {kinds}, received {type(data).__module__}.{type(data).__name__}")


def _path_source(path: Path, graph: CallGraph, inputs: list[ModelInput], selection: Selection) -> ChunkSource:
    if not path.exists():
        raise InputError(f"{path}: no such file or directory")
    if path.is_dir():
        return image_source(path, image_files(path), graph, inputs, selection)
    if path.suffix.lower() in IMAGE_ENDINGS:
        return image_source(path, [path], graph, inputs, selection)
    with reading(path), open(path, "rb") as file:
        start = file.read(6)
    if start == np.lib.format.MAGIC_PREFIX:
        return npy_source(path, inputs, selection)
    if start.startswith(NPZ_BEGINS):
        return npz_source(path, inputs, selection)
    raise InputError(f"{path}: {no_data(path)}")
