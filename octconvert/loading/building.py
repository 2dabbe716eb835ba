"""Step 4 of reading: Keras builds the model from the repaired configuration, and its weights are set."""

from __future__ import annotations

import zipfile
from typing import IO, Any

import keras
from keras.src.legacy.saving import saving_options, saving_utils
from keras.src.saving import saving_lib, serialization_lib

from octconvert.errors import InputError, OctconvertError, one_line
from octconvert.loading import h5_weights, keras_archive, multi_axis_layers, training_settings
from octconvert.loading.configuration import RepairedConfiguration
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record


def build(configuration: RepairedConfiguration) -> keras.Model:
    """The model with the weights of its file, compiled if its training settings can be restored.

    Raises:
        InputError: Keras can not build it, or the weights do not fit its architecture.
    """
    if configuration.file.kind == "h5":
        return _build_from_h5(configuration)
    return _build_from_archive(configuration)


def _build_from_h5(configuration: RepairedConfiguration) -> keras.Model:
    context = configuration.context
    model = _from_record(configuration.record, context)
    h5_weights.assign(configuration.file, model, context)
    for layer in model._flatten_layers():
        if layer.weights and callable(getattr(layer, "finalize_state", None)):
            layer.finalize_state()  # Normalization keeps numbers that follow from its weights
    if configuration.training_settings is not None:
        training_settings.restore(model, configuration.training_settings, context)
    return model


def _from_record(record: Record, context: LoadingContext) -> keras.Model:
    legacy = saving_options.keras_option_scope(use_legacy_config=True)
    safe = serialization_lib.SafeModeScope(not context.unsafe)
    try:
        with legacy, safe, keras.saving.CustomObjectScope(context.custom_objects):
            known = {**context.custom_objects, **multi_axis_layers.hide_axes(record, context)}
            model = saving_utils.model_from_config(record, custom_objects=known)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{context.path}: Keras can not build this model: {one_line(error)}") from error
    if not isinstance(model, keras.Model):
        context.refuse(f"contains a {type(model).__name__}, not a model; save the complete model")
    return model


def _build_from_archive(configuration: RepairedConfiguration) -> keras.Model:
    file, context = configuration.file, configuration.context
    try:
        with _open_for_keras(configuration) as stream:
            file.fingerprint.check(file.path)
            model = _load(stream, configuration.training_settings, context)
            file.fingerprint.check(file.path)
    except (zipfile.BadZipFile, OSError) as error:
        context.refuse(f"is a damaged or incomplete .keras file ({one_line(error)}); download or save it again")
    keras_archive.check_order(model, configuration.record, context)
    return model


def _open_for_keras(configuration: RepairedConfiguration) -> IO[bytes]:
    """The archive as it is, or a copy in memory with the repaired configuration."""
    file, saved = configuration.file, configuration.source.record
    if file.extra_members or file.old_weight_paths or configuration.record != saved:
        return keras_archive.rewritten(saved, configuration.record, configuration.context)
    return open(file.path, "rb")


def _load(stream: IO[bytes], settings: Any, context: LoadingContext) -> keras.Model:
    def attempt(compiled: bool) -> keras.Model:
        stream.seek(0)
        return saving_lib.load_model(stream, context.custom_objects, compiled, safe_mode=not context.unsafe)

    if context.version >= 3:
        try:
            return attempt(True)  # with the state of the optimizer
        except OctconvertError:
            raise
        except Exception:  # perhaps because of the training settings; the attempt without them shows its own reason
            pass
    try:
        model = attempt(False)
    except OctconvertError:
        raise
    except Exception as error:
        raise InputError(f"{context.path}: Keras can not load this model: {one_line(error)}") from error
    if isinstance(settings, dict):
        training_settings.restore(model, settings, context)
    return model
