"""Other people's error messages in one line, and Keras without its log lines."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator

from absl import logging


def one_line(error: BaseException, most: int = 240) -> str:
    """``ValueError: what it says`` on one line, shortened."""
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())  # Keras colours some of its messages
    whole = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return whole if len(whole) <= most else whole[: most - 3] + "..."


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keras' advice about file formats is no news to somebody who converts an old file."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
