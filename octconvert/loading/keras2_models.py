"""Models of Keras 2 in memory: of the package tf_keras, or of TensorFlow up to 2.15."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from octconvert.errors import InputError, one_line
from octconvert.loading.reading import Loaded, read
from octconvert.system.quiet import quiet
from octconvert.system.temporaries import new_folder


def is_keras2(model: Any) -> bool:
    """Whether it is a model of Keras 2, whose classes are not those of Keras 3."""
    return any(base.__module__.split(".")[0] == "tf_keras" and base.__name__ == "Model" for base in type(model).__mro__)


def from_keras2(model: Any, *, custom_objects: Mapping[str, Any] | None = None) -> Loaded:
    """The same model in Keras 3, through a temporary file. Code in that file is the model's own, which runs already.

    Raises:
        InputError: Keras 2 can not save it, or it can not be read from there; the message names the model.
    """
    name = f"model '{getattr(model, 'name', '?')}' of Keras 2"
    with new_folder() as directory:
        path = directory / "model.h5"
        try:
            with quiet():
                model.save(path, save_format="h5", include_optimizer=True)
        except Exception as error:
            raise InputError(f"{name}: can not be saved as .h5 ({one_line(error)})") from error
        try:
            loaded = read(path, unsafe=True, custom_objects=custom_objects)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error
    note = "the model of Keras 2 was converted to Keras 3."
    return replace(loaded, path=Path(), kind="memory", repairs=(note, *loaded.repairs))
