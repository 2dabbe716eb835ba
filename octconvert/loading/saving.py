"""Saves a model: beside the target, checked there, and only then moved to the target."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib

from octconvert.errors import OctconvertError, UsageError, one_line
from octconvert.system import targets
from octconvert.system.quiet import quiet

SUFFIXES = (".keras", ".h5", ".hdf5")


def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Saves ``model`` to ``path`` in the format of its suffix (.keras, .h5 or .hdf5).

    The file is written under a temporary name beside the target, ``check`` is called with that name, and then it
    replaces the target in one step. After any error an existing file is unchanged and nothing is left behind.

    Raises:
        UsageError: The suffix is unknown, the target exists and must not be overwritten, or it can not be written.
        OctconvertError: Keras could not save this model in this format.
        Exception: Whatever ``check`` raises.
    """
    target = Path(path)
    resolved = check_target(target, overwrite=overwrite)
    with targets.beside(resolved, target.suffix.lower()) as temporary:
        _write(model, temporary, target)
        if check is not None:
            check(temporary)
        check_target(target, overwrite=overwrite)  # it may have been created meanwhile
        try:
            targets.put_in_place(temporary, resolved)
        except OSError as error:
            raise targets.can_not_be_written(target, error) from error


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuses a target that :func:`save` could not write, before any long work.

    Returns:
        The path behind all links.

    Raises:
        UsageError: With the reason.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in SUFFIXES:
        ending = targets.shown(suffix)
        raise UsageError(f"{targets.shown(path)}: the suffix must be .keras, .h5 or .hdf5; received '{ending}'")
    return targets.check_target(path, overwrite=overwrite)


def _write(model: keras.Model, temporary: Path, target: Path) -> None:
    # Keras removes the optimizer from the model's settings when it writes .h5; a later .keras would not have it.
    settings = getattr(getattr(model, "_compile_config", None), "config", None)
    before = dict(settings or {})
    write = _write_archive if temporary.suffix == ".keras" else _write_hdf5
    try:
        with quiet():
            write(model, temporary)
    except OSError as error:
        raise targets.can_not_be_written(target, error) from error
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
    with open(path, "xb") as file:
        file.write(image.getbuffer())


def _write_archive(model: keras.Model, path: Path) -> None:
    # With little memory Keras lets HDF5 write beside a file that has a name; an open descriptor has none.
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), "w+b") as file:
        saving_lib.save_model(model, file)
