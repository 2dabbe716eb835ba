"""Image files -> `ChunkSource`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from octconvert.errors import InputError, one_line
from octconvert.model.graph import CallGraph
from octconvert.model.shapes import ASSUMED_SIZES, with_known_sizes
from octconvert.options.data import IMAGE_ENDINGS, NO_IMAGES
from octconvert.samples.chunks import CHUNK, Chunk, ChunkSource, Selection, pieces
from octconvert.samples.inputs import ModelInput


def image_source(
    path: Path, files: list[Path], graph: CallGraph, inputs: list[ModelInput], selection: Selection
) -> ChunkSource:
    """Images, scaled to the size that the model takes; subdirectories are classes.

    Args:
        path: of one image or of a directory.
        files: the images.

    Raises:
        InputError: there are none, or the model does not take images.
    """
    one = not path.is_dir()
    if not files:
        raise InputError(f"{path}: {NO_IMAGES}")
    if len(inputs) != 1:
        raise InputError(f"{path}: images are for one input, the model takes {len(inputs)}; give an .npz or arrays")
    spec, size = inputs[0], _image_size(path, graph, inputs[0])
    classes = None if one else _classes(path, files)
    rows = selection.rows(len(files))
    read = partial(_read_image, spec=spec, size=size)
    chunks = _image_chunks([files[row] for row in rows], None if classes is None else classes[rows], read)
    name = str(path) if one else f"{str(path).rstrip(os.sep)}{os.sep}"
    name_of = lambda number: str(files[rows[number]])  # noqa: E731
    return ChunkSource(str(path), name, "image", chunks, len(rows), len(files), name_of, are_images=True)


def image_files(path: Path) -> list[Path]:
    """All images below a directory, sorted; links are followed, hidden files are not images."""
    files, seen = list[Path](), set[str]()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and real not in seen]
        if real not in seen:
            files += [Path(folder, name) for name in names if not name.startswith(".")]
        seen.add(real)
    images = [file for file in files if file.suffix.lower() in IMAGE_ENDINGS]
    return sorted(images, key=lambda file: file.relative_to(path).as_posix())


def _classes(path: Path, files: list[Path]) -> np.ndarray | None:
    """Numbers of the first-level subdirectories, as Keras counts them; None for one alone, which is no class."""
    parts = [file.relative_to(path).parts for file in files]
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    if len({part[0] for part in parts}) < 2 or any(len(part) == 1 for part in parts):
        return None
    return np.array([names.index(part[0]) for part in parts])


def _image_size(path: Path, graph: CallGraph, spec: ModelInput) -> tuple[int, int, int]:
    """(rows, columns, channels) of the images the model takes; open sizes are chosen so that it works at them."""
    if spec.channels is None:
        raise InputError(f"{path}: input '{spec.names[0]}' takes samples of shape {spec.shape}, which are no images")
    sized = with_known_sizes(graph, ASSUMED_SIZES)
    shape = [size or 0 for size in sized.tensors[sized.inputs[0]].shape[1:]]
    channels = spec.shape[spec.channels] or 3
    if channels not in (1, 3):
        raise InputError(f"{path}: input '{spec.names[0]}' takes {channels} channels; images have 1 or 3")
    del shape[spec.channels]
    return shape[0], shape[1], channels


def _image_chunks(files: list[Path], labels: np.ndarray | None, read: Callable[[Path], np.ndarray]) -> Iterator[Chunk]:
    numbers = np.arange(len(files))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for rows in pieces(numbers, CHUNK):
            images = np.stack(list(pool.map(read, [files[row] for row in rows])))
            yield [images], None if labels is None else labels[rows]


def _read_image(file: Path, spec: ModelInput, size: tuple[int, int, int]) -> np.ndarray:
    """Scaled so that it covers the size, cropped around its centre: float32 0..255, in the model's data format."""
    rows, columns, channels = size
    try:
        image = _decoded(file.read_bytes(), channels)
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = re.sub(r"\{\{.*?\}\} *| *\[Op:\w+\]", "", one_line(error))
        raise InputError(f"{file}: can not be read as an image: {reason}") from error
    height, width = image.shape[0], image.shape[1]
    scale = min(height / rows, width / columns)
    part = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    image = tf.image.crop_to_bounding_box(image, (height - part[0]) // 2, (width - part[1]) // 2, *part)
    resized = np.asarray(tf.image.resize(image, (rows, columns), "bilinear", antialias=True), np.float32)
    if spec.dtype.kind in "iu":
        resized = np.rint(resized)
    return resized.transpose(2, 0, 1) if spec.channels == 0 else resized


def _decoded(content: bytes, channels: int) -> Any:
    fixed = content.startswith((b"BM", b"GIF"))  # decoded only to the channels they have
    image = tf.io.decode_image(content, 0 if fixed else channels, expand_animations=False)
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image[..., :3] if image.shape[2] == 4 else tf.image.grayscale_to_rgb(image)
    return tf.image.rgb_to_grayscale(image[..., :3])
