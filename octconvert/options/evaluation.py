"""Labelled data, and the metric that is measured on them: named and checked before TensorFlow is started for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options.fields import option
from octconvert.options.limits import shown
from octconvert.options.references import check_reference
from octconvert.text.nearest import did_you_mean

METRICS = ("accuracy", "auc", "mean-iou", "pixel-accuracy", "mae", "psnr")
"""The metrics that have a name; any other one is a function of the user's."""
LABEL_NAMES = ("y", "labels", "Y", "y_train", "y_test", "label", "target", "targets")
"""Names of the array of labels in a file or dict; the first that exists counts."""


@dataclass(frozen=True)
class EvaluationOptions:
    """The options for an evaluation.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    evaluate: Any = option(None, "labelled inputs to measure the accuracy on, before and after")
    metric: Any = option(
        None,
        f"what is measured on them: {', '.join(METRICS)}, or a function of your own of (labels, outputs); default: by "
        "the model's output and the labels",
    )

    def __post_init__(self) -> None:
        if self.metric is None:
            return
        check_metric(self.metric)
        if self.evaluate is None:
            raise UsageError("`metric` is measured on labelled data: give some as `evaluate`")


def only_for_evaluation(arguments: Mapping[str, Any]) -> list[str]:
    """Those of the arguments of a conversion or export that nothing but its evaluation needs."""
    names = ["evaluate", "metric"]
    if arguments.get("evaluate") is not None and arguments.get("calibration") in (None, False):
        names.append("preprocess")  # there are no other data for it
    return [name for name in names if name in arguments]


def check_metric(metric: Any) -> None:
    """Raises `UsageError` where it is neither a name of `METRICS`, nor MODULE:FUNCTION, nor a function."""
    if callable(metric) or (isinstance(metric, str) and metric in METRICS):
        return
    source, _, name = metric.rpartition(":") if isinstance(metric, str) else ("", "", "")
    if not source or not name.isidentifier():
        forms = f"{', '.join(METRICS)}, or a function as MODULE:FUNCTION"
        meant = did_you_mean(metric, METRICS) if isinstance(metric, str) else ""
        raise UsageError(f"`metric` must be one of {forms}; received {shown(metric)}{meant}")
    check_reference(metric, "metric")
