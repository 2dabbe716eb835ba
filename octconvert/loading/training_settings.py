"""The training settings of a file: optimizer, loss and metrics, as far as Keras 3 still knows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import keras

from octconvert.errors import one_line
from octconvert.loading import trust
from octconvert.loading.configuration import Job
from octconvert.loading.repairs.layer_arguments import accepted

# Metrics whose meaning depends on the loss; Keras finds it when it compiles.
SHORT = {"accuracy", "acc", "crossentropy", "ce"}
SCALED = "LossScaleOptimizer"
CLASSES = {"LossScaleOptimizerV1": SCALED, "LossScaleOptimizerV3": SCALED}
RENAMED = {"lr": "learning_rate"}
# Arguments of old optimizers, losses and metrics that say nothing about what they compute.
IDLE = {"jit_compile", "is_legacy_optimizer", "schedule_decay", "fn", "dynamic"}
# Arguments whose old value has another name today.
VALUES = {("reduction", "auto"): "sum_over_batch_size"}
SCHEDULES = keras.optimizers.schedules


def restore(model: Any, settings: str | bytes | Mapping[str, Any], job: Job) -> None:
    """Compiles ``model`` as the file says; the notes say what could not be restored, and why.

    The optimizer starts afresh: its state is of no use to a model whose weights are about to change.

    Args:
        settings: Those of an .h5 file (JSON, the optimizer under ``optimizer_config``) or of a .keras file.
    """
    try:
        known = json.loads(settings) if isinstance(settings, str | bytes) else settings
        if known.get("optimizer", known.get("optimizer_config")) is None and known.get("loss") is None:
            return
        loss = _part(known.get("loss"), keras.losses, "loss", job)
        optimizer = _optimizer(known.get("optimizer", known.get("optimizer_config")), job)
        metrics = {key: _metrics(known.get(key), model, job) for key in ("metrics", "weighted_metrics")}
        model.compile(optimizer, loss, loss_weights=_by_output(known.get("loss_weights"), job), **metrics)
    except Exception as error:
        job.notes.add(f"the training settings could not be restored ({one_line(error)}); the model is not compiled")


def _optimizer(value: Any, job: Job) -> Any:
    """The optimizer; Keras' default one, with a note, where it can not be made: losses and metrics do not need it."""
    try:
        return _part(value, keras.optimizers, "optimizer", job) or "rmsprop"
    except Exception as error:
        job.notes.add(
            f"the optimizer could not be restored ({one_line(error)}); compile the model anew before you train it"
        )
        return "rmsprop"


def _metrics(value: Any, model: Any, job: Job) -> Any:
    """The metrics, without those that can not be made; where they go by outputs, every output keeps its place."""
    if isinstance(value, dict) and "class_name" not in value:
        return {job.renamed.get(key, key): _of_one_output(item, model, job) for key, item in value.items()}
    if not isinstance(value, list):
        return _metric(value, model, job)
    made = [_of_one_output(item, model, job) for item in value]
    return made if len(value) == len(model.outputs) > 1 else [item for item in made if item is not None]


def _of_one_output(value: Any, model: Any, job: Job) -> Any:
    if isinstance(value, list):
        made = [_metric(item, model, job) for item in value]
        return [item for item in made if item is not None]
    return _metric(value, model, job)


def _metric(value: Any, model: Any, job: Job) -> Any:
    try:
        return _part(_unwrapped(value, model, job), keras.metrics, "metrics", job)
    except Exception as error:
        job.notes.add(f"a metric could not be restored ({one_line(error)}) and was left out")
        return None


def _unwrapped(value: Any, model: Any, job: Job) -> Any:
    """The metric as it was named: tf.keras wrote what it had made of "mae", and the output's name in front of it."""
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict) or job.version > 2:
        return value
    config = dict(value["config"])
    if len(model.outputs) > 1:
        for output in model.output_names:
            config["name"] = str(config.get("name")).removeprefix(f"{output}_")
    if value.get("class_name") != "MeanMetricWrapper":
        return {**value, "config": config}
    name, function = config.get("name"), config.get("fn")
    return name if name in SHORT or name in job.custom_objects or _is_known(keras.metrics.get, name) else function


# -- objects -----------------------------------------------------------------------------------------------------------


