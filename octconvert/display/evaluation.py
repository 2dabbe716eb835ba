"""Metrics on labelled data, before and after: the headlines of a report."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import RenderableType
from rich.text import Text

from octconvert.results.report import DECIBELS, SHARE, Evaluation, Metric, SmallerImages
from octconvert.text import words

_NAMES = {"auc": "AUC", "mean-iou": "mean IoU", "pixel-accuracy": "pixel accuracy", "mae": "MAE", "psnr": "PSNR"}
"""Of the metrics that sentences do not call as the options do."""
_UNITS: dict[str, Callable[[float], str]] = {SHARE: words.percent, DECIBELS: "{:.1f} dB".format}


def sentences(evaluation: Evaluation) -> list[str]:
    """One with all metrics, and one about smaller images."""
    smaller = evaluation.smaller
    return [_sentence(evaluation), *([] if smaller is None else [_on_smaller_images(smaller)])]


def headlines(evaluation: Evaluation) -> list[RenderableType]:
    """The sentences, the first of them bold."""
    first, *others = sentences(evaluation)
    return [Text(first, style="bold"), *map(Text, others)]


def change(metric: Metric) -> tuple[str, str, str]:
    """The name, and both values."""
    name = _NAMES.get(metric.name, metric.name)
    return name, _value(metric.unit, metric.before), _value(metric.unit, metric.after)


def _sentence(evaluation: Evaluation) -> str:
    first, *others = map(_change, evaluation.measured)
    change = ", ".join((first[0].upper() + first[1:] if _is_known(evaluation) else first, *others))
    if f"({evaluation.samples:,} " in evaluation.data:  # "test.npz (5,000 images)" needs no second number
        return f"{change} on {evaluation.data}."
    return f"{change} of {words.plural(evaluation.samples, 'sample')} ({evaluation.data})."


def _is_known(evaluation: Evaluation) -> bool:
    """Whether the first name is a word; one of the user's own stays as it is."""
    return evaluation.measured[0].name in ("accuracy", *_NAMES)


def _change(metric: Metric) -> str:
    name, before, after = change(metric)
    return f"{name} {before} -> {after}"


def _value(unit: str, value: float) -> str:
    return _UNITS.get(unit, "{:.4g}".format)(value) if math.isfinite(value) else "not measured"


def _on_smaller_images(smaller: SmallerImages) -> str:
    size, share = words.extent((smaller.rows, smaller.columns)), words.percent(smaller.mac_share)
    return f"The source itself, on images scaled to {size} ({share} of its MACs): {words.percent(smaller.accuracy)}."
