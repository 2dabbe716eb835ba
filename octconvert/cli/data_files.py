"""The data that a command line names, checked as far as that goes before TensorFlow is started for them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from octconvert.cli.files import check_input
from octconvert.errors import InputError
from octconvert.options.data import IMAGE_ENDINGS, NO_IMAGES, NPY_BEGINS, NPZ_BEGINS, no_data
from octconvert.options.evaluation import LABEL_NAMES

_NEEDED = "which are needed for --evaluate"


def check_data(calibrate: str | None, evaluate: str | None) -> None:
    """Raises `InputError` where there are no such data, or those of --evaluate hold no labels."""
    for name, path in (("--calibrate", calibrate), ("--evaluate", evaluate)):
        if path is not None:
            check_input(path, "file or directory", name)
            if name == "--evaluate":
                _check_labels(Path(path))
            _check_kind(Path(path), name)


def check_sample(path: str, option: str) -> None:
    """Raises `InputError` where there is no such file or directory, or no sample can be read from it."""
    check_input(path, "file or directory", option)
    _check_kind(Path(path), option)


def _check_kind(path: Path, option: str) -> None:
    """Raises `InputError` where it is of no kind that data are read from."""
    try:
        if path.is_dir():
            reason = "" if _has_image(path) else NO_IMAGES
        elif not path.is_file():
            reason = "is no regular file"
        elif path.suffix.lower() in IMAGE_ENDINGS:
            return
        else:
            with open(path, "rb") as file:
                reason = "" if file.read(len(NPY_BEGINS)).startswith((NPY_BEGINS, NPZ_BEGINS)) else no_data(path)
    except OSError as error:
        reason = f"can not be read ({error.strerror})"
    if reason:
        raise InputError(f"{path}: {reason} ({option})")


def _has_image(folder: Path) -> bool:
    names = (name for _, _, names in os.walk(folder) for name in names)
    return any(name.lower().endswith(IMAGE_ENDINGS) for name in names)


def _check_labels(path: Path) -> None:
    """What can not be read is left for the reading, which says why."""
    try:
        if path.is_dir():
            reason = "" if _has_classes(path) else "its images do not lie in a subdirectory for each class"
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
            reason = "" if set(names) & set(LABEL_NAMES) else f"it has {', '.join(names) or 'nothing'}, and no y"
        else:
            with open(path, "rb") as file:
                reason = "it is one array" if file.read(len(NPY_BEGINS)) == NPY_BEGINS else ""
    except (OSError, zipfile.BadZipFile):
        return
    if reason:
        raise InputError(f"{path}: holds no labels, {_NEEDED}: {reason}")


def _has_classes(path: Path) -> bool:
    folders = [item for item in path.iterdir() if item.is_dir() and not item.name.startswith(".")]
    return len(folders) > 1
