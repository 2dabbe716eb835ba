"""Reading a model of any Keras since 1.2: the configuration is repaired in memory, then Keras 3 builds from it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import keras
from keras.src.legacy.saving import json_utils, saving_options, saving_utils
from keras.src.saving import saving_lib, serialization_lib

from octconvert.errors import InputError, OctconvertError, UsageError, one_line
from octconvert.loading import (
    h5_weights,
    inspection,
    keras_archive,
    multi_axis_layers,
    size_limits,
    training_settings,
    trust,
)
from octconvert.loading.configuration import Job, Record
from octconvert.loading.inspection import Contents
from octconvert.loading.repairs import changed_functions, inbound_nodes, keras1, layer_arguments, model_structure
from octconvert.loading.tensorflow import translation
from octconvert.system.quiet import quiet


@dataclass(frozen=True)
class Loaded:
    """A model as it was read.

    Attributes:
        model: The Keras model, compiled if the file says how and Keras can restore it.
        path: Where it came from.
        kind: ``"keras"`` or ``"h5"``, by content.
        repairs: One plain sentence for each kind of change the configuration needed.
    """

    model: Any
    path: Path
    kind: str
    repairs: tuple[str, ...]


def load(
    path: str | os.PathLike,
    *,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    input_shape: tuple | None = None,
) -> Any:
    """The model of :func:`read`, which tells the arguments and the errors."""
    return read(path, unsafe=unsafe, custom_objects=custom_objects, input_shape=input_shape).model


def read(
    path: str | os.PathLike,
    *,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    input_shape: tuple | None = None,
) -> Loaded:
    """Loads a whole Keras model, of Keras 1.2 to Keras 3; the file itself is never touched.

    Args:
        path: A .keras or HDF5 file, whatever its name.
        unsafe: Allow Lambda layers, whose Python code is in the file.
        custom_objects: The user's own classes and functions by name.
        input_shape: (rows, columns, channels) for a Sequential that was saved without an input shape.

    Raises:
        InputError: The file is no whole Keras model or can not be loaded; one line says why and what to do.
        UsageError: ``input_shape`` is no shape.
    """
    place = Path(path)
    _check_shape(input_shape)
    contents = inspection.inspect(place)
    major, minor = _release(contents.version)
    job = Job(place, major, unsafe, dict(custom_objects or {}), input_shape, minor=minor)
    try:
        safe = serialization_lib.SafeModeScope(not job.unsafe)  # around everything that is made from the file
        with quiet(), safe, size_limits.bounded_variables(contents.elements, job):
            model = _read_h5(contents, job) if contents.kind == "h5" else _read_keras(contents, job)
        _check_promises(model, job)
    except OctconvertError:
        raise
    except Exception as error:  # a configuration that is broken in a way nobody thought of
        raise InputError(
            f"{place}: has an architecture that can not be read ({one_line(error)}); save the model again"
        ) from error
    return Loaded(model, place, contents.kind, job.notes.sentences())


def _check_shape(shape: tuple | None) -> None:
    if shape is not None and not all(n is None or (isinstance(n, int) and n > 0) for n in shape):
        raise UsageError(f"the input shape {tuple(shape)} is none; give positive numbers: rows, columns, channels")


# -- HDF5 --------------------------------------------------------------------------------------------------------------


def _read_h5(contents: Contents, job: Job) -> Any:
    record = _record(contents.config, json_utils.decode, job)
    job.theano, job.stored = h5_weights.from_theano(contents), h5_weights.stored_shapes(contents)
    repair(record, job)
    model = _build(record, job)
    h5_weights.put(contents, model, job)
    for layer in model._flatten_layers():
        if layer.weights and callable(getattr(layer, "finalize_state", None)):
            layer.finalize_state()  # Normalization keeps numbers that follow from its weights
    if contents.training is not None:
        training_settings.restore(model, contents.training, job)
    return model


def _build(record: Record, job: Job) -> Any:
    legacy = saving_options.keras_option_scope(use_legacy_config=True)
    safe = serialization_lib.SafeModeScope(not job.unsafe)
    try:
        with legacy, safe, keras.saving.CustomObjectScope(job.custom_objects):
            known = {**job.custom_objects, **multi_axis_layers.keep(record, job)}
            model = saving_utils.model_from_config(record, custom_objects=known)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{job.path}: Keras can not build this model: {one_line(error)}") from error
    if not isinstance(model, keras.Model):
        job.refuse(f"holds a {type(model).__name__} and no model; save the whole model")
    return model


# -- .keras ------------------------------------------------------------------------------------------------------------


def _read_keras(contents: Contents, job: Job) -> Any:
    record = _record(contents.config, json.loads, job)
    settings = record.get("compile_config")
    if job.version < 3:
        keras_archive.modernise(record)
    repair(record, job)
    if job.version >= 3:
        settings = record.get("compile_config")  # what is not trusted was taken out
    try:
        with _opened(contents, record, job) as stream:
            contents.stamp.check(job.path)
            model = _load_keras(stream, settings, job)
            contents.stamp.check(job.path)
    except (zipfile.BadZipFile, OSError) as error:
        job.refuse(f"is a damaged or incomplete .keras file ({one_line(error)}); download or save it again")
    keras_archive.check_order(model, record, job)
    return model


def _opened(contents: Contents, record: Record, job: Job) -> IO[bytes]:
    """The archive for Keras: as it is, or with what had to be repaired."""
    old = json.loads(contents.config)
    if contents.extra or contents.old or record != old:
        return keras_archive.rewritten(job, old, record)
    return open(job.path, "rb")


def _load_keras(stream: IO[bytes], settings: Any, job: Job) -> Any:
    def attempt(compiled: bool) -> Any:
        stream.seek(0)
        return saving_lib.load_model(stream, job.custom_objects, compiled, safe_mode=not job.unsafe)

    if job.version >= 3:
        try:
            return attempt(True)  # with the state of the optimizer
        except OctconvertError:
            raise
        except Exception:  # the training settings, perhaps; without them its own reason is known
            pass
    try:
        model = attempt(False)
    except OctconvertError:
        raise
    except Exception as error:
        raise InputError(f"{job.path}: Keras can not load this model: {one_line(error)}") from error
    if isinstance(settings, dict):
        training_settings.restore(model, settings, job)
    return model


# -- both --------------------------------------------------------------------------------------------------------------


def repair(record: Record, job: Job) -> None:
    """All repairs of a configuration, in the order they build on each other; in place.

    Raises:
        InputError: Something can not be repaired, or must not be without the user's word.
    """
    model_structure.straighten(record, job)
    if job.version < 2:
        keras1.translate(record, job)
    model_structure.shape(record, job)
    if job.version < 3:
        inbound_nodes.renumber(record)
        inbound_nodes.revive(record)
        changed_functions.keep_hard_sigmoid(record, job)
    if job.theano:
        changed_functions.keep_theano_padding(record, job)
    model_structure.rename(record, job)
    size_limits.check_sizes(record, job)
    trust.check(record, job)
    layer_arguments.clean(record, job)
    translation.translate(record, job)
    trust.check_repaired(record, job)


def _record(text: str, decode: Callable[[str], Any], job: Job) -> Record:
    try:
        record = decode(text)
    except (ValueError, RecursionError) as error:
        job.refuse(f"has an unreadable architecture ({one_line(error)}); download or save it again")
    if not isinstance(record, dict) or "class_name" not in record or not isinstance(record.get("config"), dict | list):
        job.refuse("has an architecture that is none of Keras'; save the whole model again")
    if "layers" not in record["config"] and isinstance(record["config"], dict):
        job.refuse(f"holds a subclassed model ('{record['class_name']}') without a layer graph; rebuild it functional")
    return record


def _release(version: str | None) -> tuple[int, int]:
    """Major and minor version; a file that names none is of Keras 1."""
    parts = [*(version or "1").split("."), "0"]
    major, minor = (int(part) if part.isdigit() else None for part in parts[:2])
    return (1 if major is None else major), minor or 0


def _check_promises(model: Any, job: Job) -> None:
    """What could be told from the built model only."""
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name, shape in job.shapes.items():
        found = tuple(layers[job.renamed.get(name, name)].output.shape)
        if found[1:] != tuple(shape)[1:]:
            job.refuse(f"gave the shape {tuple(shape)} in Keras 1 and gives {found} in Keras 3", name)
