"""Writing a model: beside the target first, checked there, and only then put in its place."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib

from octconvert.errors import OctconvertError, UsageError, one_line
from octconvert.system import targets
from octconvert.system.quiet import quiet

SUFFIXES = (".keras", ".h5", ".hdf5")


def save(
    model: Any, path: str | os.PathLike, *, overwrite: bool = False, check: Callable[[Path], None] | None = None
) -> None:
    """Saves ``model`` to ``path`` in the format its ending names (.keras, .h5 or .hdf5).

    The file is written under another name beside the target, ``check`` is called with that name, and then it takes
    the target's place in one step. Whatever goes wrong, an existing file stays as it was and nothing is left behind.

    Raises:
        UsageError: The ending is unknown, the target exists and may not be overwritten, or it can not be written there.
        OctconvertError: Keras could not save this model in this format.
        Exception: Whatever ``check`` raises.
    """
    given = Path(path)
    place = check_target(given, overwrite=overwrite)
    with targets.beside(place, given.suffix.lower()) as temporary:
        _write(model, temporary, given)
        if check is not None:
            check(temporary)
        check_target(given, overwrite=overwrite)  # somebody may have been faster
        try:
            targets.put_in_place(temporary, place)
        except OSError as error:
            raise targets.can_not_be_written(given, error) from error


def check_target(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Refuses a target that :func:`save` could not write, before any work is done for it.

    Returns:
        The path behind all links.

    Raises:
        UsageError: With the reason.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in SUFFIXES:
        ending = targets.shown(suffix)
        raise UsageError(f"{targets.shown(path)}: unknown ending '{ending}'; name the file .keras, .h5 or .hdf5")
    return targets.check_target(path, overwrite=overwrite)


def _write(model: Any, temporary: Path, given: Path) -> None:
    # Keras takes the optimizer out of the model's own settings when it writes .h5; a later .keras would lack it.
    settings = getattr(getattr(model, "_compile_config", None), "config", None)
    before = dict(settings or {})
    write = _write_archive if temporary.suffix == ".keras" else _write_hdf5
    try:
        with quiet():
            write(model, temporary)
    except OSError as error:
        raise targets.can_not_be_written(given, error) from error
    except Exception as error:
        name = targets.shown(given)
        raise OctconvertError(f"{name}: Keras can not save this model in this format: {one_line(error)}") from error
    finally:
        if settings:
            settings.update(before)


# HDF5 ends the process by a segmentation fault where the disk is full, so it only ever writes into memory.


def _write_hdf5(model: Any, path: Path) -> None:
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        legacy_h5_format.save_model_to_hdf5(model, file)
    with open(path, "xb") as file:
        file.write(image.getbuffer())


def _write_archive(model: Any, path: Path) -> None:
    # Where memory is short Keras lets HDF5 write beside a file that has a name; an open descriptor has none.
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), "w+b") as file:
        saving_lib.save_model(model, file)
