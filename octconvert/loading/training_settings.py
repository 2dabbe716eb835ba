"""The training settings of a file: optimizer, loss and metrics, as far as Keras 3 can restore them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import keras

from octconvert.errors import one_line
from octconvert.loading import trust
from octconvert.loading.context import LoadingContext
from octconvert.loading.repairs.layer_arguments import accepted_arguments

# Metrics whose meaning depends on the loss; Keras determines it when it compiles.
DEPENDENT_METRICS = {"accuracy", "acc", "crossentropy", "ce"}
SCALED = "LossScaleOptimizer"
RENAMED_CLASSES = {"LossScaleOptimizerV1": SCALED, "LossScaleOptimizerV3": SCALED}
RENAMED_ARGUMENTS = {"lr": "learning_rate"}
# Arguments of old optimizers, losses and metrics without an effect on what they compute.
WITHOUT_EFFECT = {"jit_compile", "is_legacy_optimizer", "schedule_decay", "fn", "dynamic"}
# (argument, old value) -> present value.
RENAMED_VALUES = {("reduction", "auto"): "sum_over_batch_size"}
SCHEDULES = keras.optimizers.schedules


def restore(model: keras.Model, settings: str | bytes | Mapping[str, Any], context: LoadingContext) -> None:
    """Compiles ``model`` with the settings of its file; the notes say what could not be restored, and why.

    The state of the optimizer is not restored: it is of no use for a model whose weights will change.

    Args:
        model: The model, changed in place.
        settings: Of an .h5 file (JSON, the optimizer under ``optimizer_config``) or of a .keras file.
        context: Of the file.
    """
    try:
        known = json.loads(settings) if isinstance(settings, str | bytes) else settings
        if known.get("optimizer", known.get("optimizer_config")) is None and known.get("loss") is None:
            return
        loss = _restored(known.get("loss"), keras.losses, "loss", context)
        optimizer = _optimizer(known.get("optimizer", known.get("optimizer_config")), context)
        metrics = {key: _metrics(known.get(key), model, context) for key in ("metrics", "weighted_metrics")}
        model.compile(optimizer, loss, loss_weights=_by_output(known.get("loss_weights"), context), **metrics)
    except Exception as error:
        context.notes.add(f"the training settings could not be restored ({one_line(error)}); the model is not compiled")


def _optimizer(value: Any, context: LoadingContext) -> Any:
    """The optimizer, or Keras' default and a note if it can not be restored: losses and metrics do not need it."""
    try:
        return _restored(value, keras.optimizers, "optimizer", context) or "rmsprop"
    except Exception as error:
        context.notes.add(
            f"the optimizer could not be restored ({one_line(error)}); compile the model again before training"
        )
        return "rmsprop"


def _metrics(value: Any, model: keras.Model, context: LoadingContext) -> Any:
    """The metrics that can be restored; in a list with one entry per output every output keeps its entry."""
    if isinstance(value, dict) and "class_name" not in value:
        return {context.renamed.get(key, key): _of_one_output(item, model, context) for key, item in value.items()}
    if not isinstance(value, list):
        return _metric(value, model, context)
    metrics = [_of_one_output(item, model, context) for item in value]
    return metrics if len(value) == len(model.outputs) > 1 else [item for item in metrics if item is not None]


def _of_one_output(value: Any, model: keras.Model, context: LoadingContext) -> Any:
    if isinstance(value, list):
        metrics = [_metric(item, model, context) for item in value]
        return [item for item in metrics if item is not None]
    return _metric(value, model, context)


def _metric(value: Any, model: keras.Model, context: LoadingContext) -> Any:
    try:
        return _restored(_unwrapped(value, model, context), keras.metrics, "metrics", context)
    except Exception as error:
        context.notes.add(f"a metric could not be restored ({one_line(error)}) and was left out")
        return None


def _unwrapped(value: Any, model: keras.Model, context: LoadingContext) -> Any:
    """The metric as the user named it: tf.keras wrote the class that "mae" became, and prefixed the output's name."""
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict) or context.version > 2:
        return value
    config = dict(value["config"])
    if len(model.outputs) > 1:
        for output in model.output_names:
            config["name"] = str(config.get("name")).removeprefix(f"{output}_")
    if value.get("class_name") != "MeanMetricWrapper":
        return {**value, "config": config}
    name, function = config.get("name"), config.get("fn")
    return (
        name
        if name in DEPENDENT_METRICS or name in context.custom_objects or _is_known(keras.metrics.get, name)
        else function
    )


