"""The labelled data of ``evaluate``: read early, and what reports call them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras

from octconvert.samples import Samples, read_samples


def labelled_samples(data: Any, model: keras.Model, preprocess: Any, seed: int) -> Samples | None:
    """All of them; None where there are no ``data``. Read before any long work, so that an error comes early.

    Raises:
        InputError, UsageError: see `octconvert.samples.read_samples`.
    """
    if data is None:
        return None
    return read_samples(
        data, model, preprocess=preprocess, limit=sys.maxsize, seed=seed, where="evaluate", need_labels=True
    )


def name_of(data: Any) -> str:
    """For reports."""
    return Path(data).name if isinstance(data, (str, Path)) else "the labelled data"
