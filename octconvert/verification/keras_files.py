"""Keras files: writing a model as .keras or HDF5, beside the target first, and only then put in its place."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib

from octconvert.errors import OctconvertError, one_line
from octconvert.options.delivery import check_model_suffix
from octconvert.system import targets
from octconvert.system.quiet import quiet
from octconvert.verification.optimizer_state import with_fresh_state

OPTIMIZER = "optimizer_weights"
"""The group of an HDF5 file that holds the state of the optimizer."""


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    check: Callable[[Path], Any] = lambda path: None,
) -> Any:
    """Save a model in the format that the ending names (.keras, .h5 or .hdf5), after a check of the file.

    Args:
        check: called with the name of the finished file, which is not yet the target's; its result is returned.

    Raises:
        UsageError: the ending is unknown, the target exists and may not be overwritten, or it can not be written there.
        OctconvertError: Keras can not save this model in this format.
        Exception: whatever ``check`` raises.
    """
    target = Path(path)

    def write(temporary: Path) -> Any:
        _write(model, temporary, target)
        return check(temporary)

    return targets.checked_write(
        target, lambda: check_model_target(target, overwrite=overwrite), write, target.suffix.lower()
    )


def check_model_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a target that `save` could not write, before any work is done for it.

    Returns:
        The path behind all links.

    Raises:
        UsageError: with the reason.
    """
    check_model_suffix(path)
    return targets.check_target(path, overwrite=overwrite)


def _write(model: keras.Model, temporary: Path, target: Path) -> None:
    # Keras takes the optimizer out of the model's own settings when it writes .h5; a later .keras would lack it.
    settings = getattr(getattr(model, "_compile_config", None), "config", None)
    before = dict(settings or {})
    write = _write_archive if temporary.suffix == ".keras" else _write_hdf5
    try:
        with quiet():
            write(model, temporary)
    except OSError:
        raise
    except Exception as error:
        name = targets.shown(target)
        raise OctconvertError(f"{name}: Keras can not save this model in this format: {one_line(error)}") from error
    finally:
        if settings:
            settings.update(before)


# HDF5 ends the process with a segmentation fault when the disk is full, so it only writes to memory.


def _write_hdf5(model: keras.Model, path: Path) -> None:
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        legacy_h5_format.save_model_to_hdf5(model, file)
        if OPTIMIZER in file:  # Keras 3.15 would build the optimizer for no weights at all when it loads the file
            del file[OPTIMIZER]
    with open(path, "xb") as file:
        file.write(image.getbuffer())


def _write_archive(model: keras.Model, path: Path) -> None:
    # Where memory is short Keras lets HDF5 write beside a file that has a name; an open descriptor has none.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    with os.fdopen(descriptor, "w+b") as file, with_fresh_state(model):
        saving_lib.save_model(model, file)