# -- objects -----------------------------------------------------------------------------------------------------------


def _restored(value: Any, kind: Any, key: str, context: LoadingContext) -> Any:
    """The objects of one setting, in the present form.

    Raises:
        ValueError: An object is unknown or unsafe, or has an unknown argument with an effect.
    """
    current = _current_form(value, context)
    reason = trust.reason_against({key: current}, context)
    if reason is not None:
        raise ValueError(reason)
    with keras.saving.CustomObjectScope(context.custom_objects):
        return _resolved(current, kind, context)


def _resolved(value: Any, kind: Any, context: LoadingContext) -> Any:
    """Objects for settings that are stored as dicts; names that Keras knows stay names.

    Keras' own reader of these settings fails for short names like "mse".
    """
    if isinstance(value, str):
        if value in context.custom_objects:
            return context.custom_objects[value]
        if value not in DEPENDENT_METRICS and not _is_known(kind.get, value):
            raise ValueError(f"'{value}' is unknown in {kind.__name__.removeprefix('keras.api.')}")
        return value
    if isinstance(value, dict) and "class_name" in value:
        return kind.deserialize(value)
    if isinstance(value, dict):
        return {context.renamed.get(key, key): _resolved(item, kind, context) for key, item in value.items()}
    return [_resolved(item, kind, context) for item in value] if isinstance(value, list) else value


def _is_known(get: Callable[[str], Any], name: Any) -> bool:
    try:
        return isinstance(name, str) and get(name) is not None
    except Exception:
        return False


def _by_output(value: Any, context: LoadingContext) -> Any:
    return {context.renamed.get(key, key): item for key, item in value.items()} if isinstance(value, dict) else value


def _current_form(value: Any, context: LoadingContext) -> Any:
    """A setting and all inside it with present names of classes and arguments, without those that have no effect."""
    if isinstance(value, list):
        return [_current_form(item, context) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _current_form(item, context) for key, item in value.items()}
    if value["class_name"] == "function" and isinstance(value.get("config"), str):
        return value["config"]
    name = str(value["class_name"]).removeprefix("Custom>")
    name = RENAMED_CLASSES.get(name, name)
    custom = {value["class_name"], name, value.get("registered_name")} & set(context.custom_objects)
    kind = None if custom else _keras_class(name)
    if kind is None or not isinstance(value.get("config"), dict):
        return value
    # Without the old module: some of these do not exist any more, and the name alone is unique.
    module = _module_of(kind)
    config = {RENAMED_ARGUMENTS.get(key, key): _current_form(item, context) for key, item in value["config"].items()}
    return {"module": module, "class_name": name, "config": _current_arguments(kind, config), "registered_name": None}


def _keras_class(name: str) -> type | None:
    for module in (keras.optimizers, keras.losses, keras.metrics, SCHEDULES):
        kind = getattr(module, name, None)
        if isinstance(kind, type):
            return kind
    return None


def _module_of(kind: type) -> str:
    if issubclass(kind, SCHEDULES.LearningRateSchedule):
        return "keras.optimizers.schedules"
    modules = {keras.optimizers.Optimizer: "optimizers", keras.losses.Loss: "losses", keras.metrics.Metric: "metrics"}
    return next(f"keras.{name}" for base, name in modules.items() if issubclass(kind, base))


def _current_arguments(kind: type, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the class accepts now; others are dropped if they have no effect.

    Raises:
        ValueError: An argument is unknown and has an effect.
    """
    decay = config.pop("decay", None)
    if decay and isinstance(config.get("learning_rate"), int | float):
        config["learning_rate"] = _decaying(config["learning_rate"], decay)
        decay = None
    known = accepted_arguments(kind)
    result = {}
    for key, value in config.items():
        if key in known and value is None and key in ("epsilon", "name"):
            continue  # the default
        if key in known:
            result[key] = RENAMED_VALUES.get((key, value), value) if isinstance(value, str) else value
        elif value and key not in WITHOUT_EFFECT:
            raise ValueError(f"{kind.__name__} has the argument {key}={value!r}, which Keras 3 does not know")
    if decay:
        raise ValueError(f"{kind.__name__} has the argument decay={decay!r} and a schedule")
    return result


def _decaying(rate: float, decay: float) -> dict[str, Any]:
    """Keras 2: rate / (1 + decay * step)."""
    config = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
    return {
        "module": "keras.optimizers.schedules",
        "class_name": "InverseTimeDecay",
        "config": config,
        "registered_name": None,
    }
