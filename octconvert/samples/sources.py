"""Which source data are: a file, a directory, arrays, or something that gives batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from octconvert.errors import InputError
from octconvert.model.graph import CallGraph
from octconvert.samples.archives import npy_source, npz_source, reading
from octconvert.samples.chunks import Choice, Source
from octconvert.samples.columns import column_of, column_source
from octconvert.samples.elements import is_array, taken_apart
from octconvert.samples.images import IMAGE_ENDINGS, image_files, image_source
from octconvert.samples.inputs import Input
from octconvert.samples.streams import iterated


def source_of(data, graph: CallGraph, inputs: list[Input], choice: Choice, where: str) -> Source:
    if isinstance(data, (str, os.PathLike)):
        return _path_source(Path(data), graph, inputs, choice)
    one = len(inputs) == 1
    listed = isinstance(data, list) and not one and len(data) == len(inputs) and all(is_array(x) for x in data)
    if is_array(data) or isinstance(data, (Mapping, tuple)) or listed:
        arrays, labels = taken_apart(data, inputs, where)
        columns = [column_of(array) for array in arrays]
        return column_source(columns, None if labels is None else column_of(labels), where, "given data", choice)
    if isinstance(data, Iterable) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        chunks = iterated(data, inputs, choice.limit, where)
        return Source(where, "given data", "sample", chunks, choice.limit, None, "sample {}".format)
    kinds = "a path, arrays, a dataset or an iterable of samples or batches"
    raise InputError(f"{where}: expected {kinds}, received {type(data).__module__}.{type(data).__name__}")


def _path_source(path: Path, graph: CallGraph, inputs: list[Input], choice: Choice) -> Source:
    if not path.exists():
        raise InputError(f"{path}: no such file or directory")
    if path.is_dir():
        return image_source(path, image_files(path), graph, inputs, choice)
    if path.suffix.lower() in IMAGE_ENDINGS:
        return image_source(path, [path], graph, inputs, choice)
    with reading(path), open(path, "rb") as file:
        start = file.read(6)
    if start == np.lib.format.MAGIC_PREFIX:
        return npy_source(path, inputs, choice)
    if start.startswith(b"PK"):
        return npz_source(path, inputs, choice)
    raise InputError(
        f"{path}: is neither .npz nor .npy, nor an image ({', '.join(IMAGE_ENDINGS)}) or a directory of them"
    )