def _part(value: Any, kind: Any, key: str, job: Job) -> Any:
    """What one setting describes, in today's form.

    Raises:
        ValueError: It is unknown, has an argument that is unknown and changes something, or must not be trusted.
    """
    today = _today(value, job)
    reason = trust.reason_against({key: today}, job)
    if reason is not None:
        raise ValueError(reason)
    with keras.saving.CustomObjectScope(job.custom_objects):
        return _resolved(today, kind, job)


def _resolved(value: Any, kind: Any, job: Job) -> Any:
    """Objects for the settings that are stored as dicts; names stay names, once Keras is known to know them.

    Keras' own reader of these settings fails on short names like "mse".
    """
    if isinstance(value, str):
        if value in job.custom_objects:
            return job.custom_objects[value]
        if value not in SHORT and not _is_known(kind.get, value):
            raise ValueError(f"'{value}' is unknown in {kind.__name__.removeprefix('keras.api.')}")
        return value
    if isinstance(value, dict) and "class_name" in value:
        return kind.deserialize(value)
    if isinstance(value, dict):
        return {job.renamed.get(key, key): _resolved(item, kind, job) for key, item in value.items()}
    return [_resolved(item, kind, job) for item in value] if isinstance(value, list) else value


def _is_known(get: Callable[[str], Any], name: Any) -> bool:
    try:
        return isinstance(name, str) and get(name) is not None
    except Exception:
        return False


def _by_output(value: Any, job: Job) -> Any:
    return {job.renamed.get(key, key): item for key, item in value.items()} if isinstance(value, dict) else value


def _today(value: Any, job: Job) -> Any:
    """Today's form of a setting and of all inside it: names of classes and of arguments, and no idle ones."""
    if isinstance(value, list):
        return [_today(item, job) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _today(item, job) for key, item in value.items()}
    if value["class_name"] == "function" and isinstance(value.get("config"), str):
        return value["config"]
    name = str(value["class_name"]).removeprefix("Custom>")
    name = CLASSES.get(name, name)
    own = {value["class_name"], name, value.get("registered_name")} & set(job.custom_objects)
    found = None if own else _keras_class(name)
    if found is None or not isinstance(value.get("config"), dict):
        return value
    # Without the old module: some of them are gone, and the name alone is known.
    module = _module_of(found)
    config = {RENAMED.get(key, key): _today(item, job) for key, item in value["config"].items()}
    return {"module": module, "class_name": name, "config": _arguments(found, config), "registered_name": None}


def _keras_class(name: str) -> type | None:
    for place in (keras.optimizers, keras.losses, keras.metrics, SCHEDULES):
        found = getattr(place, name, None)
        if isinstance(found, type):
            return found
    return None


def _module_of(found: type) -> str:
    if issubclass(found, SCHEDULES.LearningRateSchedule):
        return "keras.optimizers.schedules"
    kinds = {keras.optimizers.Optimizer: "optimizers", keras.losses.Loss: "losses", keras.metrics.Metric: "metrics"}
    return next(f"keras.{place}" for base, place in kinds.items() if issubclass(found, base))


def _arguments(found: type, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the class takes today; of those it does not take, the ones that would do nothing go.

    Raises:
        ValueError: An argument is unknown and would do something.
    """
    decay = config.pop("decay", None)
    if decay and isinstance(config.get("learning_rate"), int | float):
        config["learning_rate"] = _decaying(config["learning_rate"], decay)
        decay = None
    known = accepted(found)
    kept = {}
    for key, value in config.items():
        if key in known and value is None and key in ("epsilon", "name"):
            continue  # the default
        if key in known:
            kept[key] = VALUES.get((key, value), value) if isinstance(value, str) else value
        elif value and key not in IDLE:
            raise ValueError(f"{found.__name__} has the argument {key}={value!r}, which Keras 3 does not know")
    if decay:
        raise ValueError(f"{found.__name__} has the argument decay={decay!r} beside a schedule")
    return kept


def _decaying(rate: float, decay: float) -> dict[str, Any]:
    """Keras 2: rate / (1 + decay * step)."""
    config = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
    return {
        "module": "keras.optimizers.schedules",
        "class_name": "InverseTimeDecay",
        "config": config,
        "registered_name": None,
    }
