"""Step 2 of reading: the architecture of an inspected file is decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from keras.src.legacy.saving import json_utils

from octconvert.errors import one_line
from octconvert.loading import h5_weights
from octconvert.loading.context import LoadingContext, ReadOptions
from octconvert.loading.inspection import InspectedFile
from octconvert.loading.records import Record


@dataclass(frozen=True)
class Configuration:
    """The configuration of a file, as it was saved.

    Attributes:
        file: The inspected file.
        record: The record of the whole model.
        training_settings: Optimizer, loss and metrics: JSON text of an .h5 file, a dict of a .keras file, or None.
        context: What the following steps need to know about the file.
    """

    file: InspectedFile
    record: Record
    training_settings: Any
    context: LoadingContext


@dataclass(frozen=True)
class RepairedConfiguration:
    """The configuration that Keras 3 builds the model from.

    Attributes:
        source: The configuration as it was saved.
        record: The record of the whole model, repaired and checked.
        training_settings: As in `Configuration`, without settings that are not trusted.
    """

    source: Configuration
    record: Record
    training_settings: Any

    @property
    def file(self) -> InspectedFile:
        return self.source.file

    @property
    def context(self) -> LoadingContext:
        return self.source.context


def decode(file: InspectedFile, options: ReadOptions) -> Configuration:
    """Decodes the architecture.

    Raises:
        InputError: It is not JSON, or not the graph of a model.
    """
    major, minor = _release(file.keras_version)
    if file.kind == "keras":
        context = LoadingContext(file.path, major, minor, options)
        record = _record(file, context)
        return Configuration(file, record, record.get("compile_config"), context)
    context = LoadingContext(
        file.path,
        major,
        minor,
        options,
        theano=h5_weights.is_from_theano(file),
        weight_shapes=h5_weights.stored_shapes(file),
    )
    return Configuration(file, _record(file, context), file.training_settings, context)


def _release(version: str | None) -> tuple[int, int]:
    """Major and minor version; a file that states none was written by Keras 1."""
    parts = [*(version or "1").split("."), "0"]
    major, minor = (int(part) if part.isdigit() else None for part in parts[:2])
    return (1 if major is None else major), minor or 0


def _record(file: InspectedFile, context: LoadingContext) -> Record:
    try:
        record = json.loads(file.architecture) if file.kind == "keras" else json_utils.decode(file.architecture)
    except (ValueError, RecursionError) as error:
        context.refuse(f"has an unreadable architecture ({one_line(error)}); download or save it again")
    if not isinstance(record, dict) or "class_name" not in record or not isinstance(record.get("config"), dict | list):
        context.refuse("has an architecture that Keras has not written; save the complete model again")
    if "layers" not in record["config"] and isinstance(record["config"], dict):
        kind = record["class_name"]
        context.refuse(
            f"contains a subclassed model ('{kind}') without a graph of layers; load it in Python with its class, and "
            "pass the model to octconvert.convert"
        )
    return record
