"""Keras and Abseil without warnings and log lines."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from absl import logging


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings and log lines: Keras' advice about file formats is of no use when an old file is converted."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
