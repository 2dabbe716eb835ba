"""The training settings of an .h5 file: optimizer, loss and metrics, if Keras 3 still knows them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import keras

from octconvert.io import trust
from octconvert.io.text import one_line
from octconvert.io.tree import Job

RENAMED = {"lr": "learning_rate"}
# Metrics whose meaning depends on the loss; Keras finds it when it compiles.
SHORT = {"accuracy", "acc", "crossentropy", "ce"}


def restore(model: Any, told: str | bytes, job: Job) -> None:
    """Compiles ``model`` as the file says; says why in the notes if that is not possible.

    The optimizer starts afresh: its state is of no use to a model whose weights are about to change.
    """
    try:
        settings = json.loads(told)
        optimizer_config = _optimizer(settings["optimizer_config"])
        _require_harmless({"optimizer": optimizer_config, "loss": settings.get("loss")}, job)
        with keras.saving.CustomObjectScope(job.custom_objects):
            optimizer = keras.optimizers.deserialize(optimizer_config)
            loss = _resolved(settings.get("loss"), keras.losses, job)
        metrics = {key: _metrics(settings.get(key), job) for key in ("metrics", "weighted_metrics")}
        model.compile(optimizer, loss, loss_weights=settings.get("loss_weights"), **metrics)
    except Exception as error:
        job.notes.add(f"the training settings could not be restored ({one_line(error)}); the model is not compiled")


def _metrics(told: Any, job: Job) -> Any:
    try:
        _require_harmless({"metrics": told}, job)
        with keras.saving.CustomObjectScope(job.custom_objects):
            return _resolved(told, keras.metrics, job)
    except Exception as error:
        job.notes.add(f"the metrics could not be restored ({one_line(error)}) and were left out")
        return None


def _require_harmless(settings: dict[str, Any], job: Job) -> None:
    reason = trust.reason_against(settings, job)
    if reason is not None:
        raise ValueError(reason)


def _resolved(told: Any, kind: Any, job: Job) -> Any:
    """Objects for the settings that are stored as dicts; names stay names, once Keras is known to know them.

    Keras' own reader of these settings fails on short names like "mse".
    """
    if isinstance(told, str):
        if told in job.custom_objects:
            return job.custom_objects[told]
        if told not in SHORT:
            _known(kind.get, told, kind)
        return told
    if isinstance(told, dict) and "class_name" in told:
        return kind.deserialize(told)
    if isinstance(told, dict):
        return {key: _resolved(value, kind, job) for key, value in told.items()}
    return [_resolved(value, kind, job) for value in told] if isinstance(told, list) else told


def _known(get: Callable[[str], Any], name: str, kind: Any) -> None:
    try:
        get(name)
    except Exception:
        raise ValueError(f"'{name}' is unknown in {kind.__name__.removeprefix('keras.api.')}") from None


def _optimizer(config: dict[str, Any]) -> dict[str, Any]:
    """Today's form of an optimizer: arguments renamed, and those dropped that are unknown and switched off."""
    inner = {RENAMED.get(key, key): value for key, value in config.get("config", {}).items()}
    name = str(config.get("class_name")).removeprefix("Custom>")
    optimizer = getattr(keras.optimizers, name, None)
    if optimizer is not None:
        known = set(inspect.signature(optimizer.__init__).parameters)
        off = ("schedule_decay", "jit_compile", "is_legacy_optimizer")
        inner = {key: value for key, value in inner.items() if key in known or (value and key not in off)}
    return {**config, "class_name": name, "config": inner}
