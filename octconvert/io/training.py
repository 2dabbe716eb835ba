"""The training settings of an .h5 file: optimizer, loss and metrics, if Keras 3 still knows them."""

from __future__ import annotations

import inspect
import json
from typing import Any

import keras
from keras.src.legacy.saving import saving_utils

from octconvert.io.text import one_line
from octconvert.io.tree import Job

RENAMED = {"lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2"}


def restore(model: Any, told: str | bytes, job: Job) -> None:
    """Compiles ``model`` as the file says; says why in the notes if that is not possible.

    The optimizer starts afresh: its state is of no use to a model whose weights are about to change.
    """
    try:
        settings = json.loads(told)
        _optimizer(settings["optimizer_config"])
        settings.setdefault("loss_weights", None)
        with keras.saving.CustomObjectScope(job.custom_objects):
            model.compile(**saving_utils.compile_args_from_training_config(settings, job.custom_objects))
    except Exception as error:
        job.notes.add(f"the training settings could not be restored ({one_line(error)}); the model is not compiled")


def _optimizer(config: dict[str, Any]) -> None:
    """Renames an old optimizer's arguments and drops those that are switched off and unknown today."""
    inner = config.get("config", {})
    for old, new in RENAMED.items():
        if old in inner:
            inner[new] = inner.pop(old)
    optimizer = getattr(keras.optimizers, str(config.get("class_name")), None)
    if optimizer is None:
        return
    known = set(inspect.signature(optimizer.__init__).parameters)
    for key in [key for key in inner if key not in known]:
        if not inner[key] or key in ("schedule_decay", "jit_compile", "is_legacy_optimizer", "name"):
            del inner[key]
