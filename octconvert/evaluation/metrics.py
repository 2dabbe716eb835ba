"""A name or function, the labels and the model's first output -> the metrics that are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np

from octconvert.errors import InputError, UsageError, one_line
from octconvert.evaluation.labels import VOID, LabelFacts, class_reader, flag_reader, misfit, value_reader
from octconvert.evaluation.outputs import OutputForm
from octconvert.evaluation.tallies import Gathered, Share, Streamed, Tally, area_under_curve, decibels
from octconvert.loading.custom_objects import parse_custom_object
from octconvert.results.report import DECIBELS, SHARE

Prepared: TypeAlias = tuple[np.ndarray, np.ndarray]
Prepare: TypeAlias = Callable[[np.ndarray, np.ndarray], Prepared]


@dataclass(frozen=True, eq=False)
class MeasuredMetric:
    """A metric that fits the labels and the outputs.

    Attributes:
        name, unit: as in `octconvert.results.report.Metric`.
        prepare: labels and outputs of a batch -> the same, as the tally takes them.
        tally: a new one.
    """

    name: str
    unit: str
    prepare: Prepare
    tally: Callable[[], Tally]


class Misfit(Exception):
    """The labels or the outputs are not what a metric takes; the message says why."""


def chosen_metrics(metric: Any, facts: LabelFacts, form: OutputForm, origin: str) -> tuple[MeasuredMetric, ...]:
    """The metrics that a user has chosen, or those that suit the labels and outputs.

    Args:
        metric: as in `octconvert.options.evaluation.EvaluationOptions`.
        origin: what messages call the data.

    Raises:
        InputError: the labels do not fit the model's output, or the metric.
        UsageError: the metric is no function that can be imported.
    """
    if metric is not None and not (isinstance(metric, str) and metric in _BUILDERS):
        return (_own(metric),)
    names = (metric,) if metric is not None else _suitable(facts, form)
    try:
        if not names:
            raise Misfit(misfit(facts, form))
        return tuple(_BUILDERS[name](facts, form) for name in names)
    except Misfit as error:
        raise InputError(f"{origin}: {error}") from None


def _suitable(facts: LabelFacts, form: OutputForm) -> tuple[str, ...]:
    """The names of the metrics that suit labels and outputs, the most usual one first; none where they do not fit."""
    if class_reader(facts, form) is not None:
        if len(form.shape) > 1:
            return "mean-iou", "pixel-accuracy"
        return ("accuracy", "auc") if form.is_single and facts.varies else ("accuracy",)
    if flag_reader(facts, form) is not None:
        return ("auc",)
    if value_reader(facts, form) is not None:
        return ("mae", "psnr") if len(form.shape) == 3 else ("mae",)
    return ()


# --- classes ----------------------------------------------------------------------------------------------------------


def _accuracy(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    if len(form.shape) > 1:
        raise Misfit(f"accuracy is for one class for each sample, and the model's output is {form.shape}")
    return MeasuredMetric("accuracy", SHARE, _classes(facts, form), Share)


def _pixel_accuracy(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    _check_maps("pixel-accuracy", form)
    return MeasuredMetric("pixel-accuracy", SHARE, _classes(facts, form), Share)


def _mean_iou(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    _check_maps("mean-iou", form)
    classes, prepare = form.classes, _classes(facts, form)

    def without_nan(labels: np.ndarray, outputs: np.ndarray) -> Prepared:
        """Keras leaves out what is no class; nan is a wrong one."""
        labels, predicted = prepare(labels, outputs)
        return labels, np.where(predicted < 0, (labels + 1) % classes, predicted)

    def tally() -> Tally:
        return Streamed(keras.metrics.MeanIoU(classes))

    return MeasuredMetric("mean-iou", SHARE, without_nan, tally)


def _check_maps(name: str, form: OutputForm) -> None:
    if len(form.shape) == 1:
        raise Misfit(f"{name} is for maps of classes, and the model's output is {form.shape}")


def _classes(facts: LabelFacts, form: OutputForm) -> Prepare:
    reader = class_reader(facts, form)
    if reader is None:
        raise _no_classes(facts, form)

    def classes(labels: np.ndarray, outputs: np.ndarray) -> Prepared:
        labels, predicted = reader(labels), form.predicted(outputs)
        counted = labels != VOID if facts.has_void else ...
        return labels[counted], predicted[counted]

    return classes


def _no_classes(facts: LabelFacts, form: OutputForm) -> Misfit:
    others = flag_reader(facts, form) or value_reader(facts, form)
    return Misfit(misfit(facts, form) if others is None else f"the labels are no classes ({facts.span})")


def _auc(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    if len(form.shape) > 1:
        raise Misfit(f"auc is for vectors, and the model's output is {form.shape}")
    return MeasuredMetric("auc", "", _flags(facts, form), partial(Gathered, area_under_curve))


def _flags(facts: LabelFacts, form: OutputForm) -> Prepare:
    reader, flags = class_reader(facts, form), flag_reader(facts, form)
    if not facts.varies:
        raise Misfit("auc needs samples with different labels, and all have the same")
    if reader is not None and form.classes == 2:
        return lambda labels, outputs: (reader(labels)[:, None], _scores(form, outputs))
    if flags is not None:
        return lambda labels, outputs: (flags(labels), form.arranged(outputs))
    if reader is not None:
        raise Misfit(f"auc is for two classes, or yes or no for each output; the model has {form.classes} classes")
    raise _no_classes(facts, form)


def _scores(form: OutputForm, outputs: np.ndarray) -> np.ndarray:
    """How much each output is for class 1, (samples, 1)."""
    outputs = form.arranged(outputs)
    return outputs if form.is_single else outputs[:, 1:] - outputs[:, :1]


# --- values -----------------------------------------------------------------------------------------------------------


def _mae(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    return MeasuredMetric("mae", "", _values("mae", facts, form), lambda: Streamed(keras.metrics.MeanAbsoluteError()))


def _psnr(facts: LabelFacts, form: OutputForm) -> MeasuredMetric:
    if len(form.shape) != 3:
        raise Misfit(f"psnr is for images, and the model's output is {form.shape}")
    peak = _peak(facts)

    def tally() -> Tally:
        return Streamed(keras.metrics.MeanMetricWrapper(decibels, "psnr", peak=peak))

    return MeasuredMetric("psnr", DECIBELS, _values("psnr", facts, form), tally)


def _values(name: str, facts: LabelFacts, form: OutputForm) -> Prepare:
    reader = value_reader(facts, form)
    if reader is None:
        if class_reader(facts, form) is None:
            raise Misfit(misfit(facts, form))
        raise Misfit(f"{name} is for labels of the output's shape {form.shape}, and these are {facts.shape}")
    return lambda labels, outputs: (reader(labels), form.arranged(outputs))


def _peak(facts: LabelFacts) -> float:
    """The range that images of such values usually have: 0 to 1, -1 to 1, 0 to 255; else that of the labels."""
    for least, most in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if facts.within(least, most):
            return most - least
    return facts.most - facts.least or 1.0


# --- of the user's own ------------------------------------------------------------------------------------------------


def _own(metric: Any) -> MeasuredMetric:
    """A function, or the one that MODULE:FUNCTION names, whose module is imported: it runs.

    Raises:
        UsageError: it can not be imported, or is no function.
    """
    if callable(metric):
        function, name = metric, getattr(metric, "__name__", None) or getattr(metric, "name", type(metric).__name__)
    else:
        try:
            name, function = parse_custom_object(metric)
        except UsageError as error:
            raise UsageError(f"`metric`: {error}") from None
        if not callable(function):
            raise UsageError(f"`metric`: '{metric}' is not a function")
    return MeasuredMetric(str(name), "", lambda *both: both, lambda: Gathered(partial(_called, function, str(name))))


def _called(function: Callable[..., Any], name: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    if isinstance(function, keras.Metric):
        function.reset_state()
    try:
        result = np.asarray(function(labels, outputs), "float64")
    except Exception as error:  # whatever the user's function raises
        raise UsageError(f"metric {name} failed: {one_line(error)}") from error
    if result.size != 1:
        raise UsageError(f"metric {name}: expected one number, received an array of shape {result.shape}")
    return float(result.reshape(()))


_BUILDERS: dict[str, Callable[[LabelFacts, OutputForm], MeasuredMetric]] = {
    "accuracy": _accuracy,
    "auc": _auc,
    "mean-iou": _mean_iou,
    "pixel-accuracy": _pixel_accuracy,
    "mae": _mae,
    "psnr": _psnr,
}
"""By the names of `octconvert.options.evaluation.METRICS`."""
